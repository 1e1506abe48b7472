"""What is not known well: hosts that are not measured, lossy, seen by few, or seen by a prober that was late."""

from __future__ import annotations

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import findings
from tests.unit import contract
from tests.unit.simfleet import GRADES, Fleet, fault, lab_hosts, not_measured, stalls
from tests.unit.verdicts import BAD, HELD, MILD, WINDOW, because, others_clear, rows, run, verdict


def test_lossy_host_is_suspect_and_its_peers_are_not(rates):
    lossy = "node-b1-2"
    found = run(Fleet(changes=rates[1], loss=lambda flow: 0.052 if lossy in (flow["source"], flow["target"]) else 0.0))
    row = rows(found)[lossy]
    assert row["status"] == "suspect"
    assert "5.2 %" in row["reason"] and "no stall" in row["reason"]
    assert row["coverage"]["loss_ratio"] == pytest.approx(0.052, abs=0.002)
    assert others_clear(found, lossy)


def test_dead_and_hung_hosts_are_named_and_cost_no_other_its_row(rates):
    dead, hung = "node-a2-2", "node-b2-2"
    missing = {
        dead: not_measured("connect", "SSH: no route to host", "check the host"),
        hung: not_measured("connect", "SSH: no banner within 10 s", "check sshd"),
    }
    found = run(Fleet(changes=rates[1], silent=lambda flow: dead in (flow["source"], flow["target"])), missing)
    assert rows(found)[dead]["status"] == rows(found)[hung]["status"] == "not_measured"
    assert rows(found)[dead]["reason"] == "SSH: no route to host; check the host; no probe to it was answered"
    assert rows(found)[dead]["severity"]["stalled_ms_per_s"] is None
    assert "no banner" in rows(found)[hung]["reason"] and "probes to it were answered" in rows(found)[hung]["reason"]
    assert others_clear(found, dead, hung)
    assert found["run"]["hosts_measured"] == 7
    assert [row["host"] for row in found["hosts"][:2]] == [dead, hung]


def test_hung_host_that_stalls_is_stalling_all_the_same():
    hung = "node-b2-2"
    fleet = Fleet(faults=[fault(f"host:{hung}", stalls("rx", 30, *BAD))])
    row = run(fleet, {hung: not_measured("connect", "SSH: no banner", "check sshd")})["hosts"][0]
    assert (row["host"], verdict(row)) == (hung, ("stalling", "receiver", "node"))
    assert row["reason"] == "its own side was not observed: SSH: no banner; check sshd"


def test_host_that_answers_nothing_is_not_measured():
    found = run(Fleet(silent=lambda flow: flow["target"] == "node-a1-1"))
    assert rows(found)["node-a1-1"]["status"] == "not_measured"
    assert rows(found)["node-a1-1"]["reason"] == "no probe was answered"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"in_limit": False}, "outside --limit"),
        ({"target": False}, "it is no target (stall_targets)"),
    ],
)
def test_hosts_left_out_say_so(change, reason):
    found = run(Fleet(hosts=lab_hosts(node_a1_1=change)))
    assert rows(found)["node-a1-1"]["status"] == "not_measured"
    assert rows(found)["node-a1-1"]["reason"] == reason


def test_no_evidence_at_all_leaves_every_host_not_measured():
    found = findings.build(Fleet().manifest(), {}, GRADES)
    contract.holds(found)
    assert {row["status"] for row in found["hosts"]} == {"not_measured"}
    assert found["run"]["hosts_measured"] == 0


def test_what_one_pair_alone_sees_is_suspect_and_unknown():
    pair = ("outside-1", "node-b2-2")
    hits = fault("fleet:all", stalls("pair", 30, *HELD), lambda flow: (flow["source"], flow["target"]) == pair)
    found = run(Fleet(faults=[hits]))
    row = rows(found)["node-b2-2"]
    assert (row["status"], row["blame"]["side"]) == ("suspect", "unknown")
    assert "seen from outside-1, which nobody else confirms" in row["reason"]
    assert row["severity"]["grade"] == "none"
    assert others_clear(found, "node-b2-2")


def test_single_long_event_of_one_flow_is_suspect():
    hits = fault(
        "fleet:all", [(12.0, 0.2)], lambda flow: flow["target"] == "node-a1-1" and flow["layer"] == "outside" and flow["protocol"] == "icmp"
    )
    row = run(Fleet(faults=[hits]))["hosts"][0]
    assert (row["host"], row["status"]) == ("node-a1-1", "suspect")
    assert "one stall of 19" in row["reason"] or "one stall of 20" in row["reason"]


