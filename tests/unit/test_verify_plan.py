"""Whom to probe again: the same probes and no others, and who can't take part any more is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.plan import problems
from ansible_collections.fleet.stall.plugins.plugin_utils import mesh, parameters, verify_plan

RACKS = {"a1": "rack_a", "a2": "rack_a", "a3": "rack_a", "b1": "rack_b", "b2": "rack_b", "out": "outside"}
PARAMETERS = parameters.validate({})[0]
RUN = {"id": "20261123T042300Z-1a2b", "started_at": "2026-11-23T04:23:00+00:00", "starts_at": 100.0, "ends_at": 130.0, "versions": {}}


@pytest.fixture(scope="module")
def first():
    hosts = {
        name: {"slug": name, "groups": [rack], "address": f"192.0.2.{number}", "target": name != "b2"}
        for number, (name, rack) in enumerate(RACKS.items(), 1)
    }
    return mesh.build(hosts, {**PARAMETERS, "window_s": 12.0}, RUN)


@pytest.fixture
def inventory(first):
    return {name: {**host, "in_limit": True} for name, host in first["hosts"].items()}


def findings(**statuses):
    """Rows in the order given: name="status/side"; the rest is clear."""
    rows = []
    for name in (*statuses, *(name for name in RACKS if name not in statuses)):
        status, _, side = statuses.get(name, "clear").partition("/")
        rows.append({"host": name, "status": status, "blame": {"side": side or None}})
    return {"hosts": rows}


@pytest.mark.parametrize(
    ("rows", "asked", "hosts"),
    [
        ({}, [], []),
        ({"a2": "stalling/receiver", "a1": "stalling/receiver", "a3": "suspect/unknown"}, [], ["a2", "a1"]),
        ({"a2": "stalling/receiver"}, ["b1", "a1", "b1"], ["b1", "a1"]),
    ],
)
def test_those_that_stalled_or_those_asked_for(first, inventory, rows, asked, hosts):
    assert verify_plan.choose(findings(**rows), first, inventory, asked, True).hosts == hosts


@pytest.mark.parametrize(
    ("host", "change", "words"),
    [
        ("nobody", {}, "not part of that run"),
        ("b2", {}, "nobody probed it"),
        ("a1", {"a1": None}, "no host of stall_hosts"),
        ("a1", {"a1": {"address": "192.0.2.77"}}, "its address was 192.0.2.1 in that run and is 192.0.2.77 now"),
        ("a1", {"a1": {"overlay_address": "10.0.0.1"}}, "its overlay_address was none"),
        ("a1", dict.fromkeys(["a2", "a3", "b1", "b2", "out"]), "all that probed it are gone"),
    ],
)
def test_who_cannot_be_verified_is_named_with_the_reason(first, inventory, host, change, words):
    for name, what in change.items():
        inventory[name] = {**inventory[name], **(what or {})}
        if what is None:
            del inventory[name]
    choice = verify_plan.choose(findings(), first, inventory, [host], True)
    assert choice.hosts == [] and words in choice.left_out[host]


def test_sources_that_are_gone_are_named_and_send_nothing(first, inventory):
    inventory["out"]["in_limit"] = False
    for within, gone in ((True, {"out": "outside --limit"}), (False, {})):
        choice = verify_plan.choose(findings(), first, inventory, ["a1"], within)
        made = verify_plan.manifest_of(choice, first, findings(), PARAMETERS)
        assert choice.hosts == ["a1"] and choice.gone == gone
        assert ("out" in made["hosts"]) == (not gone)
        assert any("out: outside --limit" in warning for warning in made["warnings"]) == bool(gone)


def test_the_probes_are_the_same_and_no_others(first, inventory):
    rows = findings(a1="stalling/receiver")
    made = verify_plan.manifest_of(verify_plan.choose(rows, first, inventory, [], True), first, rows, {**PARAMETERS, "threshold_ms": 99})
    assert made["flows"] == [flow for flow in first["flows"] if flow["target"] == "a1"]
    assert set(made["hosts"]) == {"a1", *(flow["source"] for flow in made["flows"])}
    assert [name for name, host in made["hosts"].items() if host["target"]] == ["a1"]
    assert (made["run"]["verifies"], made["run"]["verified"]) == (RUN["id"], ["a1"])
    assert (made["run"]["parameters"]["window_s"], made["run"]["parameters"]["threshold_ms"]) == (12.0, 10.0)
    made["run"] |= {"id": "20261123T050000Z-1a2b", "starts_at": 200.0, "ends_at": 212.0}
    plans = verify_plan.observe_plans(made)
    assert {name for name, plan in plans.items() if plan["counters"]} == {"a1"}
    for plan in plans.values():
        assert not problems({**plan, "dispatched_at": 199.0})
    sent = sorted(flow["id"] for plan in plans.values() for flow in plan["flows"])
    assert sent == sorted(flow["id"] for flow in made["flows"])


def test_of_a_sender_the_probes_that_leave_it_are_sent_as_well(first, inventory):
    rows = findings(a1="stalling/sender")
    made = verify_plan.manifest_of(verify_plan.choose(rows, first, inventory, [], True), first, rows, PARAMETERS)
    assert made["flows"] == [flow for flow in first["flows"] if "a1" in (flow["source"], flow["target"])]


names = st.lists(st.sampled_from([f"h{n}" for n in range(30)]), unique=True)


@given(names, names)
def test_everybody_is_started_by_exactly_one(participants, acting):
    found = verify_plan.shares(participants, acting)
    assert sorted(name for share in found.values() for name in share) == sorted(participants)
    assert set(found) == set(acting or participants)
    assert all(name in found[name] for name in participants if name in found)
    foreign = [len([name for name in share if name != actor]) for actor, share in found.items()]
    assert max(foreign, default=0) <= len(participants) // max(1, len(found)) + 1
