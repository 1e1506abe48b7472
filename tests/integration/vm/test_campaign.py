"""A kernel is rolled through real machines: packages, GRUB, reboots, a stall that goes with the old kernel, and hosts that fail."""

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

from .conftest import Machines

pytestmark = pytest.mark.vm

STALLING, FAILING, OTHER = "vm-a2-1", "vm-a1-1", "vm-b1-1"
CAMPAIGN_WITHIN_S = 3600
WINDOW_S = 30


class Campaign:
    """A fleet, measured, and what is asked of campaign.yml."""

    def __init__(self, fleet: Machines, runs: Path) -> None:
        self.fleet, self.runs = fleet, runs
        self.kernels = json.loads((fleet.dir / "kernels.json").read_text())
        self.before = run.diagnose(fleet.inventory, runs, timeout=900, window_s=WINDOW_S, capture=False)
        assert self.before.rc == 0, self.before.screen

    def plan(self, **variables: object) -> Path:
        """The path of a plan of one host a wave, of which nothing is done yet."""
        asked = {"kernel": self.kernels["package"], "limits": {"fleet": 1}} | variables
        planned = run.play("campaign.yml", self.fleet.inventory, self.runs, timeout=900, **asked)
        assert planned.rc == 0, planned.screen
        return self.before.dir / "plan.yml"

    def confirm(self, plan: Path, **variables: object) -> run.Run:
        return run.play(
            "campaign.yml", self.fleet.inventory, self.runs, timeout=CAMPAIGN_WITHIN_S, plan=str(plan), confirm=True, **variables
        )

    def journal(self, plan: Path) -> list[dict]:
        name = yaml.safe_load(plan.read_text())["plan"]
        path = self.before.dir / "remediation" / name / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, plan: Path, host: str) -> list[str]:
        return [line["event"] for line in self.journal(plan) if line["host"] == host]

    def runs_kernel(self, host: str) -> str:
        return self.fleet.ssh(host, "uname -r")

    def default_kernel(self, host: str) -> str:
        """What GRUB boots from now on, as fleet.stall.kernel_facts does not say it: the saved entry, and nothing to be booted once."""
        said = self.fleet.ssh(host, "grub-editenv list")
        saved = dict(line.split("=", 1) for line in said.splitlines())
        assert "next_entry" not in saved and 'set default="${saved_entry}"' in self.fleet.ssh(host, "cat /boot/grub/grub.cfg")
        return next(
            release for release in (self.kernels["old"], self.kernels["new"]) if f"gnulinux-{release}-advanced" in saved["saved_entry"]
        )

    def boots(self, host: str) -> int:
        return self.fleet.console(host).count("] Linux version ")


def saved_state(campaign: Campaign, host: str) -> tuple[str, str, str]:
    return (
        campaign.fleet.boot_id(host),
        campaign.fleet.ssh(host, "grub-editenv list; ls /boot /etc/default/grub.d"),
        campaign.fleet.ssh(host, "dpkg-query -W 'linux-image-*'"),
    )


@pytest.fixture(scope="module")
def stalling(machines, runs) -> Campaign:
    return Campaign(machines("vm_kernel_stall"), runs / "campaign-stall")


@pytest.fixture(scope="module")
def upgraded(stalling) -> tuple[Campaign, Path, run.Run]:
    plan = stalling.plan(limits={"fleet": 2})
    return stalling, plan, stalling.confirm(plan)


def test_a_plan_changes_nothing_and_names_the_worst_host_first(stalling):
    before = {host: saved_state(stalling, host) for host in stalling.fleet.names}
    plan = yaml.safe_load(stalling.plan(limits={"fleet": 2}).read_text())
    assert plan["waves"][0] == [STALLING] and sorted(host for wave in plan["waves"] for host in wave) == sorted(stalling.fleet.names)
    assert {step["remedy"] for row in plan["hosts"] for step in row["steps"]} == {"kernel_upgrade"}
    assert {host: saved_state(stalling, host) for host in stalling.fleet.names} == before


def test_the_fleet_runs_the_new_kernel_and_the_stall_is_gone(upgraded):
    campaign, plan, done = upgraded
    assert done.rc == 0, done.screen
    for host in campaign.fleet.names:
        assert campaign.runs_kernel(host) == campaign.default_kernel(host) == campaign.kernels["new"], host
        assert campaign.boots(host) == 2, "the first boot, and one into the new kernel"
    verified = {line["host"]: line["data"] for line in campaign.journal(plan) if line["event"] == "verified"}
    assert verified[STALLING]["verdict"] == "better", verified
    assert "worse" not in {data["verdict"] for data in verified.values()}
    assert not campaign.fleet.ssh(STALLING, "cat /etc/default/grub.d/zz-fleet-stall.cfg 2>/dev/null || true")


