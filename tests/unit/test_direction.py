"""The elimination way by way, and the receive queue told by which flows of a pair stall together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import direction, receive_queue, report, wording
from ansible_collections.fleet.stall.plugins.plugin_utils.network import Flow
from ansible_collections.fleet.stall.plugins.plugin_utils.queues import Card
from ansible_collections.fleet.stall.plugins.plugin_utils.receive_queue import View
from tests.unit.simfleet import Fault, Fleet, fault, lab_hosts, stalls
from tests.unit.verdicts import BAD, run

TRUE = stalls("direction", 30, *BAD)
TARGET = "192.0.2.50"
KEY = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"


def ways(row: dict) -> dict[str, dict]:
    return {entry["way"]: entry for entry in row["blame"]["directions"] if entry["way"] != "receive_queue"}


def worst(component: str, **more) -> dict:
    return run(Fleet(faults=[fault(component, TRUE)], **more))["hosts"][0]


@pytest.mark.parametrize(
    ("component", "seen", "words"),
    [
        (
            "host:node-a1-2",
            {"outside_to_host", "nodes_to_host", "host_to_nodes", "nodeport", "overlay", "requests"},
            {
                "outside_to_host": "stalls from outside the cluster",
                "host_to_nodes": "does not tell the two sides apart",
                "host_to_outside": "not probed: it sends no probe to a host of stall_outside_group",
                "nodeport": "NAT and overlay are ruled out: the node address stalls as well (node-a1-2 from outside-1, icmp)",
                "overlay": "the overlay is ruled out: the node address stalls as well",
                "requests": "the application is ruled out",
            },
        ),
        (
            "nat:node-a2-1",
            {"nodeport", "requests"},
            {
                "outside_to_host": "the node address answers on time then (node-a2-1 from outside-1, icmp)",
                "nodeport": "stalls while the node address answers on time: the NAT, or what is behind it",
                "overlay": "answers on time then",
                "requests": "the NAT on the way",
            },
        ),
        (
            "overlay:node-b1-1",
            {"overlay", "requests"},
            {"overlay": "stalls while the node address answers on time: the overlay (", "requests": "the overlay on the way"},
        ),
        (
            "source:node-b1-1",
            {"host_to_outside", "host_to_nodes"},
            {"nodes_to_host": "its receive side is ruled out", "host_to_outside": "what it sends stalls"},
        ),
        ("app:web", {"requests"}, {"requests": "the service (", "nodes_to_host": "the node address answers on time then"}),
    ],
)
def test_each_fault_leaves_its_own_pattern_over_the_ways(component, seen, words):
    row = worst(component)
    found = ways(row)
    assert list(found) == list(direction.WAYS)
    for way, entry in found.items():
        assert entry["seen"] <= entry["stalls"] <= len(TRUE)
        assert (entry["seen"] >= 0.9 * len(TRUE)) if way in seen else entry["seen"] == 0, (way, entry)
    for way, text in words.items():
        assert text in found[way]["sentence"]


def test_what_is_not_probed_says_so_and_how_to_have_it_probed():
    without = {name: {"overlay_address": None} for name in ("node_a1_2",)}
    row = worst("host:node-a1-2", hosts=lab_hosts(**without), changes={"services": []})
    assert {way: entry["flows"] for way, entry in ways(row).items() if way in ("overlay", "nodeport", "requests")} == {
        "overlay": 0,
        "nodeport": 0,
        "requests": 0,
    }
    assert "in common with a source (stall_overlay_address, stall_kubernetes, stall_families)" in ways(row)["overlay"]["sentence"]
    assert "stall_services, stall_kubernetes" in ways(row)["nodeport"]["sentence"]
    outside = worst("host:outside-1")
    assert ways(outside)["nodeport"]["sentence"] == "not probed: it is outside the cluster"
    assert ways(outside)["nodes_to_host"]["seen"] > 0


def test_what_is_probed_without_an_answer_is_not_called_healthy():
    row = worst("host:node-a1-2", silent=lambda flow: flow["layer"] == "overlay" and flow["target"] == "node-a1-2")
    assert ways(row)["overlay"] == {"way": "overlay", "flows": 0, "stalls": 0, "seen": 0, "sentence": "probed, but nothing was answered"}


def through_nodeport(flow: dict) -> bool:
    return (flow["layer"], flow["target"]) == ("nodeport", "node-a1-2")


REFUSED = "ports 30080, 30081 are refused, as where nothing is served at that address (stall_services, stall_node_group)"


def test_a_nodeport_that_is_refused_has_not_passed_nat():
    """The node's own kernel refuses it, and stalls with the node."""
    faults = [fault("host:node-a1-2", TRUE)]
    found = run(Fleet(faults=faults, refused=through_nodeport))
    row = found["hosts"][0]
    assert ways(row)["nodeport"] == {"way": "nodeport", "flows": 0, "stalls": 0, "seen": 0, "sentence": f"not probed: {REFUSED}"}
    assert (row["coverage"]["flows_silent"], row["coverage"]["flows_refused"]) == (0, 4)
    assert "NAT and overlay" not in report.html(found) and REFUSED in report.html(found)


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        (lambda flow: 1.0, REFUSED),
        (lambda flow: 0.95, REFUSED),
        (lambda flow: 0.5, None),
        (lambda flow: flow["port"] == 30080, ": port 30080 is refused, "),
    ],
    ids=["refused", "but for a few", "a SYN finds the one before half open", "one of two"],
)
def test_a_host_of_which_a_nodeport_is_refused_says_so_though_it_is_clear(share, reason):
    """Its NAT stalls where it has any."""
    fleet = Fleet(faults=[fault("host:node-b2-1", TRUE)], refused=lambda flow: through_nodeport(flow) and share(flow))
    row = next(row for row in run(fleet)["hosts"] if row["host"] == "node-a1-2")
    assert (row["status"], row["severity"]["grade"]) == ("clear", "none")
    assert row["reason"].startswith("not probed through its NodePort: ") and reason in row["reason"] if reason else not row["reason"]


