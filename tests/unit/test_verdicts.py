"""The verdict on each kind of fault, on a fleet on paper: who is named, on which side and layer, and who is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import findings
from tests.unit import contract
from tests.unit.simfleet import EPOCH_S, GRADES, PARAMETERS, SPARSE, Fleet, fault, lab_hosts, many_hosts, not_measured, stalls

WINDOW = {"dense": PARAMETERS["window_s"], "sparse": SPARSE["window_s"]}
BAD, MILD, HELD = ((0.1, 0.13), (0.7, 1.5)), ((0.03, 0.05), (1.5, 2.5)), ((0.06, 0.12), (0.8, 1.6))


@pytest.fixture(params=["dense", "sparse"])
def rates(request):
    """The default rates, and the lab's."""
    return request.param, SPARSE if request.param == "sparse" else {}


def run(fleet: Fleet, missing: dict | None = None) -> dict:
    manifest = fleet.manifest()
    evidence = {**fleet.evidence(manifest), **(missing or {})}
    found = findings.build(manifest, evidence, GRADES)
    contract.holds(found)
    assert len(found["hosts"]) == len(fleet.hosts)
    return found


def rows(found: dict) -> dict[str, dict]:
    return {row["host"]: row for row in found["hosts"]}


def verdict(row: dict) -> tuple:
    return row["status"], row["blame"]["side"], row["blame"]["layer"]


def others_clear(found: dict, *bad: str) -> bool:
    return {row["host"]: row["status"] for row in found["hosts"] if row["host"] not in bad and row["status"] != "clear"} == {}


def because(row: dict) -> dict[str, str]:
    return {item["what"]: item["because"] for item in row["blame"]["ruled_out"]}


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
