"""Campaigns on real machines after plans that a person has edited."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from tests.integration import run

from .conftest import REBOOTED_WITHIN_S, Machines

STEP = {
    "causes": [],
    "because": "to see that it ends well",
    "expect": "it does better",
    "risk": "high",
    "undo": False,
    "temporary": True,
    "drain": False,
    "parameters": {},
}


class Campaign:
    """A fleet that was measured, and plans for one host of it each."""

    def __init__(self, fleet: Machines, base: Path, window_s: float) -> None:
        self.fleet, self.runs, self.out = fleet, base / "runs", base / "out"
        self.out.mkdir()
        self.found = run.diagnose(fleet.inventory, self.runs, timeout=900, window_s=window_s, capture=False)
        assert self.found.rc == 0, self.found.screen

    def plan(self, host: str, remedy: str, **more: object) -> str:
        """A plan as a person would edit it: one host, one step; its name."""
        assert run.play("remediate.yml", self.fleet.inventory, self.runs, timeout=300).rc == 0
        path = self.found.dir / "plan.yml"
        plan = yaml.safe_load(path.read_text())
        row = {"host": host, "boot_id": self.fleet.boot_id(host), "domains": {}, "stalled_ms_per_s": None, "side": None, "escalate": False}
        plan |= {"hosts": [{**row, "steps": [STEP | {"remedy": remedy} | more]}], "waves": [[host]], "left_out": []}
        path.write_text(yaml.safe_dump(plan))
        return plan["plan"]

    def start(self, **variables: object) -> subprocess.Popen:
        marks = f"{self.out}/{{{{ inventory_hostname }}}}"
        asked = {"drain_driver": "command", "drain_command": ["touch", marks], "undrain_command": ["rm", "-f", marks]}
        asked |= {"plan": "latest", "confirm": True, "runs_dir": str(self.runs), "reboot_timeout_s": REBOOTED_WITHIN_S} | variables
        extra = json.dumps({f"stall_{name}": value for name, value in asked.items()})
        line = [run.command("ansible-playbook"), "remediate.yml", "-i", str(self.fleet.inventory), "-e", extra]
        pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(line, cwd=run.CHECKOUT, env=run.environment(), **pipe)

    def confirm(self, **variables: object) -> tuple[int, str]:
        process = self.start(**variables)
        output, _none = process.communicate(timeout=1500)
        return process.returncode, output

    def events(self, plan: str, host: str) -> list[str]:
        path = self.found.dir / "remediation" / plan / "journal.jsonl"
        # The controller may be at the last line.
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line["event"] for line in lines if line["host"] == host]

    def boots(self, host: str) -> int:
        return self.fleet.console(host).count("] Linux version ")

    def is_out(self, host: str) -> bool:
        return (self.out / host).exists()
