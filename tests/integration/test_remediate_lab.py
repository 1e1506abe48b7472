"""From a stall to a host that no longer has it: diagnose, plan, remediate, verify, on the lab's hosts and with its real faults."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.lab import zombies

from . import run
from .conftest import Diagnoses, Lab, Labs
from .remedies import defaults

WINDOW_S = 15
CAPTURE_S = 12
ZOMBIES = 300
# Others of this machine come and go meanwhile.
SURE = 200


@dataclass
class Campaign:
    """What was found, planned and done in one lab, play after play."""

    host: str
    pid: int
    found: run.Run
    planned: run.Run
    plan: dict
    checked: run.Run
    policy_when_checked: int
    done: run.Run
    policy_when_done: int
    again: run.Run

    @property
    def dir(self) -> Path:
        (directory,) = (self.found.dir / "remediation").iterdir()
        return directory

    @property
    def journal(self) -> list[dict]:
        return [json.loads(line) for line in (self.dir / "journal.jsonl").read_text().splitlines()]


def campaign(lab: Lab, where: Path, host: str, remedies: list[str], edit: dict | None = None) -> Campaign:
    found = run.diagnose(lab.inventory, where, window_s=WINDOW_S, capture_s=CAPTURE_S, capture_control=False, timeout=300)
    trigger = found.host(host)["trigger"]
    assert trigger and trigger["pid"], found.screen

    def remediate(*arguments: str, **variables: object) -> run.Run:
        return run.play("remediate.yml", lab.inventory, where, *arguments, timeout=400, remedies=remedies, **variables)

    planned = remediate()
    path = found.dir / "plan.yml"
    plan = yaml.safe_load(path.read_text())
    if edit:
        (planned_host,) = plan["hosts"]
        planned_host |= {"escalate": True, "steps": [edit, *planned_host["steps"]]}
        path.write_text(yaml.safe_dump(plan))
    checked = remediate("--check", "--diff", plan="latest", confirm=True)
    policies = [os.sched_getscheduler(trigger["pid"])]
    done = remediate(plan="latest", confirm=True)
    policies.append(os.sched_getscheduler(trigger["pid"]))
    again = remediate(plan="latest", confirm=True)
    return Campaign(host, trigger["pid"], found, planned, plan, checked, policies[0], done, policies[1], again)


@pytest.fixture(scope="module")
def reader(labs: Labs, diagnoses: Diagnoses, runs: Path) -> Campaign:
    lab = labs.get("rx_stall")
    done = campaign(lab, runs / lab.scenario, "node-a1-2", ["set_priority"])
    diagnoses.keep(lab, done.found)
    return done


@pytest.mark.lab
def test_the_plan_names_the_process_that_was_seen(reader):
    assert reader.planned.rc == 0, reader.planned.screen
    (host,) = reader.plan["hosts"]
    (step,) = host["steps"]
    assert host["host"] == reader.host and step["remedy"] == "set_priority"
    assert step["parameters"]["pid"] == reader.pid and step["parameters"]["comm"] == "smaps-reader"
    assert step["parameters"]["seen_at"] == reader.found.findings["run"]["started_at"]


@pytest.mark.lab
def test_a_check_shows_what_would_change_and_changes_nothing(reader):
    assert reader.checked.rc == 0 and "fifo 50" in reader.checked.screen, reader.checked.screen
    assert reader.policy_when_checked == os.SCHED_FIFO


@pytest.mark.lab
def test_it_helped_and_that_is_said(reader):
    assert reader.done.rc == 0 and reader.policy_when_done == os.SCHED_OTHER, reader.done.screen
    assert re.search(r"set_priority +changed +better", reader.done.screen), reader.done.screen


@pytest.mark.lab
def test_nothing_is_done_twice(reader):
    assert reader.again.rc == 0 and re.findall(r"changed=(\d+)", reader.again.screen), reader.again.screen
    assert {*re.findall(r"changed=(\d+)", reader.again.screen)} == {"0"}


@pytest.fixture(scope="module")
def ladder(labs: Labs, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """A person has put drop_caches first, which takes dying memory cgroups and does not help against a real-time task."""
    try:
        maker = zombies.Maker(f"fs-test-ladder-{os.getpid()}", tmp_path_factory.mktemp("zombies"))
    except RuntimeError as error:
        pytest.skip(str(error))
    step = {
        "remedy": "drop_caches",
        "causes": [],
        "because": "to see whether it helps",
        "expect": "fewer dying memory cgroups",
        "risk": "medium",
        "undo": False,
        "temporary": True,
        "drain": False,
        "parameters": defaults("drop_caches") | {"pagecache": True, "enough": 0, "follow_s": 3},
    }
    maker.make(ZOMBIES)
    yield campaign(labs.get("rt_hog"), runs / "ladder", "node-a2-1", ["set_priority", "drop_caches"], step)
    maker.close()


@pytest.mark.lab
@pytest.mark.slow
def test_what_does_not_help_is_said_and_followed_by_the_next_step(ladder):
    assert ladder.done.rc == 0 and ladder.policy_when_done == os.SCHED_OTHER, ladder.done.screen
    verdicts = [line["data"]["verdict"] for line in ladder.journal if line["event"] == "verified"]
    assert verdicts[-1] == "better" and verdicts[:-1] in (["same"], ["unknown"]), ladder.done.screen


@pytest.mark.lab
@pytest.mark.slow
def test_the_report_says_what_was_dropped_and_that_it_is_temporary(ladder):
    report = (ladder.dir / "remediation.md").read_text()
    was, now = map(int, re.findall(r"Dying memory cgroups: (\d+) before, (\d+) after", report)[0])
    assert now <= was - SURE and "temporary" in report
    assert [line["remedy"] for line in ladder.journal if line["event"] == "step_begun"] == ["drop_caches", "set_priority"]