def test_hiccup_of_new_connections_to_several_targets_is_no_targets_fault():
    targets = ("node-a1-1", "node-a2-2", "node-b2-1")
    hits = fault("fleet:all", [(12.0, 0.17)], lambda flow: flow["target"] in targets and flow["protocol"] == "http_new")
    found = run(Fleet(faults=[hits]))
    assert others_clear(found)
    assert any("several targets of one source had at once" in warning for warning in found["warnings"])
    assert rows(found)["node-a1-1"]["coverage"]["set_aside"] == 1


def test_two_hosts_alone_cannot_tell_who():
    hosts = {name: lab_hosts()[name] for name in ("node-a1-1", "node-b2-2")}
    found = run(Fleet(hosts=hosts, changes={"services": []}, faults=[fault("host:node-a1-1", stalls("rx", 30, *BAD))]))
    assert {row["status"] for row in found["hosts"]} == {"stalling"}
    assert {row["blame"]["side"] for row in found["hosts"]} == {"unknown"}
    assert "node-b2-2 may as well be to blame" in rows(found)["node-a1-1"]["reason"]


def test_a_machine_alone_is_judged_with_low_confidence():
    hosts = {"node-a1-1": lab_hosts()["node-a1-1"]}
    assert others_clear(run(Fleet(hosts=hosts, changes={"services": []})))
    row = run(Fleet(hosts=hosts, changes={"services": []}, faults=[fault("host:node-a1-1", stalls("rx", 30, *BAD))]))["hosts"][0]
    assert verdict(row) == ("stalling", "receiver", "node")
    assert row["blame"]["confidence"] == "low"


def test_one_source_is_enough_for_a_verdict_of_low_confidence():
    """Only outside-1 probes: a host among several is told from the source, not from the path between the two."""
    hosts = lab_hosts(**{name.replace("-", "_"): {"source": False} for name in lab_hosts() if name != "outside-1"})
    found = run(Fleet(hosts=hosts, faults=[fault("host:node-a1-1", stalls("rx", 30, *BAD))]))
    row = found["hosts"][0]
    assert (row["host"], verdict(row)) == ("node-a1-1", ("stalling", "receiver", "node"))
    assert row["blame"]["confidence"] == "low"
    assert "reaches" in because(row)["sender"]


def test_clocks_that_differ_change_no_verdict(rates):
    name, changes = rates
    faults = [fault("host:node-a1-2", stalls("w", WINDOW[name], *BAD)), fault("path:rack_b1", stalls("p", WINDOW[name], *MILD))]
    straight = run(Fleet(changes=changes, faults=faults))
    skewed = run(Fleet(changes=changes, faults=faults, offsets_s={"node-a1-1": 3.7, "node-b2-2": -12.0, "outside-1": 0.2}))
    assert [verdict(row) for row in skewed["hosts"]] == [verdict(row) for row in straight["hosts"]]
    assert [(e["kind"], e["name"]) for e in skewed["coincident"]] == [("path", "rack_b1")]
    said = " ".join(skewed["warnings"])
    assert "node-a1-1 (3.7 s)" in said and "node-b2-2 (12 s)" in said and "outside-1 (0.2 s)" in said


def test_prober_that_was_late_is_no_witness_for_the_host():
    """Where a source could not see, its silence does not speak against the stalls that others saw."""
    true = stalls("rx", 30, *BAD)
    blind = {"node-b2-1", "node-b2-2", "node-a1-1"}
    fleet = Fleet(faults=[fault("host:node-a1-2", true, lambda flow: flow["source"] not in blind)])
    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    for host in blind:
        evidence[host]["lateness"]["late"] = [[1_800_000_000 * 10**9 + round(start * 1e9), 1000 * length] for start, length in true]
    row = findings.build(manifest, evidence, GRADES)["hosts"][0]
    assert (row["host"], verdict(row)) == ("node-a1-2", ("stalling", "receiver", "node"))


def test_late_send_is_the_senders():
    fleet = Fleet(
        faults=[fault("source:node-a2-1", stalls("s", 30, *HELD), lambda flow: flow["target"] == "node-a2-2" or flow["layer"] == "overlay")]
    )
    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    for flow in evidence["node-a2-1"]["flows"]:
        for event in flow["events"]:
            event["tx_delay_ms"] = event["duration_ms"]
    found = findings.build(manifest, evidence, GRADES)
    assert {row["host"] for row in found["hosts"] if row["status"] == "stalling"} <= {"node-a2-1"}
