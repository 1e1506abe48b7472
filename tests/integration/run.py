"""Run the playbooks as users do and read back what they left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Run:
    rc: int
    screen: str
    wall_s: float
    dir: Path | None

    @property
    def findings(self) -> dict:
        assert self.dir, f"no run directory was made:\n{self.screen}"
        return json.loads((self.dir / "findings.json").read_text())

    @property
    def manifest(self) -> dict:
        assert self.dir, f"no run directory was made:\n{self.screen}"
        return json.loads((self.dir / "manifest.json").read_text())

    def host(self, name: str) -> dict:
        return next(row for row in self.findings["hosts"] if row["host"] == name)

    @property
    def captured(self) -> dict[str, str]:
        """Host -> suspect or control."""
        return json.loads((self.dir / "capture" / "manifest.json").read_text())["run"]["captured"]

    def capture_span(self, name: str) -> tuple[int, int]:
        """From when to when a host was captured and every source of it probed, in nanoseconds of the lab's one clock."""
        flows = json.loads((self.dir / "capture" / "manifest.json").read_text())["flows"]
        sources = {flow["source"] for flow in flows if flow["target"] == name}
        looks = [self.dir / "capture" / "evidence" / source / "observe.json" for source in sources]
        clocks = [self.capture_of(name)["clock"], *(json.loads(look.read_text())["clock"] for look in looks)]
        return max(clock["started_ns"] for clock in clocks), min(clock["ended_ns"] for clock in clocks)

    def capture_of(self, name: str) -> dict:
        return json.loads((self.dir / "capture" / "evidence" / name / "capture.json").read_text())

    def evidence(self, name: str) -> dict | None:
        path = self.dir / "evidence" / name / "observe.json"
        return json.loads(path.read_text()) if path.exists() else None


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return kept | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONDONTWRITEBYTECODE": "1"} | extra


def command(name: str, venv: Path | None = None) -> str:
    return str((venv or Path(sys.prefix)) / "bin" / name)


def newest(runs: Path) -> Path | None:
    found = sorted(path for path in runs.glob("*Z-*") if path.is_dir()) if runs.is_dir() else []
    return found[-1] if found else None


def play(
    playbook: str,
    inventory: Path | str,
    runs: Path,
    *args: str,
    venv: Path | None = None,
    cwd: Path = CHECKOUT,
    timeout: float = 300,
    **variables: object,
) -> Run:
    """``ansible-playbook playbook`` with its results under ``runs``; variables are named without their ``stall_``."""
    extra = {"stall_runs_dir": str(runs)} | {f"stall_{name}": value for name, value in variables.items()}
    line = [command("ansible-playbook", venv), playbook, "-i", str(inventory), "-e", json.dumps(extra), *args]
    begun = time.monotonic()
    done = subprocess.run(
        line,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Run(done.returncode, TERMINAL_CODES.sub("", done.stdout), time.monotonic() - begun, newest(runs))


def diagnose(inventory: Path | str, runs: Path, *args: str, **options: object) -> Run:
    return play("diagnose.yml", inventory, runs, *args, **options)
