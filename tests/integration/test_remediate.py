"""remediate.yml as a user calls it, on a fleet of local connections whose remedy writes files: what is done, refused, and where it ends."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.campaign import Fleet

from . import run


def play(fleet: Fleet, *args: str, **variables: object) -> run.Run:
    more = {name.removeprefix("stall_"): value for name, value in fleet.variables(**variables).items() if name != "stall_runs_dir"}
    return run.play("remediate.yml", fleet.inventory, fleet.runs, *args, **more)


def confirmed(fleet: Fleet, *args: str, **variables: object) -> run.Run:
    return play(fleet, *args, plan="latest", confirm=True, **variables)


def planned(fleet: Fleet, **variables: object) -> Fleet:
    done = play(fleet, **variables)
    assert done.rc == 0, done.screen
    return fleet


def edit(fleet: Fleet, change) -> None:
    plan = yaml.safe_load(fleet.plan.read_text())
    change(plan)
    fleet.plan.write_text(json.dumps(plan))


def settled(fleet: Fleet) -> set[str]:
    return {path.name for path in fleet.settled.iterdir()}


def events(fleet: Fleet, *names: str) -> list[tuple[str, str | None]]:
    return [(line["event"], line["host"]) for line in fleet.lines() if not names or line["event"] in names]


def lock(fleet: Fleet) -> str:
    return (fleet.runs / "campaign.lock").read_text()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, {"a": 2, "b": 1}).make()


def test_a_plan_is_made_confirmed_done_and_done_again(fleet):
    made = play(fleet)
    assert made.rc == 0 and "Nothing was done. Read it, edit it, and confirm it with" in made.screen
    assert f"remediate.yml -e stall_plan={fleet.plan} -e stall_confirm=true" in made.screen
    same = play(fleet)
    assert same.rc == 0 and "(as it was)" in same.screen
    shown = play(fleet, plan="latest")
    assert shown.rc == 0 and "confirm it with -e stall_confirm=true" in shown.screen
    tried = confirmed(fleet, "--check", "--diff")
    assert tried.rc == 0 and "+settled" in tried.screen, tried.screen
    assert settled(fleet) == set() and not (fleet.campaign / "journal.jsonl").exists() and not (fleet.runs / "campaign.lock").exists()

    done = confirmed(fleet)
    assert done.rc == 0 and "The campaign is done." in done.screen, done.screen
    assert settled(fleet) == set(fleet.hosts) and lock(fleet) == ""
    assert [host for event, host in events(fleet, "step_begun")] == ["node-a-01", "node-a-02", "node-b-01"]
    assert events(fleet, "wave_begun", "wave_passed", "wave_failed") == [("wave_begun", None), ("wave_passed", None)] * 3
    report = (fleet.campaign / "remediation.md").read_text()
    assert "| 1 | node-a-01 | settle | changed | unknown |  |" in report and "the file was written" in report
    assert "<h1>Remediation" in (fleet.campaign / "remediation.html").read_text()

    lines = fleet.lines()
    again = confirmed(fleet)
    assert again.rc == 0 and "is done: there is nothing left to do" in again.screen
    assert set(re.findall(r"changed=(\d+)", again.screen)) == {"0"} and fleet.lines() == lines


def test_a_canary_that_fails_ends_it_and_leaves_the_others_alone(fleet):
    planned(fleet)
    edit(fleet, lambda plan: plan["hosts"][0]["steps"][0]["parameters"].update(fails_on=["node-a-01"]))
    done = confirmed(fleet)
    assert done.rc == 2 and settled(fleet) == set() and lock(fleet) == ""
    assert "1 host of the first wave failed (node-a-01: Fail where that is asked for: node-a-01 is one that it fails on)" in done.screen
    assert {host for _, host in events(fleet) if host} == {"node-a-01"}
    assert events(fleet)[-4:] == [("step_failed", "node-a-01"), ("wave_failed", None), ("stopped", None), ("closed", None)]

    again = confirmed(fleet)
    assert again.rc == 2 and "go on with -e stall_retry=true" in again.screen and settled(fleet) == set()

    # What made it fail is gone; the plan that was begun is in the campaign's own directory.
    plan = json.loads((fleet.campaign / "plan.json").read_text())
    plan["hosts"][0]["steps"][0]["parameters"]["fails_on"] = []
    for path in (fleet.campaign / "plan.json", fleet.plan):
        path.write_text(json.dumps(plan))
    healed = confirmed(fleet, retry=True)
    assert healed.rc == 0 and settled(fleet) == set(fleet.hosts), healed.screen


def test_what_is_not_seen_to_help_the_first_wave_waits_for_a_person(fleet):
    planned(fleet, canary_better=True)
    done = confirmed(fleet)
    assert done.rc == 2 and settled(fleet) == {"node-a-01"} and lock(fleet) == "", done.screen
    assert "the first wave is not seen to do better (node-a-01: it is not known whether settle helped)" in done.screen
    told = confirmed(fleet, retry=True)
    assert told.rc == 0 and settled(fleet) == set(fleet.hosts), told.screen
    assert [host for _, host in events(fleet, "step_begun")] == ["node-a-01", "node-a-02", "node-b-01"]


def test_a_host_that_has_died_since_counts_as_away(tmp_path):
    fleet = planned(Fleet(tmp_path, {"a": 2, "b": 2}, clear=frozenset({"node-b-02"})).make(), limits={"rack": 1})
    unreachable(fleet, "node-b-02")
    done = confirmed(fleet)
    assert done.rc != 0 and settled(fleet) == {"node-a-01"}, done.screen
    assert "node-b-02 does not answer, and counts as away." in done.screen
    assert "rack rack_b: 2 hosts would be away at once, 1 of them are down already (node-b-02), and 1 may be" in done.screen


def test_failures_that_are_allowed_are_told_and_count_as_away(tmp_path):
    fleet = planned(Fleet(tmp_path, {"a": 3, "b": 3}, settings={"fails_on": ["node-b-01"]}).make(), failures_most=1, limits={"rack": 1})
    done = confirmed(fleet)
    assert done.rc == 2 and settled(fleet) == {"node-a-01", "node-a-02"}, done.screen
    assert "node-b-01 failed" in done.screen
    assert "rack rack_b: 2 hosts would be away at once, 1 of them are down already (node-b-01), and 1 may be" in done.screen


def unreachable(fleet: Fleet, *hosts: str) -> None:
    inventory = json.loads(fleet.inventory.read_text())
    for host in hosts:
        dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        inventory["all"]["children"][fleet.hosts[host]]["hosts"][host] = dead
    fleet.inventory.write_text(json.dumps(inventory))


@pytest.mark.parametrize("host", ["node-a-01", "node-a-02"], ids=["the whole canary", "a host of a later wave"])
def test_a_host_that_does_not_answer_ends_it_with_a_report(fleet, host):
    planned(fleet, limits={"rack": 2})
    unreachable(fleet, host)
    done = confirmed(fleet)
    assert done.rc != 0 and "journal and report:" in done.screen, done.screen
    assert f"{host}: nothing was begun on it" in done.screen and lock(fleet) == ""
    assert settled(fleet) == (set() if host == "node-a-01" else {*fleet.hosts} - {host})
    assert events(fleet)[-3:] == [("wave_failed", None), ("stopped", None), ("closed", None)]


def test_a_remedy_that_hangs_costs_its_host_the_step(tmp_path):
    fleet = planned(Fleet(tmp_path, {"a": 1}, settings={"pause_s": 600}).make())
    done = confirmed(fleet, task_timeout_s=10)
    assert done.rc == 2 and done.wall_s < 200, done.screen
    (failed,) = [line for line in fleet.lines() if line["event"] == "step_failed"]
    assert failed["data"]["because"].startswith("Work for a while: ") and "10" in failed["data"]["because"]
    assert settled(fleet) == set() and lock(fleet) == ""


EDITS = [
    (lambda plan: plan["hosts"][0]["steps"][0].update(remedy="format_disk"), "format_disk is none of stall_remedies: settle"),
    (lambda plan: plan["hosts"][0]["steps"][0].update(remedy="../settle"), "'../settle' does not have the form"),
    (lambda plan: plan["hosts"][0].update(host="elsewhere"), "the inventory has no host elsewhere"),
    (lambda plan: plan["limits"]["per_domain"].update(rack="200%"), "limits.per_domain.rack: '200%' does not have the form"),
    (lambda plan: plan.update(waves=[]), "node-a-01 is in no wave"),
    (lambda plan: plan["waves"].append(["node-a-01"]), "node-a-01 is in 2 waves"),
    (lambda plan: plan["hosts"][0]["steps"][0].update(because="{{ lookup('pipe', 'touch /tmp/pwned') }}"), "is a template"),
    (lambda plan: plan.update(valid_until="2020-01-01T00:00:00Z"), "the plan was valid until 2020-01-01T00:00:00Z"),
    (lambda plan: plan["hosts"][0].update(boot_id="another"), "it has been rebooted since it was diagnosed"),
]


def test_what_may_not_be_is_refused_before_anything_runs(fleet):
    planned(fleet)
    sound = fleet.plan.read_text()
    for change, sentence in EDITS:
        fleet.plan.write_text(sound)
        edit(fleet, change)
        done = confirmed(fleet)
        assert done.rc == 2 and sentence in " ".join(done.screen.split()), done.screen
        assert settled(fleet) == set() and not (fleet.campaign / "journal.jsonl").exists() and "Remediate, wave by wave" not in done.screen


def test_the_command_line_cannot_narrow_a_plan(fleet):
    planned(fleet)
    done = confirmed(fleet, "--limit", "node-b-01")
    assert done.rc == 2 and "--limit is set: a plan says itself which hosts it is for" in done.screen and settled(fleet) == set()


def test_one_campaign_a_fleet(fleet):
    planned(fleet)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    try:
        (fleet.runs / "campaign.lock").write_text(json.dumps(_holder(other.pid)))
        refused = confirmed(fleet)
        assert refused.rc == 2 and f"campaign theirs (process {other.pid} of " in refused.screen and settled(fleet) == set()
        assert not (fleet.campaign / "journal.jsonl").exists()
    finally:
        other.kill()
        other.wait()
    taken = confirmed(fleet)
    assert taken.rc == 0 and "was taken over: that process is gone" in taken.screen and lock(fleet) == ""


def _holder(pid: int) -> dict:
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "plan": "theirs",
        "controller": os.uname().nodename,
        "controller_boot_id": boot_id,
        "pid": pid,
        "pid_started": started,
        "command": "of another",
        "at": "2026-11-25T12:00:00Z",
    }


def test_a_plan_that_was_begun_is_not_changed_under_way(fleet):
    planned(fleet)
    edit(fleet, lambda plan: plan["hosts"][0]["steps"][0]["parameters"].update(fails_on=["node-a-01"]))
    assert confirmed(fleet).rc == 2
    edit(fleet, lambda plan: plan["hosts"][0]["steps"][0]["parameters"].update(fails_on=[]))
    refused = confirmed(fleet, retry=True)
    assert refused.rc == 2 and "is no longer the plan that was begun" in refused.screen and settled(fleet) == set()
    # A new one gets a number of its own, and the edited one is kept beside it.
    made = play(fleet)
    assert made.rc == 0 and yaml.safe_load(fleet.plan.read_text())["plan"].endswith("-plan-2")
    assert len(list(fleet.plan.parent.glob("plan.*Z.yml"))) == 1


def test_what_was_approved_is_done_and_not_what_lies_there_by_then(fleet):
    planned(fleet)
    approved = hashlib.sha256(fleet.plan.read_bytes()).hexdigest()
    edit(fleet, lambda plan: plan["hosts"][0].update(side="sender"))
    refused = confirmed(fleet, plan_digest=approved)
    assert refused.rc == 2 and settled(fleet) == set() and not fleet.campaign.exists()
    assert "is not the plan that was approved" in refused.screen and approved in refused.screen
    now = hashlib.sha256(fleet.plan.read_bytes()).hexdigest()
    assert confirmed(fleet, plan_digest=now).rc == 0 and settled(fleet) == set(fleet.hosts)


def test_hosts_that_are_down_leave_their_rack_less_room(tmp_path):
    fleet = planned(Fleet(tmp_path, {"a": 2, "b": 2}, down=frozenset(["node-b-02"])).make(), limits={"rack": 1})
    plan = yaml.safe_load(fleet.plan.read_text())
    assert plan["down"] == ["node-b-02"] and plan["waves"] == [["node-a-01"], ["node-a-02"]]
    assert {row["host"]: row["because"] for row in plan["left_out"]} == {
        "node-b-02": "not measured (it does not answer): what is wrong with it is not known",
        "node-b-01": "no wave has room for it: rack rack_b: 2 hosts would be away at once, 1 of them are down already (node-b-02), "
        "and 1 may be",
    }


def test_outside_its_windows_it_waits(fleet):
    planned(fleet, maintenance=[{"days": ["mon"], "from": "00:00", "to": "00:01"}])
    done = confirmed(fleet)
    assert done.rc == 0 and "no maintenance window is open: mon 00:00-00:01 UTC" in done.screen, done.screen
    assert settled(fleet) == set() and events(fleet) == [("opened", None), ("stopped", None), ("closed", None)]


def test_a_finding_of_days_ago_is_no_ground_for_a_plan(fleet):
    findings = fleet.findings()
    findings["run"]["finished_at"] = "2026-01-01T00:00:00+00:00"
    (fleet.runs / "latest" / "findings.json").write_text(json.dumps(findings))
    done = play(fleet)
    assert done.rc == 2 and "the plan was valid until 2026-01-02T00:00:00Z" in done.screen and not fleet.plan.exists()


def test_a_host_that_could_not_be_given_back_is_by_the_next_run(tmp_path):
    """Though the campaign was done, since one failure was allowed."""
    fleet = planned(Fleet(tmp_path, {"a": 1, "b": 1}).make(), failures_most=1)
    edit(fleet, lambda plan: plan["hosts"][1]["steps"][0].update(drain=True))
    give_back = {"drain_driver": "command", "undrain_command": ["test", "-e", f"{tmp_path}/way"], "drain_command": ["true"]}
    done = confirmed(fleet, **give_back)
    assert done.rc == 0 and settled(fleet) == set(fleet.hosts) and "it is still cordoned, by this campaign" in done.screen, done.screen
    (tmp_path / "way").touch()
    again = confirmed(fleet, **give_back)
    assert again.rc == 0 and events(fleet, "undrained") == [("undrained", "node-b-01")], again.screen
    assert len(events(fleet, "step_begun")) == 2
    assert "is done: there is nothing left to do" in confirmed(fleet, **give_back).screen


def test_a_host_that_a_person_put_back_is_away_until_that_is_told(tmp_path):
    fleet = planned(Fleet(tmp_path, {"a": 1, "b": 2}).make(), failures_most=1, limits={"rack": 1})
    edit(fleet, lambda plan: plan["hosts"][1]["steps"][0].update(drain=True))
    for_ever = {"drain_driver": "command", "undrain_command": ["false"], "drain_command": ["true"]}
    done = confirmed(fleet, **for_ever)
    assert done.rc == 2 and settled(fleet) == {"node-a-01", "node-b-01"}, done.screen
    assert "campaigns took node-b-01 out of service; one that was put back by hand: -e stall_given_back=<host>" in done.screen
    # As on a command line: one word; a part of a name is no name.
    wrong = confirmed(fleet, given_back="node-b", **for_ever)
    assert wrong.rc == 2 and "stall_given_back names node-b: no campaign has it out of service" in " ".join(wrong.screen.split())
    told = confirmed(fleet, given_back="node-b-01", **for_ever)
    assert told.rc == 0 and settled(fleet) == set(fleet.hosts), told.screen
    assert events(fleet, "undrained") == [("undrained", "node-b-01")]