def test_the_report_tells_the_fleet_by_kernel(upgraded):
    campaign, _plan, done = upgraded
    page = (campaign.before.dir / "campaign.md").read_text()
    assert (campaign.before.dir / "campaign.html").exists() and "3 hosts: 3 upgraded." in page
    assert f"| {campaign.kernels['new']} | 3 |" in page.split("## Now")[1]
    assert f"| {campaign.kernels['old']} | 3 |" in page.split("## Before")[1].split("## Now")[0]
    assert "3 upgraded" in done.screen


def test_what_is_done_is_not_done_again(upgraded):
    campaign, plan, _done = upgraded
    before = {host: saved_state(campaign, host) for host in campaign.fleet.names}
    again = campaign.confirm(plan)
    assert again.rc == 0 and "nothing left to do" in again.screen, again.screen
    other = yaml.safe_load(campaign.plan().read_text())
    assert not other["hosts"] and not other["left_out"]
    assert {host: saved_state(campaign, host) for host in campaign.fleet.names} == before


@pytest.fixture(scope="module")
def failing(machines, runs) -> Campaign:
    return Campaign(machines("vm_bad_gate"), runs / "campaign-gate")


@pytest.fixture(scope="module")
def stopped(failing) -> tuple[Campaign, Path, run.Run, dict]:
    """The failing host is made the canary, as a person would edit the plan."""
    path = failing.plan()
    plan = yaml.safe_load(path.read_text())
    plan["waves"].sort(key=lambda wave: wave != [FAILING])
    path.write_text(yaml.safe_dump(plan))
    before = {host: saved_state(failing, host) for host in failing.fleet.names}
    return failing, path, failing.confirm(path), before


def test_a_host_that_fails_its_gate_stops_the_campaign_and_goes_back_by_itself(stopped):
    campaign, plan, done, _before = stopped
    assert done.rc != 0 and "node-agent" in done.screen, done.screen
    events = campaign.events(plan, FAILING)
    assert events.index("gate_failed") < events.index("rolled_back") < events.index("step_failed"), events
    assert events.count("rebooted") == 2
    assert campaign.runs_kernel(FAILING) == campaign.default_kernel(FAILING) == campaign.kernels["old"]
    assert campaign.fleet.ssh(FAILING, "systemctl is-system-running --wait") == "running"
    assert "rolled back" in (campaign.before.dir / "campaign.md").read_text()


def test_the_other_hosts_are_untouched(stopped):
    campaign, plan, _done, before = stopped
    for host in (STALLING, OTHER):
        assert saved_state(campaign, host) == before[host] and not campaign.events(plan, host)


def test_it_goes_on_only_if_it_is_told_to(stopped):
    campaign, plan, _done, _before = stopped
    state = {host: saved_state(campaign, host) for host in campaign.fleet.names}
    again = campaign.confirm(plan)
    assert again.rc != 0 and "stall_retry" in again.screen, again.screen
    assert {host: saved_state(campaign, host) for host in campaign.fleet.names} == state


def test_a_kernel_that_does_not_come_up_gives_way_to_the_former_by_itself(stopped):
    """Without its initial ramdisk it finds no root file system, and panics."""
    campaign = stopped[0]
    hook = "/etc/kernel/postinst.d/zz-zz-break"
    campaign.fleet.ssh(OTHER, f"printf '#!/bin/sh\\n: >/boot/initrd.img-$1\\n' >{hook} && chmod 755 {hook}")
    plan = campaign.plan(campaign_hosts=OTHER)
    done = campaign.confirm(plan)
    assert done.rc != 0, done.screen
    assert "Kernel panic" in campaign.fleet.console(OTHER)
    assert campaign.runs_kernel(OTHER) == campaign.default_kernel(OTHER) == campaign.kernels["old"]
    assert "did not come up" in done.screen and "rolled_back" in campaign.events(plan, OTHER)
    assert campaign.boots(OTHER) == 3, "the first boot, the one that panicked, and the one it gave way to"


@pytest.mark.parametrize("event", ["reboot_begun"])
def test_killed_in_the_middle_and_run_again_it_goes_on_where_it_was(stopped, event):
    campaign = stopped[0]
    plan = campaign.plan(campaign_hosts=STALLING, kernel=campaign.kernels["new"])
    variables = {"stall_runs_dir": str(campaign.runs), "stall_plan": str(plan), "stall_confirm": True}
    line = [run.command("ansible-playbook"), "campaign.yml", "-i", str(campaign.fleet.inventory), "-e", json.dumps(variables)]
    playing = subprocess.Popen(line, cwd=run.CHECKOUT, env=run.environment(), stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + CAMPAIGN_WITHIN_S
    while event not in campaign.events(plan, STALLING):
        assert playing.poll() is None and time.monotonic() < deadline, campaign.journal(plan)
        time.sleep(0.2)
    os.killpg(playing.pid, signal.SIGKILL)
    playing.wait()
    done = campaign.confirm(plan)
    assert done.rc == 0, done.screen
    assert campaign.runs_kernel(STALLING) == campaign.default_kernel(STALLING) == campaign.kernels["new"]
    assert campaign.boots(STALLING) == 2, "a reboot that was begun is not made twice"