def test_a_refused_port_of_the_nodes_own_address_is_answered_by_its_kernel():
    fleet = Fleet(
        faults=[fault("host:node-a1-2", TRUE)], refused=lambda flow: flow["layer"] != "nodeport" and flow["protocol"] == "tcp_syn"
    )
    assert run(fleet) == run(Fleet(faults=[fault("host:node-a1-2", TRUE)]))


def test_flows_too_slow_to_see_a_stall_are_no_witnesses():
    short = [(start, 0.02) for start, _length in TRUE]
    row = run(Fleet(changes={"http_new_interval_ms": 1000, "service_interval_ms": 1000}, faults=[fault("host:node-a1-2", short)]))["hosts"][
        0
    ]
    entry = ways(row)["requests"]
    assert entry["flows"] > 0 and entry["stalls"] < len(short) / 2


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (None, "its transmit side as a whole is ruled out; a single transmit queue, or a filter of replies, is not: "),
        ({"rx": 0, "tx": 0, "other": 1, "combined": 8}, "its transmit side as a whole is ruled out; a single"),
        ({"rx": 4, "tx": 1, "other": 0, "combined": 0}, "its transmit side is ruled out: "),
        ({"rx": None, "tx": None, "other": None, "combined": 1}, "its transmit side is ruled out: "),
    ],
)
def test_transmit_side_is_ruled_out_by_what_the_host_sends(channels, said):
    """As on a host whose receive queues differ: what comes back from outside reaches another queue than the probes to it."""
    faults = [fault("host:node-b1-1", TRUE, lambda flow: flow["target"] == "node-b1-1")]
    sentence = ways(run(Fleet(faults=faults, cards={"node-b1-1": {"channels": channels}}))["hosts"][0])["host_to_outside"]["sentence"]
    assert sentence.startswith(said)
    assert "probes from it to outside-1 are answered on time while probes to it stall (" in sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "stalls from a node, with no NAT and no overlay on the way ("),
        ({"node": True, "groups": ["rack_a1"]}, "stalls from a node"),
        ({"node": False}, "stalls from another host, at its own address: neither NodePort NAT nor the overlay is needed ("),
        ({"groups": ["rack_a1"]}, "stalls from another host"),
    ],
)
def test_a_source_is_a_node_where_the_cluster_or_the_node_group_says_so(change, said):
    hosts = lab_hosts(**{name.replace("-", "_"): change for name in lab_hosts() if name.startswith("node-")})
    row = worst("host:node-a1-2", hosts=hosts, changes={"services": []})
    assert ways(row)["nodes_to_host"]["sentence"].startswith(said)


def test_a_card_known_to_have_one_queue_has_no_queue_that_stalls_alone():
    """Whatever stalls on some flows of a pair alone, it is not a receive queue of that card."""
    faults = [fault("host:node-a1-2", TRUE, lambda flow: flow["protocol"] == "icmp")]
    rows = {total: run(Fleet(faults=faults, cards={"node-a1-2": {"rx_queues": total}}))["hosts"][0] for total in (None, 1)}
    shown = {total: [entry["way"] for entry in row["blame"]["directions"]].count("receive_queue") for total, row in rows.items()}
    assert shown == {None: 1, 1: 0}


