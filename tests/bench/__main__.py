"""`make bench`: figures as JSON on the screen and in bench.json, each with its peer measured in the same run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lab import topology

from . import campaign, diagnosis, observer_effect, probers, profiles, screen

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = f"bench-{os.getpid()}"


@contextlib.contextmanager
def raised(hosts: int) -> Iterator[tuple[Path, topology.Topology]]:
    """A flat lab of so many hosts, without faults."""
    lab = [sys.executable, "-m", "tests.lab"]
    subprocess.run([*lab, "up", "--scenario", "clean", "--hosts", str(hosts), "--id", NAME], check=True, stdout=sys.stderr)
    directory = CHECKOUT / ".lab" / NAME
    try:
        yield directory, topology.flat(slot(directory), hosts)
    finally:
        subprocess.run([*lab, "down", "--id", NAME], check=True, stdout=sys.stderr)


def slot(directory: Path) -> int:
    from tests.lab import state

    return next(record.slot for record in state.records() if Path(record.directory).resolve() == directory.resolve())


def main() -> int:
    os.chdir(CHECKOUT)
    figures: dict = {"machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}}
    figures["profiles"] = profiles.compare()
    figures["campaign"] = campaign.compare()
    figures["diagnosis"] = diagnosis.compare()
    with raised(hosts=2) as (_, lab):
        figures["prober"] = probers.compare(lab)
        figures["capture"] = observer_effect.compare(lab)
    with raised(hosts=screen.HOSTS) as (directory, lab):
        figures["screen"] = screen.compare(directory, [host.address for host in lab.hosts])
    text = json.dumps(figures, indent=2)
    (CHECKOUT / "bench.json").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
