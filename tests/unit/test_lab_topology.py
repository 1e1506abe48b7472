"""The lab's plan of addresses, groups and inventory: what a test or a user of the lab counts on."""

from __future__ import annotations

import ipaddress
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import inventory, scenario, topology
from tests.lab.__main__ import NO_INTERPRETER, asked_for, parse

slots = st.integers(0, topology.SLOTS - 1)


def test_the_fleet_has_two_datacenters_of_two_racks_of_two_nodes_and_a_host_outside():
    lab = topology.fleet(0)
    assert [host.name for host in lab.hosts] == [
        "node-a1-1", "node-a1-2", "node-a2-1", "node-a2-2", "node-b1-1", "node-b1-2", "node-b2-1", "node-b2-2", "outside-1",
    ]  # fmt: skip
    assert lab.host("node-b1-2").groups == ("kube_nodes", "dc_b", "rack_b1")
    assert lab.host("outside-1").groups == ("outside",)
    assert {host.name for host in lab.nodes} == {host.name for host in lab.hosts} - {"outside-1"}


@given(slots, st.integers(1, 960))
def test_every_host_has_an_address_of_its_own_within_the_slot(slot, count):
    for lab in (topology.fleet(slot), topology.flat(slot, count)):
        addresses = [host.address for host in lab.hosts]
        assert len(set(addresses)) == len(addresses) == len({host.address6 for host in lab.hosts})
        assert all(ipaddress.ip_address(address) in lab.network for address in addresses)
        gateways = {topology.gateway(slot, subnet)[0] for subnet in lab.subnets}
        assert not gateways & set(addresses)


def test_no_two_slots_share_an_address():
    for one, other in combinations(range(topology.SLOTS), 2):
        assert not topology.slot_network(one).overlaps(topology.slot_network(other))


@pytest.mark.parametrize("count", [0, -1, 961])
def test_a_flat_lab_says_how_many_hosts_it_can_have(count):
    with pytest.raises(ValueError, match="1 to 960"):
        topology.flat(0, count)


def test_an_unknown_host_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="no host node-x in this lab; there are node-a1-1, "):
        topology.fleet(0).host("node-x")


def test_host_key_checking_stays_on_with_the_known_hosts_of_the_lab():
    variables = inventory.build(topology.fleet(0), Path("/lab"), {}, {})["all"]["vars"]
    assert "-o UserKnownHostsFile=/lab/known_hosts" in variables["ansible_ssh_common_args"]
    assert "-o StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]


def test_an_interpreter_is_set_for_the_hosts_that_were_named():
    hosts = inventory.build(topology.fleet(0), Path("/lab"), {"node-a1-1": "/opt/python3.6"}, {})["all"]["hosts"]
    assert hosts["node-a1-1"]["ansible_python_interpreter"] == "/opt/python3.6"
    assert hosts["node-a1-2"]["ansible_python_interpreter"] == inventory.DEFAULT_INTERPRETER


def test_the_dynamic_listing_holds_what_the_inventory_file_holds():
    listed = inventory.build(topology.fleet(0), Path("/lab"), {}, {"stall_window_s": 5})
    listing = inventory.listing(listed)
    assert listing["_meta"]["hostvars"] == listed["all"]["hosts"]
    assert listing["rack_a1"]["hosts"] == ["node-a1-1", "node-a1-2"]
    assert listing["all"]["vars"]["stall_window_s"] == 5


@pytest.mark.parametrize("name", scenario.names())
def test_every_scenario_says_what_the_findings_must_be_of_every_host(name):
    loaded = scenario.load(name)
    lab = topology.machines(0) if loaded.virtual else topology.fleet(0)
    expected = scenario.expected(loaded, lab)
    assert set(expected["hosts"]) == {host.name for host in lab.hosts}
    statuses = {status for row in expected["hosts"].values() for status in row["status"]}
    assert statuses <= {"stalling", "suspect", "clear", "not_measured"}
    assert loaded.description


def test_an_unknown_scenario_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="no scenario 'rx'; there are .*clean.*two_bad"):
        scenario.load("rx")


@pytest.mark.parametrize(
    ("options", "python", "pythons"),
    [
        ([], "", {}),
        (["--python", "/p"], "/p", {}),
        (["--python", "/p", "--python", "node-a1-1=/q"], "/p", {"node-a1-1": "/q"}),
        (["--no-python", "node-a1-1"], "", {"node-a1-1": NO_INTERPRETER}),
    ],
)
def test_interpreters_are_chosen_for_all_hosts_or_for_some(options, python, pythons):
    asked = asked_for(parse(["up", *options]))
    assert (asked["python"], asked["pythons"]) == (python, pythons)