def test_hosts_that_do_not_stall_have_no_table():
    rows = run(Fleet(faults=[fault("host:node-a1-2", TRUE)]))["hosts"]
    assert [row["host"] for row in rows if row["blame"]["directions"]] == ["node-a1-2"]


def test_reports_show_the_ways():
    found = run(Fleet(faults=[fault("host:node-a1-2", TRUE)]))
    assert "**node-a1-2, through its NodePort**: " in report.markdown(found)
    assert "NAT and overlay are ruled out" in report.html(found)
    assert ("through the overlay", f"{len(TRUE)} of {len(TRUE)} stalls on 4 flows") in [
        row[:2] for row in wording.directions(found["hosts"][0])
    ]


def nodeport_only(**service) -> dict:
    plain = {
        "name": "many",
        "protocol": "syn",
        "node_port": 30080,
        "path": "/",
        "request": "",
        "backend": None,
        "target": None,
        "port": None,
    }
    return {"services": [{**plain, **service}]}


@pytest.mark.parametrize("pods", [1, 3])
def test_pods_of_unknown_place_behind_a_nodeport_accuse_no_nodes_nat(pods):
    """The host of a pod stalls; through every node's NodePort that shows on the flows that end there."""

    def reaches(flow: dict) -> bool:
        return flow["layer"] == "nodeport" and random.Random(str(flow["id"])).random() < 1 / pods

    hits = Fault(TRUE, lambda flow: "host:node-b1-1" in flow["components"] or reaches(flow))
    found = run(Fleet(changes=nodeport_only(), faults=[hits]))
    assert {row["host"] for row in found["hosts"] if row["status"] != "clear"} == {"node-b1-1"}
    assert [(entry["kind"], entry["name"]) for entry in found["coincident"]] == [("backend", "many")]
    assert "through node-a1-" in found["coincident"][0]["because"]


def test_a_nodes_nat_is_told_from_what_is_behind_it_though_that_is_unknown():
    row = worst("nat:node-a2-1", changes=nodeport_only())
    assert (row["host"], row["blame"]["layer"]) == ("node-a2-1", "nodeport")


def test_a_service_that_is_only_connected_to_gets_no_request():
    flows = Fleet(changes=nodeport_only()).manifest()["flows"]
    assert {(flow["layer"], flow["protocol"]) for flow in flows if flow["service"]} == {("nodeport", "tcp_syn")}
    assert all("backend:many" in flow["components"] for flow in flows if flow["service"])


def test_a_local_service_is_probed_on_its_own_nodes_and_crosses_no_overlay():
    local = nodeport_only(local=True, nodes=["node-a1-1", "node-b1-2"])
    flows = [flow for flow in Fleet(changes=local).manifest()["flows"] if flow["service"]]
    assert {flow["target"] for flow in flows} == {"node-a1-1", "node-b1-2"}
    assert not any(part.startswith(("overlay:", "backend:")) for flow in flows for part in flow["components"])


def test_hosts_that_the_cluster_does_not_have_serve_no_nodeport():
    hosts = lab_hosts(node_a1_1={"node": False}, node_a1_2={"node": True})
    targets = {flow["target"] for flow in Fleet(hosts=hosts, changes=nodeport_only()).manifest()["flows"] if flow["service"]}
    assert "node-a1-1" not in targets and "node-a1-2" in targets


# --- One receive queue ---------------------------------------------------------------------------------------------------------


def card(queues: int) -> Card:
    fields = {"tcp4": ["src_ip", "dst_ip", "src_port", "dst_port"]}
    rss = {"available": True, "function": "toeplitz", "key": KEY, "indirection": list(range(queues)) * 16, "fields": fields}
    return Card({"rx_queues": queues, "queues": [], "rss": rss})


def flows(shown: bool, sources: int = 2, ports: int = 8, queues: int = 8) -> tuple[list[Flow], dict[int, int]]:
    """ICMP and TCP flows to one host of so many receive queues, and the queue that each truly reaches; `shown`: whether the card tells."""
    found, reached = [], {}
    for number in range(sources):
        address = f"198.51.100.{number + 1}"
        for nth in range(ports + 1):
            port = None if nth == 0 else 33000 + 10007 * (number * ports + nth) % 28000
            queue = card(queues).queue(address, TARGET, port, None if port is None else 22)
            flow_id = len(found)
            assert queue is not None
            reached[flow_id] = queue
            known = (("bad", queue),) if shown else ()
            layer, protocol = "node", "icmp" if port is None else "tcp_syn"
            found.append(Flow(flow_id, f"src-{number}", "bad", layer, protocol, 10_000_000, ("host:bad",), known, port))
    return found, reached


