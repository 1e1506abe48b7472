"""Whom to open up: the worst of those that can be, a control like them, and no packet to anybody else."""

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import plan as capture_module
from ansible_collections.fleet.stall.plugins.module_utils.plan import problems as observe_problems
from ansible_collections.fleet.stall.plugins.plugin_utils import capture_plan, mesh, parameters

RACKS = {"a1": "rack_a", "a2": "rack_a", "a3": "rack_a", "b1": "rack_b", "b2": "rack_b", "out": "outside"}
PARAMETERS = parameters.validate({})[0]
RUN = {"id": "20261123T042300Z-1a2b", "started_at": "2026-11-23T04:23:00+00:00", "starts_at": 100.0, "ends_at": 130.0, "versions": {}}


@pytest.fixture(scope="module")
def first():
    hosts = {
        name: {"slug": name, "groups": [rack], "address": f"192.0.2.{number}", "source": True, "target": name != "b2"}
        for number, (name, rack) in enumerate(RACKS.items(), 1)
    }
    return mesh.build(hosts, PARAMETERS, RUN)


def findings(**statuses):
    """Rows in the order given: name="status/side"; the rest is clear."""
    rows = []
    for name in (*statuses, *(name for name in RACKS if name not in statuses)):
        status, _, side = statuses.get(name, "clear").partition("/")
        rows.append({"host": name, "status": status, "blame": {"side": side or None}})
    return {"hosts": rows}


def chosen(first, rows, **changed):
    return capture_plan.choose(rows, first, {**PARAMETERS, **changed})


@pytest.mark.parametrize(
    ("rows", "changed", "suspects"),
    [
        ({}, {}, []),
        ({"a1": "stalling/receiver"}, {}, ["a1"]),
        ({"a2": "suspect/unknown", "a1": "stalling/application"}, {}, ["a1", "a2"]),
        ({"a1": "stalling/receiver", "a2": "stalling/receiver", "b1": "suspect/unknown"}, {}, ["a1", "a2"]),
        ({"a1": "stalling/receiver", "a2": "stalling/receiver"}, {"suspects_max": 1}, ["a1"]),
        ({"a1": "suspect", "a2": "suspect/receiver"}, {}, ["a2"]),
        ({"b2": "stalling/receiver", "a1": "stalling/sender", "a2": "suspect/receiver"}, {}, ["a2"]),
        ({"a1": "not_measured", "a2": "suspect/receiver"}, {}, ["a2"]),
        ({"a1": "stalling/receiver"}, {"capture_hosts": ["b1", "b1", "a3"]}, ["b1", "a3"]),
        ({"a1": "not_measured"}, {"capture_hosts": ["a1", "b2"]}, []),
    ],
)
def test_the_worst_that_can_be_opened_up_are(first, rows, changed, suspects):
    assert chosen(first, findings(**rows), **changed).suspects == suspects


@pytest.mark.parametrize(
    ("rows", "changed", "words"),
    [
        ({"a1": "not_measured", "b1": "not_measured"}, {}, "Not captured: a1, b1 (not measured)."),
        ({"b2": "stalling/receiver"}, {}, "b2 (no probe can reach it"),
        ({"a1": "stalling/sender"}, {}, "a1 (it stalls as a sender"),
        ({"a1": "suspect"}, {}, "a1 (nothing is held up on it)"),
        ({"a1": "stalling/receiver", "a2": "stalling/receiver"}, {"suspects_max": 1}, "a2 (stall_suspects_max is 1"),
        (dict.fromkeys(RACKS, "stalling/receiver"), {"suspects_max": 6}, "no clear host to compare with"),
    ],
)
def test_who_is_not_captured_is_said_with_the_reason(first, rows, changed, words):
    assert any(words in sentence for sentence in chosen(first, findings(**rows), **changed).said)


@pytest.mark.parametrize(
    ("rows", "control"),
    [
        ({"a1": "stalling/receiver"}, "a2"),
        ({"a1": "stalling/receiver", "a2": "suspect/unknown"}, "a3"),
        ({"a1": "stalling/receiver", "a2": "suspect/unknown", "a3": "not_measured"}, "b1"),
        ({"out": "stalling/receiver", **dict.fromkeys(("a1", "a2", "a3", "b1", "b2"), "suspect")}, None),
    ],
)
def test_the_control_is_a_clear_host_like_the_worst(first, rows, control):
    captured = chosen(first, findings(**rows)).captured
    assert [host for host, role in captured.items() if role == "control"] == ([control] if control else [])


def test_without_a_suspect_and_where_it_is_not_wanted_there_is_no_control(first):
    assert chosen(first, findings()).captured == {}
    assert chosen(first, findings(a1="stalling/receiver"), capture_control=False).captured == {"a1": "suspect"}


@pytest.fixture(scope="module")
def manifest(first):
    rows = findings(a1="stalling/receiver", a3="not_measured")
    made = capture_plan.manifest_of(chosen(first, rows), first, rows, {**PARAMETERS, "capture_s": 12.0, "threshold_ms": 77.0})
    made["run"] |= {"id": f"{RUN['id']}.capture", "starts_at": 200.0, "ends_at": 212.0, "versions": {}}
    return made


