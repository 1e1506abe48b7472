"""drain_reboot as a campaign does it, on real machines: killed half-way and run again, and a host that comes back too late."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.integration import run

from .conftest import REBOOTED_WITHIN_S, Machines

pytestmark = pytest.mark.vm

KILLED, LATE = "vm-a1-1", "vm-b1-1"
WINDOW_S = 15
STEP = {
    "remedy": "drain_reboot",
    "causes": [],
    "because": "to see that it ends well",
    "expect": "another boot",
    "risk": "high",
    "undo": False,
    "temporary": True,
    "drain": True,
    "parameters": {},
}


class Campaign:
    """A fleet that was measured, and plans for one host of it each."""

    def __init__(self, fleet: Machines, base: Path) -> None:
        self.fleet, self.runs, self.out = fleet, base / "runs", base / "out"
        self.out.mkdir()
        self.found = run.diagnose(fleet.inventory, self.runs, timeout=900, window_s=WINDOW_S, capture=False)
        assert self.found.rc == 0, self.found.screen

    def plan(self, host: str) -> str:
        """A plan as a person would edit it: one host, one step; its name."""
        assert run.play("remediate.yml", self.fleet.inventory, self.runs, timeout=300).rc == 0
        path = self.found.dir / "plan.yml"
        plan = yaml.safe_load(path.read_text())
        row = {"host": host, "boot_id": self.fleet.boot_id(host), "domains": {}, "stalled_ms_per_s": None, "side": None, "escalate": False}
        plan |= {"hosts": [{**row, "steps": [STEP]}], "waves": [[host]], "left_out": []}
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
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line["event"] for line in lines if line["host"] == host]

    def boots(self, host: str) -> int:
        return self.fleet.console(host).count("Loading Linux")

    def is_out(self, host: str) -> bool:
        return (self.out / host).exists()


@pytest.fixture(scope="module")
def campaign(machines, tmp_path_factory) -> Campaign:
    return Campaign(machines("vm_clean"), tmp_path_factory.mktemp("drain-reboot"))


@pytest.mark.parametrize("moment", ["cordon_begun", "reboot_begun", "rebooted", "step_done"])
def test_killed_and_run_again_it_reboots_once_and_gives_the_host_back(campaign, moment):
    plan, boots = campaign.plan(KILLED), campaign.boots(KILLED)
    process = campaign.start()
    deadline = time.monotonic() + REBOOTED_WITHIN_S
    while moment not in campaign.events(plan, KILLED):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert campaign.is_out(KILLED) or moment == "cordon_begun"
    code, output = campaign.confirm()
    assert code == 0 and "The campaign is done." in output, output
    assert campaign.boots(KILLED) == boots + 1 and not campaign.is_out(KILLED), output
    events = campaign.events(plan, KILLED)
    for once in ("step_begun", "reboot_begun", "rebooted", "gate_passed", "step_done", "undrained", "verified"):
        assert events.count(once) == 1, (once, events)
    assert events.index("gate_passed") < events.index("undrain_begun")


def test_a_host_that_comes_back_too_late_stays_out_until_it_is_tried_again(campaign):
    plan = campaign.plan(LATE)
    before = campaign.fleet.boot_id(LATE)
    # The longest that it may take is less than an emulated machine needs.
    code, output = campaign.confirm(reboot_timeout_s=10, gate_timeout_s=1)
    assert code == 2 and campaign.is_out(LATE), output
    assert campaign.events(plan, LATE)[-1] == "step_failed" and "gate_passed" not in campaign.events(plan, LATE)
    deadline = time.monotonic() + REBOOTED_WITHIN_S
    while True:
        try:
            if campaign.fleet.boot_id(LATE) != before:
                break
        except (AssertionError, subprocess.TimeoutExpired):
            assert time.monotonic() < deadline
        time.sleep(2)
    code, output = campaign.confirm()
    assert code == 2 and "go on with -e stall_retry=true" in output and campaign.is_out(LATE), output
    code, output = campaign.confirm(retry=True)
    assert code == 0 and not campaign.is_out(LATE), output
    events = campaign.events(plan, LATE)
    assert events.index("gate_passed") < events.index("undrained") and events.count("step_done") == 1