def seen(found: list[Flow], stalls_of: dict[int, set[int]], reached: dict[int, int]) -> list[View]:
    """What each flow sees, where queue q stalls at the times stalls_of[q]; every flow could see all."""
    everything = frozenset().union(*stalls_of.values())
    return [View(flow, everything, frozenset(stalls_of.get(reached[flow.id], ()))) for flow in found]


@pytest.mark.parametrize("shown", [True, False])
def test_flows_that_stall_together_beside_others_of_their_pair_share_a_queue(shown):
    found, reached = flows(shown)
    echo = reached[0]
    [queue] = receive_queue.queues("bad", seen(found, {echo: set(range(10))}, reached))
    assert {flow.id for flow in queue.inside} == {number for number, reaches in reached.items() if reaches == echo}
    assert queue.numbers == ((echo,) if shown else ())
    said = receive_queue.sentence(queue)
    tcp = [flow for flow in queue.inside if flow.protocol == "tcp_syn"]
    pairs = {flow.source for flow in queue.inside}
    assert said.startswith(f"TCP by source port: {len(tcp)} of {8 * len(pairs)} flows stall, ICMP from src-0")
    if shown:
        assert said.endswith(f": one receive queue, number {echo}")
    else:
        assert "number unknown, the one that source port" in said
        assert all(str(flow.source_port) in said for flow in tcp[:2])


@pytest.mark.parametrize("shown", [True, False])
def test_two_queues_that_stall_at_times_of_their_own_are_two(shown):
    found, reached = flows(shown, ports=16)
    first, second = reached[0], next(queue for queue in reached.values() if queue != reached[0])
    named = receive_queue.queues("bad", seen(found, {first: set(range(8)), second: set(range(8, 20))}, reached))
    assert [len(queue.stalls) for queue in named] == [12, 8]
    assert [queue.numbers for queue in named] == ([(second,), (first,)] if shown else [(), ()])


def test_two_queues_that_stall_at_the_same_times_are_named_together():
    found, reached = flows(True, ports=16)
    first, second = reached[0], next(queue for queue in reached.values() if queue != reached[0])
    [named] = receive_queue.queues("bad", seen(found, {first: set(range(8)), second: set(range(8))}, reached))
    assert named.numbers == tuple(sorted((first, second)))
    assert receive_queue.sentence(named).endswith("which stall at the same times")


def test_a_host_that_stalls_whole_names_no_queue():
    found, _ = flows(True)
    assert receive_queue.queues("bad", [View(flow, frozenset(range(10)), frozenset(range(10))) for flow in found]) == []


def test_a_single_queue_names_no_queue():
    found, reached = flows(True, queues=1)
    assert set(reached.values()) == {0}
    assert receive_queue.queues("bad", seen(found, {0: set(range(10))}, reached)) == []


def test_a_pair_that_stalls_whole_is_no_queue_of_the_host():
    found, _ = flows(False)
    views = [View(flow, frozenset(range(10)), frozenset(range(10)) if flow.source == "src-0" else frozenset()) for flow in found]
    assert receive_queue.queues("bad", views) == []


def test_too_few_stalls_name_no_queue():
    found, reached = flows(True)
    assert receive_queue.queues("bad", seen(found, {reached[0]: {0, 1}}, reached)) == []


def test_a_card_that_contradicts_what_is_seen_is_not_believed():
    found, reached = flows(True)
    swapped = {number: found[(number + 5) % len(found)] for number in reached}
    views = [
        View(swapped[number], frozenset(range(10)), frozenset(range(10)) if queue == reached[0] else frozenset())
        for number, queue in reached.items()
    ]
    assert all(queue.numbers == () for queue in receive_queue.queues("bad", views))


def test_echoes_alone_may_be_handled_apart():
    found, _ = flows(False)
    views = [View(flow, frozenset(range(10)), frozenset(range(10)) if flow.protocol == "icmp" else frozenset()) for flow in found]
    [queue] = receive_queue.queues("bad", views)
    said = receive_queue.sentence(queue)
    assert said.startswith("TCP by source port: 0 of 16 flows stall") and "or ICMP is handled apart" in said


@given(seed=st.integers(0, 10**6), missed=st.floats(0, 0.2), chance=st.floats(0, 0.02))
def test_the_queue_is_found_through_misses_and_chance(seed, missed, chance):
    """Flows of the queue miss some of its stalls, the others have a hiccup of their own now and then."""
    rng = random.Random(seed)
    found, reached = flows(True, ports=16)
    bad = reached[0]
    views = []
    for flow in found:
        rate = 1 - missed if reached[flow.id] == bad else chance
        views.append(View(flow, frozenset(range(40)), frozenset(n for n in range(40) if rng.random() < rate)))
    numbers = [queue.numbers for queue in receive_queue.queues("bad", views)]
    assert numbers == [(bad,)]
