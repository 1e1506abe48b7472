"""The inventory as the mesh needs it: what matches nothing is an error, what can't be reached by its address keeps its row."""

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.fleet.stall.plugins.plugin_utils import fleet, parameters

GROUPS = {
    "all": ["a1", "a2", "b1", "out"],
    "ungrouped": [],
    "rack_a": ["a1", "a2"],
    "rack_b": ["b1"],
    "outside": ["out"],
}


def patterns(groups=None):
    return fleet.Patterns(groups or GROUPS, DataLoader())


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("all", {"a1", "a2", "b1", "out"}),
        ("rack_a:rack_b", {"a1", "a2", "b1"}),
        ("rack_*:!a1", {"a2", "b1"}),
        ("all:&outside", {"out"}),
        ("~a[0-9]", {"a1", "a2"}),
    ],
)
def test_patterns_are_those_of_ansible(pattern, hosts):
    assert patterns().select("stall_targets", pattern) == (hosts, [])


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("rack_c", ["stall_targets is 'rack_c'", "Did you mean rack_b?"]),
        ("xyz", ["no host or group of the inventory matches xyz", "Groups there are: outside, rack_a, rack_b."]),
        ("rack_a:!rakc_b", ["matches !rakc_b", "Did you mean rack_b?"]),
        ("rack_a:!rack_a", ["leaves no host"]),
        ("~(", ["stall_targets is '~('"]),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern, words):
    selected, errors = patterns().select("stall_targets", pattern)
    assert not selected and all(word in errors[0] for word in words), errors


def checked(raw, groups=None):
    values, errors = parameters.validate(raw)
    assert errors == []
    return fleet.check_names(values, patterns(groups))


def test_sources_and_targets_are_those_within_the_hosts():
    selected, errors = checked({"stall_hosts": "rack_a:outside", "stall_targets": "rack_a:rack_b"})
    assert errors == [] and selected["targets"] == {"a1", "a2"} and selected["sources"] == {"a1", "a2", "out"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"stall_hosts": "rack_a", "stall_targets": "outside"}, "none of its hosts is in stall_hosts 'rack_a'"),
        ({"stall_capture_hosts": ["a3x"]}, "stall_capture_hosts names 'a3x'"),
        ({"stall_capture_hosts": ["b1"], "stall_hosts": "rack_a"}, "no host of stall_hosts is called so"),
        ({"stall_outside_group": "outsiders"}, "stall_outside_group is 'outsiders'"),
        ({"stall_services": [{"name": "s", "target": "zz", "port": 80}]}, "'s' has target 'zz'"),
        ({"stall_services": [{"name": "s", "node_port": 80, "backend": "zz"}]}, "'s' has backend 'zz'"),
    ],
)
def test_a_name_that_the_inventory_does_not_have_is_refused(raw, words):
    _selected, errors = checked(raw)
    assert len(errors) == 1 and words in errors[0]


def test_a_fleet_without_the_default_groups_is_no_mistake():
    assert checked({}, {"all": ["x", "y"], "ungrouped": ["x", "y"]})[1] == []


def test_an_empty_inventory_says_so():
    assert "the inventory has no hosts" in checked({}, {"all": [], "ungrouped": []})[1][0]


def described(variables, groups=None, in_limit=("a1",)):
    known = patterns(groups)
    selected, errors = fleet.check_names(parameters.validate({})[0], known)
    assert errors == []
    return fleet.hosts(selected, known, set(in_limit), lambda host, name: variables.get(host, {}).get(name))


def test_a_host_is_described_by_its_variables():
    hosts, warnings = described(
        {"a1": {"ansible_host": "192.0.2.1", "ansible_port": "2222"}, "a2": {"stall_address": "192.0.2.2", "ansible_host": "x"}}
    )
    assert warnings == []
    assert hosts["a1"] == {
        "address": "192.0.2.1",
        "address6": None,
        "overlay_address": None,
        "tcp_port": 2222,
        "slug": "a1",
        "groups": ["rack_a"],
        "in_limit": True,
        "source": True,
        "target": True,
    }
    assert hosts["a2"]["address"] == "192.0.2.2" and hosts["a2"]["in_limit"] is False and hosts["b1"]["address"] == "b1"


@pytest.mark.parametrize("address", ["../../x", "{{ 7*7 }}", "$(reboot)", "a b", "-oProxyCommand=x", "a\x1b[31m", "", "x" * 300])
def test_a_host_whose_address_cannot_be_used_keeps_its_row_and_is_not_probed(address):
    hosts, warnings = described({"a1": {"stall_address": address or " "}})
    assert hosts["a1"]["address"] is None and not hosts["a1"]["source"] and not hosts["a1"]["target"]
    assert len(warnings) == 1 and "a1 has address" in warnings[0] and "set stall_address" in warnings[0] and warnings[0].isprintable()


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::1", "fe80::1%eth0", "node-1.example.com", "node_1"])
def test_addresses_and_names_are_usable(address):
    hosts, warnings = described({"a1": {"stall_address": address}})
    assert hosts["a1"]["address"] == address and warnings == []


def test_a_variable_that_looks_like_ours_is_pointed_out():
    assert fleet.unknown_variables(["stall_windw_s", "stall_window_s", "stall_address", "stall_plan", "other"]) == [
        "stall_windw_s is not a variable of fleet.stall and has no effect. Did you mean stall_window_s?"
    ]
