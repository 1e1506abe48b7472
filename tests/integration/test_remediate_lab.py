"""From a stall to a host that no longer has it: diagnose, plan, remediate, verify, on the lab's hosts and with its real faults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from . import run
from .conftest import Lab, Labs

WINDOW_S = 15
CAPTURE_S = 12


@dataclass
class Campaign:
    """What was found, planned and done in one lab, play after play."""

    lab: Lab
    host: str
    pid: int
    runs: Path
    found: run.Run
    planned: run.Run
    checked: run.Run
    policy_when_checked: int
    done: run.Run
    policy_when_done: int
    again: run.Run

    @property
    def plan(self) -> dict:
        return yaml.safe_load((self.found.dir / "plan.yml").read_text())

    @property
    def step(self) -> dict:
        (host,) = self.plan["hosts"]
        return host["steps"][0]


@pytest.fixture(
    scope="module", params=[("rx_stall", "node-a1-2", "smaps-reader"), ("rt_hog", "node-a2-1", "rt-hog")], ids=lambda param: param[0]
)
def campaign(request: pytest.FixtureRequest, labs: Labs, runs: Path) -> Iterator[Campaign]:
    scenario, host, comm = request.param
    lab = labs.get(scenario)
    where = runs / f"remediate-{scenario}"
    found = run.diagnose(lab.inventory, where, window_s=WINDOW_S, capture_s=CAPTURE_S, capture_control=False, timeout=300)
    trigger = found.host(host)["trigger"]
    assert trigger and trigger["comm"] == comm and trigger["pid"], found.screen

    def remediate(*arguments: str, **variables: object) -> run.Run:
        return run.play("remediate.yml", lab.inventory, where, *arguments, timeout=400, remedies=["set_priority"], **variables)

    planned = remediate()
    checked = remediate("--check", "--diff", plan="latest", confirm=True)
    policies = [os.sched_getscheduler(trigger["pid"])]
    done = remediate(plan="latest", confirm=True)
    policies.append(os.sched_getscheduler(trigger["pid"]))
    again = remediate(plan="latest", confirm=True)
    return Campaign(lab, host, trigger["pid"], where, found, planned, checked, policies[0], done, policies[1], again)


@pytest.mark.lab
def test_the_plan_names_the_process_that_was_seen(campaign):
    assert campaign.planned.rc == 0, campaign.planned.screen
    (host,) = campaign.plan["hosts"]
    assert host["host"] == campaign.host and [step["remedy"] for step in host["steps"]] == ["set_priority"]
    parameters = campaign.step["parameters"]
    assert parameters["pid"] == campaign.pid and parameters["comm"] == campaign.found.host(campaign.host)["trigger"]["comm"]
    assert parameters["seen_at"] == campaign.found.findings["run"]["started_at"]


@pytest.mark.lab
def test_a_check_shows_what_would_change_and_changes_nothing(campaign):
    assert campaign.checked.rc == 0 and "fifo 50" in campaign.checked.screen, campaign.checked.screen
    assert campaign.policy_when_checked == os.SCHED_FIFO


@pytest.mark.lab
def test_it_helped_and_that_is_said(campaign):
    assert campaign.done.rc == 0 and campaign.policy_when_done == os.SCHED_OTHER, campaign.done.screen
    assert "better" in campaign.done.screen, campaign.done.screen


@pytest.mark.lab
def test_nothing_is_done_twice(campaign):
    assert campaign.again.rc == 0 and "changed=0" in campaign.again.screen, campaign.again.screen
    assert not any(f"changed={count}" in campaign.again.screen for count in range(1, 9))
