"""drain_reboot as a campaign does it, on real machines: killed half-way and run again, and a host that comes back too late."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from .conftest import REBOOTED_WITHIN_S
from .edited import Campaign

pytestmark = pytest.mark.vm

KILLED, LATE = "vm-a1-1", "vm-b1-1"
WINDOW_S = 15


@pytest.fixture(scope="module")
def campaign(machines, tmp_path_factory) -> Campaign:
    return Campaign(machines("vm_clean"), tmp_path_factory.mktemp("drain-reboot"), WINDOW_S)


@pytest.mark.parametrize("moment", ["cordon_begun", "reboot_begun", "rebooted", "step_done"])
def test_killed_and_run_again_it_reboots_once_and_gives_the_host_back(campaign, moment):
    plan, boots = campaign.plan(KILLED, "drain_reboot", drain=True), campaign.boots(KILLED)
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
    # What is about to be done, and what is seen, may be written again: how often it was rebooted its console tells.
    for once in ("step_begun", "gate_passed", "step_done", "undrained", "verified"):
        assert events.count(once) == 1, (once, events)
    assert events.index("gate_passed") < events.index("undrain_begun")


def test_a_host_that_comes_back_too_late_stays_out_until_it_is_tried_again(campaign):
    plan = campaign.plan(LATE, "drain_reboot", drain=True)
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
