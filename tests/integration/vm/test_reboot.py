"""Reboots of real machines, judged by their boot ids, and the health gate behind them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration import run

from .conftest import REBOOTED_WITHIN_S, Machines

pytestmark = pytest.mark.vm

FINE, BROKEN, DISLIKED = "vm-a1-1", "vm-a2-1", "vm-b1-1"
UNIT = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
OPTIONS = {"stall_reboot_timeout_s": REBOOTED_WITHIN_S, "stall_gate_timeout_s": 180}


@pytest.fixture(scope="module")
def fleet(machines) -> Machines:
    return machines("vm_clean")


class Play:
    """The role reboot, on some of the machines, with a journal."""

    def __init__(self, fleet: Machines, directory: Path, hosts: dict[str, dict]) -> None:
        self._fleet, self._directory = fleet, directory
        plays = [
            {
                "hosts": ":".join(hosts),
                "gather_facts": False,
                "tasks": [{"name": "Reboot", "ansible.builtin.include_role": {"name": "fleet.stall.reboot"}}],
            }
        ]
        (directory / "play.yml").write_text(json.dumps(plays))
        variables = OPTIONS | {"stall_campaign_dir": str(directory)}
        (directory / "more.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))

    def start(self) -> subprocess.Popen:
        line = [run.command("ansible-playbook"), "-i", str(self._fleet.inventory), "-i", str(self._directory / "more.json")]
        return subprocess.Popen(
            [*line, str(self._directory / "play.yml")],
            cwd=run.CHECKOUT,
            env=run.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        process = self.start()
        output, _none = process.communicate(timeout=1500)
        return process.returncode, " ".join(output.split())

    def journal(self, host: str) -> list[tuple[str, dict]]:
        path = self._directory / "journal.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [(line["event"], line["data"]) for line in lines if line["host"] == host]

    def events(self, host: str) -> list[str]:
        return [event for event, _data in self.journal(host)]


def test_each_is_rebooted_and_only_who_is_in_health_passes(fleet, tmp_path):
    fleet.ssh(BROKEN, f"printf '{UNIT}' > /etc/systemd/system/broken.service; systemctl daemon-reload; systemctl enable -q broken")
    before = {name: fleet.boot_id(name) for name in fleet.names}
    play = Play(
        fleet,
        tmp_path,
        {FINE: {}, BROKEN: {}, DISLIKED: {"stall_health_command": ["test", "-e", "/nonexistent"], "stall_gate_timeout_s": 60}},
    )
    code, output = play.run()
    after = {name: fleet.boot_id(name) for name in fleet.names}
    assert code == 2 and all(after[name] != before[name] for name in fleet.names), output
    assert play.journal(FINE) == [
        ("reboot_begun", {"boot_id": before[FINE]}),
        ("rebooted", {"boot_id": after[FINE]}),
        ("gate_passed", {}),
    ], output
    assert play.events(BROKEN) == play.events(DISLIKED) == ["reboot_begun", "rebooted", "gate_failed"], output
    assert f"{BROKEN} is not in health: units failed that had not failed before: broken.service" in output
    assert f"{DISLIKED} is not in health: stall_health_command ended with 1, after 60 s" in output


def test_a_command_that_does_nothing_is_no_reboot_and_the_host_goes_on(fleet, tmp_path):
    before = fleet.boot_id(FINE)
    play = Play(fleet, tmp_path, {FINE: {"stall_reboot_command": ["true"], "stall_reboot_timeout_s": 10}})
    code, output = play.run()
    assert code == 2 and fleet.boot_id(FINE) == before, output
    assert f"{FINE} still runs the same boot after 10 s" in output
    assert play.events(FINE) == ["reboot_begun", "gate_passed"]


@pytest.mark.parametrize("moment", ["before it goes down", "while it is down"])
def test_a_reboot_whose_controller_is_killed_is_made_once(fleet, tmp_path, moment):
    before, boots = fleet.boot_id(FINE), booted(fleet)
    play = Play(fleet, tmp_path, {FINE: {"stall_reboot_resumed": True}})
    first = play.start()
    deadline = time.monotonic() + 180
    while not play.events(FINE):
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()
        time.sleep(0.05)
    while moment == "while it is down" and booted(fleet) == boots:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    code, output = play.run()
    after = fleet.boot_id(FINE)
    assert code == 0 and after != before, output
    assert booted(fleet) == boots + 1, "it was rebooted once"
    assert play.journal(FINE)[-2:] == [("rebooted", {"boot_id": after}), ("gate_passed", {})]


def booted(fleet: Machines) -> int:
    """How often GRUB has loaded a kernel, as the console tells, which outlives reboots."""
    return fleet.console(FINE).count("Loading Linux")
