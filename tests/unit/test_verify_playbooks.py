"""verify.yml and the report of what it left, as far as no host has to answer."""

import json

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import findings, verify_plan
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import OBSERVE
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir

from . import simfleet
from .test_playbooks import PLAYBOOK, play

BAD = "node-a1-2"
FAULT = simfleet.fault(f"host:{BAD}", simfleet.stalls("playbook", 20, (0.1, 0.13), (0.7, 1.5)))

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python")


def kept(base, now, fleet, manifest):
    """A run on disk, with its findings."""
    run = RunDir.create(base, now)
    manifest["run"]["id"] = run.id
    run.write_plan(manifest, {OBSERVE: dict.fromkeys(manifest["hosts"], {})})
    evidence = fleet.evidence(manifest)
    for host, result in evidence.items():
        run.write_host(host, "observe", result)
    found = findings.build(manifest, evidence, simfleet.GRADES)
    run.write("findings.json", json.dumps(found))
    return run, found


@pytest.fixture
def runs(tmp_path):
    """A run with a host that stalls, and one that verifies it after the fault was mended."""
    fleet = simfleet.Fleet(changes=simfleet.SPARSE, faults=[FAULT], cards=dict.fromkeys(simfleet.lab_hosts(), {"rx_queues": 1}))
    first, found = kept(tmp_path / "runs", simfleet.EPOCH_S, fleet, fleet.manifest())
    manifest = first.manifest()
    choice = verify_plan.choose(found, manifest, manifest["hosts"], [], True)
    again = verify_plan.manifest_of(choice, manifest, found, manifest["run"]["parameters"])
    again["run"] |= {key: manifest["run"][key] for key in ("started_at", "starts_at", "ends_at", "versions")}
    mended = simfleet.Fleet(cards=dict.fromkeys(again["hosts"], {"rx_queues": 1}))
    kept(tmp_path / "runs", simfleet.EPOCH_S + 60, mended, again)
    return tmp_path


def test_a_run_that_verifies_another_is_judged_again_by_its_report(runs):
    code, output = play(runs, "report.yml", "-e", "stall_run=latest")
    assert code == 0 and "1 host verified against run" in output and "1 better." in output, output
    latest = runs / "runs" / "latest"
    (row,) = json.loads((latest / "verification.json").read_text())["hosts"]
    assert (row["host"], row["verdict"], len(row["trend"])) == (BAD, "better", 2)
    assert "Did it help" in (latest / "report.md").read_text() and "Did it help" in (latest / "report.html").read_text()


def test_a_run_that_verifies_none_is_reported_as_ever(runs):
    first = min(path.name for path in (runs / "runs").iterdir() if path.name != "latest")
    code, output = play(runs, "report.yml", "-e", f"stall_run={first}")
    assert code == 0 and "stalled ms/s" in output and "verified" not in output, output
    assert not (runs / "runs" / first / "verification.json").exists()


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        (["nope"], ["nope is not verified: it was not part of that run", "Nothing is verified: no host can be probed"]),
        (f"nope, {BAD}", ["nope is not verified: it was not", f"{BAD} is not verified: it is no host"]),
        ([], [f"{BAD} is not verified: it is no host of stall_hosts any more"]),
    ],
)
def test_whom_nobody_can_verify_is_named_and_nothing_is_sent(runs, hosts, words):
    inventory = runs / "one.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"other": {"ansible_host": "192.0.2.1"}}}}))
    before = sorted(path.name for path in (runs / "runs").iterdir())
    code, output = play(runs, "-i", str(inventory), "verify.yml", "-e", "stall_run=latest", "-e", json.dumps({"stall_verify_hosts": hosts}))
    assert code == 0 and all(word in output for word in words), output
    assert sorted(path.name for path in (runs / "runs").iterdir()) == before


def test_a_run_that_is_not_there_is_named(tmp_path):
    code, output = play(tmp_path, "-i", "inventories/example", "verify.yml", "-e", "stall_run=20200101T000000Z-abcd")
    assert code != 0 and "there is no such run" in output
