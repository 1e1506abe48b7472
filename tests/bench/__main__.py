"""`make bench`: figures as JSON on the screen and in bench.json, each with its peer measured in the same run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

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


def on_two_hosts() -> dict[str, Any]:
    with raised(hosts=2) as (_, lab):
        return {"prober": probers.compare(lab), "capture": observer_effect.compare(lab)}


def on_a_screen() -> dict[str, Any]:
    with raised(hosts=screen.HOSTS) as (directory, lab):
        return {"screen": screen.compare(directory, [host.address for host in lab.hosts])}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "profiles": lambda: {"profiles": profiles.compare()},
    "campaign": lambda: {"campaign": campaign.compare()},
    "diagnosis": lambda: {"diagnosis": diagnosis.compare()},
    "prober and capture": on_two_hosts,
    "screen": on_a_screen,
}


def measured(parts: Mapping[str, Callable[[], dict[str, Any]]]) -> dict[str, Any]:
    """The figures of all parts. One that fails costs its own alone: `failed` says what it ended with."""
    figures: dict[str, Any] = {}
    failed = {}
    for name, part in parts.items():
        try:
            figures |= part()
        except Exception as error:
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}"
    return {**figures, "failed": failed}


def main() -> int:
    os.chdir(CHECKOUT)
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    figures = {"machine": machine, **measured(PARTS)}
    text = json.dumps(figures, indent=2)
    (CHECKOUT / "bench.json").write_text(text + "\n")
    print(text)
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