def test_the_flows_are_those_to_the_captured_hosts_from_hosts_that_measured(first, manifest):
    captured = set(manifest["run"]["captured"])
    assert captured == {"a1", "a2"}
    assert manifest["flows"] == [flow for flow in first["flows"] if flow["target"] in captured and flow["source"] != "a3"]
    assert set(manifest["hosts"]) == captured | {flow["source"] for flow in manifest["flows"]}
    assert max(manifest["budget"]["sent_pps"].values()) <= max(first["budget"]["sent_pps"].values())


def test_stalls_are_told_as_in_the_first_window(manifest):
    used = manifest["run"]["parameters"]
    assert used["window_s"] == used["capture_s"] == 12 and used["threshold_ms"] == PARAMETERS["threshold_ms"]


def test_every_plan_is_one_that_its_module_takes(manifest):
    observe = capture_plan.observe_plans(manifest)
    captures = capture_plan.capture_plans(manifest, {})
    assert set(observe) == set(manifest["hosts"]) and set(captures) == set(manifest["run"]["captured"])
    for plan in observe.values():
        assert observe_problems({**plan, "dispatched_at": 190.0}) == []
        assert plan["counters"] == (plan["host"] in captures)
    for plan in captures.values():
        assert capture_module.problems({**plan, "dispatched_at": 190.0}) == []
        assert {flow["source"] for flow in plan["flows"]} == {
            flow["source"] for flow in manifest["flows"] if flow["target"] == plan["host"]
        }
        assert plan["token"] == observe[plan["host"]]["token"]


def test_each_host_is_told_where_services_listen_that_may_be_its_own(manifest):
    """Which of these are, it sees itself, where nobody says."""
    services = [
        {"name": "web", "endpoints": ["10.1.0.1:80", "[fd00::1]:80", "10.1.0.1:80"]},
        {"name": "line", "endpoints": ["nonsense", "10.1.0.2:81"]},
        {"name": "old"},
        {"name": "here", "backend": "a1", "endpoints": ["10.1.0.3:82"]},
    ]
    named = {**manifest, "run": {**manifest["run"], "parameters": {**manifest["run"]["parameters"], "services": services}}}
    for host, plan in capture_plan.capture_plans(named, {}).items():
        own = [["10.1.0.3", 82]] if host == "a1" else []
        assert plan["endpoints"] == [["10.1.0.1", 80], ["fd00::1", 80], ["10.1.0.2", 81], *own]
        assert capture_module.problems({**plan, "dispatched_at": 190.0}) == []


def test_packets_are_recorded_on_both_ends_of_the_flows_to_suspects_and_by_nobody_unasked(first, manifest):
    assert manifest["run"]["taps"] == [] and not any(plan["packets"] for plan in capture_plan.capture_plans(manifest, {}).values())
    made = recorded(first)
    plans = capture_plan.capture_plans(made, {})
    arriving = [
        flow for flow in made["flows"] if flow["target"] == "a1" and flow["source"] != "a1" and flow["protocol"] in ("icmp", "tcp_syn")
    ]
    taps = {flow["source"] for flow in arriving} - {"a1", "a2"}
    assert taps and set(made["run"]["taps"]) == taps and set(plans) == {"a1", "a2"} | taps
    for name, plan in plans.items():
        assert capture_module.problems({**plan, "dispatched_at": 190.0}) == []
        assert plan["only_packets"] == (name in taps) and bool(plan["flows"]) == (name not in taps)
        assert [flow["id"] for flow in plan["packets"]] == [flow["id"] for flow in arriving if name in ("a1", flow["source"])]


def test_so_many_record_their_packets_and_no_more(first, monkeypatch):
    monkeypatch.setattr(capture_plan, "MOST_TAPS", 1)
    assert len(recorded(first)["run"]["taps"]) == 1


def recorded(first):
    rows = findings(a1="stalling/receiver")
    made = capture_plan.manifest_of(chosen(first, rows), first, rows, {**PARAMETERS, "capture_packets": True})
    made["run"] |= {"id": f"{RUN['id']}.capture", "starts_at": 200.0, "ends_at": 212.0, "versions": {}}
    return made


def test_a_source_is_known_by_the_address_it_sent_from_whatever_else_it_says(first, manifest):
    flow = next(flow for flow in manifest["flows"] if flow["target"] == "a1")
    said = {flow["source"]: {"flows": [{"id": flow["id"], "local_address": "192.0.2.200"}, {"id": 0, "local_address": "x; reboot"}]}}
    planned = {planned["id"]: planned for planned in capture_plan.capture_plans(manifest, said)["a1"]["flows"]}
    assert planned[flow["id"]]["source_address"] == "192.0.2.200"
    bad = {flow["source"]: {"flows": [{"id": flow["id"], "local_address": "x; reboot"}]}}
    assert {planned["source_address"] for planned in capture_plan.capture_plans(manifest, bad)["a1"]["flows"]} == {None}
