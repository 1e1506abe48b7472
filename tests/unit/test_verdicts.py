"""The verdict on each kind of fault, on a fleet on paper: who is named, on which side and layer, and who is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import findings
from tests.unit.simfleet import EPOCH_S, GRADES, PARAMETERS, SPARSE, Fleet, fault, lab_hosts, many_hosts, stalls
from tests.unit.verdicts import BAD, HELD, MILD, WINDOW, because, others_clear, rows, run, verdict


def test_clean_fleet_is_clear_and_says_how_clear(rates):
    found = run(Fleet(changes=rates[1]))
    assert others_clear(found)
    assert found["coincident"] == []
    for row in found["hosts"]:
        assert row["severity"]["events"] == 0
        assert row["coverage"]["upper_bound_ms_per_s"] == pytest.approx(3 * 100 / WINDOW[rates[0]])
        assert row["severity"]["ci95"] == [0.0, row["coverage"]["upper_bound_ms_per_s"]]


def test_short_hiccups_of_single_flows_accuse_nobody(rates):
    found = run(Fleet(changes=rates[1], blips=0.7))
    assert others_clear(found)
    assert sum(row["coverage"]["set_aside"] for row in found["hosts"]) > 0


@pytest.mark.parametrize(("shape", "bad"), [(BAD, "node-a1-2"), (MILD, "node-b2-1"), (BAD, "node-b1-1"), (BAD, "outside-1")])
def test_receive_stall_is_the_receivers(rates, shape, bad):
    name, changes = rates
    true = stalls("rx", WINDOW[name], *shape)
    found = run(Fleet(changes=changes, faults=[fault(f"host:{bad}", true)]))
    worst = found["hosts"][0]
    assert worst["host"] == bad
    assert verdict(worst) == ("stalling", "receiver", "node")
    assert worst["blame"]["confidence"] == "high"
    assert others_clear(found, bad)
    assert found["coincident"] == []
    interval = {**PARAMETERS, **changes}["interval_ms"]
    assert worst["severity"]["events"] == len(true)
    assert worst["severity"]["stalled_ms_per_s"] == pytest.approx(1000 * sum(length for _, length in true) / WINDOW[name], rel=0.15)
    low, high = worst["severity"]["ci95"]
    assert low < worst["severity"]["stalled_ms_per_s"] < high
    for event, (start, length) in zip(worst["events"], true, strict=True):
        assert event["start_ns"] / 1e9 - 1_800_000_000 == pytest.approx(start, abs=interval / 1000)
        assert event["duration_ms"] == pytest.approx(1000 * length, abs=interval)


def test_receive_stall_tells_what_was_ruled_out_and_by_which_flow():
    found = run(Fleet(faults=[fault("host:node-a1-2", stalls("rx", 30, *BAD))]))
    said = because(found["hosts"][0])
    assert set(said) == {"sender", "nat", "overlay", "path", "application"}
    assert "all see it" in said["sender"] and "outside-1" in said["sender"]
    assert said["nat"].startswith("the node address stalls as well (")
    assert "icmp" in said["application"]


def test_two_bad_hosts_at_the_same_time_are_both_named_in_order(rates):
    name, changes = rates
    worse, milder = stalls("worse", WINDOW[name], *BAD), stalls("milder", WINDOW[name], *MILD)
    found = run(Fleet(changes=changes, faults=[fault("host:node-a1-2", worse), fault("host:node-b2-1", milder)]))
    assert [row["host"] for row in found["hosts"][:2]] == ["node-a1-2", "node-b2-1"]
    assert {verdict(row) for row in found["hosts"][:2]} == {("stalling", "receiver", "node")}
    assert others_clear(found, "node-a1-2", "node-b2-1")
    assert abs(found["hosts"][0]["severity"]["events"] - len(worse)) <= 1
    assert abs(found["hosts"][1]["severity"]["events"] - len(milder)) <= 1


def test_a_stall_that_only_its_own_host_could_see_elsewhere_is_not_the_other_hosts_too():
    """While all other probers of node-a1-2 are late themselves, only node-b2-1, which stalls, is there to see it slow."""
    worse, milder = stalls("worse", 30, *BAD), [(5.2, 0.04), (12.1, 0.045), (20.3, 0.04)]
    worse = [(start, length) for start, length in worse if all(abs(start - other) > 0.3 for other, _ in milder)]
    fleet = Fleet(faults=[fault("host:node-a1-2", worse), fault("host:node-b2-1", milder)])
    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    for host in {flow["source"] for flow in manifest["flows"] if flow["target"] == "node-a1-2"} - {"node-b2-1"} | {"node-a1-2"}:
        evidence[host]["lateness"]["late"] = [[round((EPOCH_S + start - 0.02) * 1e9), 100.0] for start, _ in milder]
    found = rows(findings.build(manifest, evidence, GRADES))
    assert found["node-a1-2"]["severity"]["events"] == len(worse)
    assert found["node-b2-1"]["severity"]["events"] == len(milder)


def test_requests_alone_accuse_no_sender_whose_plain_probes_were_late():
    """What answers all of them, a pod say, can be slow as well."""
    fleet = Fleet(faults=[fault("source:outside-1", [(12.4, 0.03)], lambda flow: flow["layer"] in ("http", "nodeport"))])
    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    evidence["outside-1"]["lateness"]["late"] = [[round((EPOCH_S + 12.39) * 1e9), 50.0]]
    found = findings.build(manifest, evidence, GRADES)
    assert "source" not in {entry["kind"] for entry in found["coincident"]}


def test_what_a_stalling_host_sends_is_no_second_fault():
    """Its own probes see each stall for longer than those of others do."""
    true = stalls("rx", 30, *MILD)
    longer = [(start, length + 0.06) for start, length in true]
    found = run(Fleet(faults=[fault("host:node-b2-1", true), fault("source:node-b2-1", longer)]))
    assert found["coincident"] == []
    assert found["hosts"][0]["severity"]["events"] == len(true)
    assert verdict(found["hosts"][0]) == ("stalling", "receiver", "node")


@pytest.mark.parametrize("second", ["node-a1-1", "node-b2-1"])
def test_two_hosts_that_always_stall_together_are_two_hosts(rates, second):
    name, changes = rates
    together = stalls("both", WINDOW[name], *BAD)
    found = run(Fleet(changes=changes, faults=[fault("host:node-a1-2", together), fault(f"host:{second}", together)]))
    assert {row["host"] for row in found["hosts"][:2]} == {"node-a1-2", second}
    assert {verdict(row) for row in found["hosts"][:2]} == {("stalling", "receiver", "node")}
    assert found["coincident"] == []


def test_source_that_stalls_and_cannot_be_probed_is_a_sender(rates):
    name, changes = rates
    faults = [fault("host:outside-1", stalls("source", WINDOW[name], *HELD))]
    found = run(Fleet(changes=changes, faults=faults, silent=lambda flow: flow["target"] == "outside-1"))
    worst = found["hosts"][0]
    assert (worst["host"], worst["status"], worst["blame"]["side"]) == ("outside-1", "stalling", "sender")
    assert others_clear(found, "outside-1")
    assert [(entry["kind"], entry["name"]) for entry in found["coincident"]] == [("source", "outside-1")]
    assert "receiver" in because(worst)


def test_source_whose_own_receive_path_is_fine_is_a_sender(rates):
    name, changes = rates
    found = run(Fleet(changes=changes, faults=[fault("source:node-a2-1", stalls("source", WINDOW[name], *HELD))]))
    assert (found["hosts"][0]["host"], verdict(found["hosts"][0])) == ("node-a2-1", ("stalling", "sender", "node"))
    assert others_clear(found, "node-a2-1")


@pytest.mark.parametrize("group", ["rack_a2", "rack_b1", "dc_b"])
def test_path_into_a_domain_is_nobodys_row(rates, group):
    name, changes = rates
    found = run(Fleet(changes=changes, faults=[fault(f"path:{group}", stalls("path", WINDOW[name], *HELD))]))
    assert [(entry["kind"], entry["name"]) for entry in found["coincident"]] == [("path", group)]
    assert "does not cross" in found["coincident"][0]["because"]
    assert others_clear(found)


@pytest.mark.parametrize("node", ["node-a2-1", "node-b1-1"])
def test_nat_alone(rates, node):
    name, changes = rates
    found = run(Fleet(changes=changes, faults=[fault(f"nat:{node}", stalls("nat", WINDOW[name], *HELD))]))
    assert (found["hosts"][0]["host"], verdict(found["hosts"][0])) == (node, ("stalling", "receiver", "nodeport"))
    assert others_clear(found, node)
    assert "node address answers" in because(found["hosts"][0])["receiver"]


@pytest.mark.parametrize("node", ["node-a1-1", "node-b1-1"])
def test_overlay_alone(rates, node):
    name, changes = rates
    found = run(Fleet(changes=changes, faults=[fault(f"overlay:{node}", stalls("overlay", WINDOW[name], *HELD))]))
    assert (found["hosts"][0]["host"], verdict(found["hosts"][0])) == (node, ("stalling", "receiver", "overlay"))
    assert others_clear(found, node)


def test_application_alone_is_its_hosts(rates):
    name, changes = rates
    throttled = stalls("app", WINDOW[name], (0.08, 0.09), (0.8, 1.6))
    found = run(Fleet(changes=changes, faults=[fault("app:web", throttled), fault("app:line", throttled)]))
    assert (found["hosts"][0]["host"], verdict(found["hosts"][0])) == ("node-b1-1", ("stalling", "application", "http"))
    assert others_clear(found, "node-b1-1")
    assert abs(found["hosts"][0]["severity"]["events"] - len(throttled)) <= 1


def test_application_of_unknown_place_is_coincident():
    services = [{**service, "backend": None} for service in PARAMETERS["services"]]
    found = run(Fleet(changes={"services": services}, faults=[fault("app:web", stalls("app", 30, *HELD))]))
    assert [(entry["kind"], entry["name"]) for entry in found["coincident"]] == [("application", "web")]
    assert others_clear(found)


def test_everything_at_once_is_the_fleets(rates):
    name, changes = rates
    found = run(Fleet(changes=changes, faults=[fault("fleet:all", stalls("fleet", WINDOW[name], *HELD))]))
    assert [entry["kind"] for entry in found["coincident"]] == ["fleet"]
    assert others_clear(found)


@pytest.mark.parametrize("how", ["expected", "computed"])
def test_one_receive_queue_of_eight(how):
    """Only flows that hash to one queue of the bad host stall; where the card shows its hash, the queue is named."""
    bad = "node-a2-1"
    key = bytes(range(1, 41)).hex()
    rss = {"available": True, "reason": None, "function": "toeplitz", "key": key, "indirection": list(range(8)) * 16}
    rss["fields"] = {"tcp4": ["src_ip", "dst_ip", "src_port", "dst_port"]}
    true_card = {"rx_queues": 8, "rss": rss}
    shown = {"rx_queues": 8, "rss": rss if how == "computed" else {"available": False}}
    reached = queue_map(Fleet(cards={bad: true_card}), bad)
    queue = max(set(reached.values()), key=list(reached.values()).count)
    faults = [fault(f"host:{bad}", stalls("q", 30, *BAD), lambda flow: reached.get(flow["id"]) == queue)]
    found = run(Fleet(faults=faults, cards={bad: shown}))
    worst = found["hosts"][0]
    assert (worst["host"], verdict(worst)) == (bad, ("stalling", "receiver", "node"))
    assert worst["blame"]["some_flows_only"]
    assert worst["blame"]["queues"] == ([queue] if how == "computed" else None)
    assert worst["coverage"]["queues_how"] == how
    assert others_clear(found, bad)


def queue_map(fleet: Fleet, host: str) -> dict[int, int]:
    from ansible_collections.fleet.stall.plugins.plugin_utils import network, queues

    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    cards = {host: queues.card_of(evidence[host], [manifest["hosts"][host]["address"]])}
    flows = network.network(manifest, evidence, {}, cards).flows.values()
    return {flow.id: dict(flow.queues)[host] for flow in flows if host in dict(flow.queues)}


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), bad=st.sampled_from(sorted(lab_hosts())))
def test_findings_do_not_depend_on_the_order_of_anything(seed, bad):
    import random

    fleet = Fleet(changes=SPARSE, faults=[fault(f"host:{bad}", stalls(str(seed), 20, *HELD))], blips=0.3)
    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    straight = json.dumps(findings.build(manifest, evidence, GRADES))
    rng = random.Random(seed)
    hosts = list(fleet.hosts)
    rng.shuffle(hosts)
    shuffled = Fleet(hosts={name: fleet.hosts[name] for name in hosts}, changes=SPARSE).manifest()
    assert shuffled == manifest
    rng.shuffle(manifest["flows"])
    names = list(evidence)
    rng.shuffle(names)
    for result in evidence.values():
        rng.shuffle(result["flows"])
    assert json.dumps(findings.build(manifest, {name: evidence[name] for name in names}, GRADES)) == straight


def test_large_fleet_with_several_bad_hosts():
    hosts = many_hosts(200)
    bad = ["n0007", "n0057", "n0133"]
    faults = [fault(f"host:{name}", stalls(name, 30, *HELD)) for name in bad]
    found = run(Fleet(hosts=hosts, changes={"services": [], "source_ports": 1}, faults=faults))
    assert {row["host"] for row in found["hosts"] if row["status"] == "stalling"} == set(bad)
    assert others_clear(found, *bad)
