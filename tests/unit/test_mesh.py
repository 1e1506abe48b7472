"""Who probes whom, over what, how often: what the manifest promises to an operator."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import budget, domains, mesh, rendezvous
from tests.unit.simfleet import EPOCH_S, PARAMETERS, described, lab_hosts, many_hosts

RUN = {"id": "run-1", "started_at": "2027-01-15T08:00:00Z", "starts_at": EPOCH_S, "ends_at": EPOCH_S + 30, "versions": {}}


def build(hosts: dict | None = None, **changes) -> dict:
    return mesh.build(hosts if hosts is not None else lab_hosts(), {**PARAMETERS, **changes}, RUN)


def sources(manifest: dict) -> dict[str, set[str]]:
    found = defaultdict(set)
    for flow in manifest["flows"]:
        found[flow["target"]].add(flow["source"])
    return found


def test_each_target_has_three_sources_one_outside_one_near_one_far():
    manifest = build()
    hosts = manifest["hosts"]
    for target, chosen in sources(manifest).items():
        assert len(chosen) == 3 and target not in chosen
        if target != "outside-1":
            assert "outside-1" in chosen
            racks = [hosts[name]["domains"].get("rack") for name in chosen]
            assert hosts[target]["domains"]["rack"] in racks
            assert any(hosts[name]["domains"].get("datacenter") not in (None, hosts[target]["domains"]["datacenter"]) for name in chosen)


@pytest.mark.parametrize("count", [30, 600])
def test_never_a_full_mesh_and_no_source_carries_more_than_twice_its_share(count):
    manifest = build(many_hosts(count), services=[])
    pairs = {(flow["source"], flow["target"]) for flow in manifest["flows"]}
    assert len(pairs) == 3 * len(manifest["hosts"])
    degree = Counter(source for source, _ in pairs)
    for outside in (True, False):
        members = [name for name, host in manifest["hosts"].items() if host["outside"] == outside]
        share = sum(degree[name] for name in members) / len(members)
        assert max(degree[name] for name in members) <= 2 * share + 1


def test_a_new_host_moves_few_of_the_others():
    hosts = many_hosts(200)
    before = sources(build(hosts, services=[]))
    hosts["n9999"] = described("n9999", ["kube_nodes", "dc_0", "rack_0_0"], 999)
    after = sources(build(hosts, services=[]))
    moved = sum(len(before[target] - after[target]) for target in before)
    assert moved < 0.1 * sum(len(chosen) for chosen in before.values())


def without_domains(count: int) -> dict:
    hosts = {f"n{number:04}": described(f"n{number:04}", ["kube_nodes"], number) for number in range(count)}
    return hosts | {"outside-1": described("outside-1", ["outside"], count)}


@pytest.mark.parametrize("count", [rendezvous.RANKED_WHOLE - 1, 4 * rendezvous.RANKED_WHOLE])
def test_a_fleet_without_domains_is_spread_and_steady(count):
    """Whether everybody is ranked for each target, or those next to it on the ring."""
    hosts = without_domains(count)
    before = sources(build(hosts, services=[]))
    assert all(len(chosen) == 3 and target not in chosen for target, chosen in before.items())
    degree = Counter(source for chosen in before.values() for source in chosen if source != "outside-1")
    assert max(degree.values()) <= 2 * sum(degree.values()) / count + 1
    assert len(degree) > 0.8 * count
    hosts["n9999"] = described("n9999", ["kube_nodes"], 999)
    after = sources(build(hosts, services=[]))
    moved = sum(len(before[target] - after[target]) for target in before)
    assert moved < 0.1 * sum(len(chosen) for chosen in before.values())


def test_layers_protocols_and_ports_of_a_pair():
    manifest = build(budget_host_pps=100000, budget_target_pps=100000)
    pair = [flow for flow in manifest["flows"] if (flow["source"], flow["target"]) == ("outside-1", "node-b1-2")]
    kinds = Counter((flow["layer"], flow["protocol"], flow["service"]) for flow in pair)
    assert kinds == {
        ("outside", "icmp", None): 1,
        ("outside", "tcp_syn", None): 4,
        ("nodeport", "tcp_syn", "web"): 1,
        ("nodeport", "tcp_syn", "line"): 1,
        ("http", "http_new", "web"): 1,
        ("http", "http_kept", "web"): 1,
        ("http", "tcp_kept", "line"): 1,
    }
    by_kind = {(flow["layer"], flow["protocol"]): flow for flow in pair}
    assert by_kind["http", "http_new"]["interval_ms"] == 100
    assert by_kind["http", "http_kept"]["interval_ms"] == 20
    assert by_kind["nodeport", "tcp_syn"]["port"] in (30080, 30081)
    assert by_kind["http", "tcp_kept"]["request"] == "ping\n"
    inner = next(flow for flow in manifest["flows"] if flow["target"] == "node-b1-2" and flow["layer"] == "overlay")
    assert inner["address"] == manifest["hosts"]["node-b1-2"]["overlay_address"]
    assert {f"overlay:{inner['source']}", "overlay:node-b1-2"} <= set(inner["components"])


def test_components_name_what_is_on_the_way_to_the_pod():
    manifest = build()
    flow = next(f for f in manifest["flows"] if f["layer"] == "http" and f["target"] == "node-a2-1")
    assert {
        "source:outside-1", "host:outside-1", "host:node-a2-1", "path:dc_a", "path:rack_a2", "nat:node-a2-1",
        "overlay:node-a2-1", "overlay:node-b1-1", "host:node-b1-1", "path:dc_b", "path:rack_b1", "fleet:all",
    } < set(flow["components"])  # fmt: skip
    local = next(f for f in manifest["flows"] if f["layer"] == "http" and f["target"] == "node-b1-1")
    assert not any(component.startswith("overlay:") for component in local["components"])
    assert "app:web" in {c for f in manifest["flows"] for c in f["components"]}


def test_outside_hosts_are_targets_of_nodes_and_serve_no_node_port():
    flows = [flow for flow in build()["flows"] if flow["target"] == "outside-1"]
    assert {flow["layer"] for flow in flows} == {"node"}


def test_a_service_may_be_named_by_host_and_port():
    service = {
        "name": "db",
        "protocol": "tcp",
        "node_port": None,
        "target": "outside-1",
        "port": 3306,
        "request": "",
        "path": "/",
        "backend": None,
    }
    flows = [flow for flow in build(services=[service])["flows"] if flow["service"] == "db"]
    assert [(flow["target"], flow["port"], flow["layer"], flow["protocol"]) for flow in flows] == [("outside-1", 3306, "http", "tcp_kept")]
    assert not any(component.startswith("nat:") for component in flows[0]["components"])


def test_ipv6_only_between_hosts_that_have_it():
    hosts = lab_hosts()
    for number, name in enumerate(hosts):
        if name != "node-a1-1":
            hosts[name]["address6"] = f"fd00::{number + 1}"
    manifest = build(hosts, families=[4, 6])
    six = [flow for flow in manifest["flows"] if flow["family"] == 6]
    assert six and all(":" in flow["address"] for flow in six)
    assert not any("node-a1-1" in (flow["source"], flow["target"]) for flow in six)
    assert "node-a1-1" in sources(manifest)


@pytest.mark.parametrize(
    ("target", "others", "families", "expected"),
    [
        ("10.1.0.1", "10.1.0.2", [4], {4}),
        ("fd01::1", "fd01::2", [4, 6], {6}),
        ("fd01::1", "fd01::2", [4], set()),
        ("10.1.0.1", "10.1.0.2", [6], set()),
        ("fd01::1", "10.1.0.2", [4, 6], set()),
        ("10.1.0.1", "fd01::2", [4, 6], set()),
    ],
)
def test_the_overlay_is_probed_in_a_family_that_both_ends_have(target, others, families, expected):
    hosts = lab_hosts()
    for number, (name, known) in enumerate(hosts.items()):
        known["address6"] = f"fd00::{number + 1}"
        known["overlay_address"] = target if name == "node-a1-2" else others
    flows = build(hosts, families=families)["flows"]
    assert {flow["family"] for flow in flows if flow["layer"] == "overlay" and flow["target"] == "node-a1-2"} == expected


def test_source_ports_of_a_host_all_differ_and_stay_in_range():
    manifest = build(many_hosts(300), services=[])
    ports = defaultdict(list)
    for flow in manifest["flows"]:
        if flow["protocol"] == "tcp_syn":
            ports[flow["source"]].append(flow["source_port"])
        else:
            assert flow["source_port"] is None
    for used in ports.values():
        assert len(set(used)) == len(used)
        assert all(33000 <= port <= 60999 for port in used)


def test_host_outside_the_limit_neither_probes_nor_is_probed():
    manifest = build(lab_hosts(node_a1_1={"in_limit": False}))
    assert not any("node-a1-1" in (flow["source"], flow["target"]) for flow in manifest["flows"])
    assert manifest["hosts"]["node-a1-1"]["in_limit"] is False


@pytest.mark.parametrize(
    ("hosts", "changes", "said"),
    [
        ({}, {}, "no host to probe"),
        ({name: {**host, "target": False} for name, host in lab_hosts().items()}, {}, "no host matches stall_targets"),
        ({name: {**host, "source": False} for name, host in lab_hosts().items()}, {}, "no host matches stall_sources"),
        (
            {name: {**host, "in_limit": name == "node-a1-1"} for name, host in lab_hosts().items()},
            {},
            "node-a1-1 is the only source and the only target",
        ),
        (lab_hosts(), {"layers": ["overlay"], "protocols": []}, "no flow to probe"),
        (lab_hosts(), {"services": [{"name": "x", "protocol": "tcp", "node_port": 1, "backend": "nowhere"}]}, "'nowhere' of service 'x'"),
    ],
)
def test_what_cannot_be_probed_says_why(hosts, changes, said):
    with pytest.raises(ValueError, match=said):
        build(hosts, **changes)


def test_a_machine_alone_probes_itself_and_says_what_that_shows():
    manifest = build({"localhost": described("localhost", [], 1)}, services=[])
    assert {(flow["source"], flow["target"]) for flow in manifest["flows"]} == {("localhost", "localhost")}
    assert "localhost is the only host and probes itself" in manifest["warnings"][0]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "localhost", "LOCALHOST.", "x.localhost"]
)
def test_an_address_that_leads_back_to_whoever_probes_it_is_none(address):
    manifest = build(lab_hosts(node_a1_1={"address": address}, node_a1_2={"overlay_address": address}))
    ends = {end for flow in manifest["flows"] for end in (flow["source"], flow["target"])}
    assert ends == set(lab_hosts()) - {"node-a1-1"}
    assert not any(flow["layer"] == "overlay" and "node-a1-2" in (flow["source"], flow["target"]) for flow in manifest["flows"])
    assert manifest["hosts"]["node-a1-1"]["address"] is None and not manifest["hosts"]["node-a1-1"]["source"]
    said = " ".join(manifest["warnings"])
    assert (
        f"node-a1-1 has the address {address}, which leads every other host back to itself" in said and "Set stall_address for it." in said
    )
    assert "Set stall_overlay_address for it." in said


@pytest.mark.parametrize("changes", [{}, {"node_a1_1": {"address": "192.0.2.1"}}])
def test_a_fleet_behind_forwarded_ports_is_refused(changes):
    """As of Vagrant or a bastion: everything is 127.0.0.1, each at a port of its own. One real host among them has nobody to probe it."""
    hosts = {name: {**host, "address": "127.0.0.1", **changes.get(name.replace("-", "_"), {})} for name, host in lab_hosts().items()}
    with pytest.raises(ValueError, match=r"have the address 127\.0\.0\.1, .* Set stall_address for each of them\."):
        build(hosts)


@pytest.mark.parametrize(
    ("key", "addresses"),
    [
        ("address", ("192.0.2.9", "192.0.2.9")),
        ("address6", ("2001:db8::9", "2001:DB8:0::9")),
        ("overlay_address", ("10.1.0.9", "10.1.0.9")),
    ],
)
def test_an_address_that_two_hosts_have_in_common_is_said(key, addresses):
    manifest = build(lab_hosts(node_a1_1={key: addresses[0]}, node_b1_1={key: addresses[1]}))
    assert [warning for warning in manifest["warnings"] if "in common" in warning and f"Set stall_{key}" in warning]
    assert not any("in common" in warning for warning in build()["warnings"])


def test_target_that_no_other_host_can_probe_is_named():
    hosts = lab_hosts(**{name.replace("-", "_"): {"source": False} for name in lab_hosts() if name != "node-a1-1"})
    manifest = build(hosts)
    assert "node-a1-1" not in sources(manifest)
    assert any("No other host can probe node-a1-1" in warning for warning in manifest["warnings"])


def test_plan_of_a_host_holds_its_flows_and_a_token_common_to_the_run():
    manifest = build()
    plan = mesh.host_plan(manifest, "node-a1-1")
    assert {flow["source"] for flow in plan["flows"]} == {"node-a1-1"}
    assert "components" not in plan["flows"][0]
    other = mesh.host_plan(manifest, "outside-1")
    assert plan["token"] == other["token"] < 2**32
    assert plan["seed"] != other["seed"]
    assert sum(len(mesh.host_plan(manifest, name)["flows"]) for name in manifest["hosts"]) == len(manifest["flows"])
    with pytest.raises(ValueError, match="nobody is not a host of run run-1"):
        mesh.host_plan(manifest, "nobody")


@given(host_limit=st.integers(5, 6000), target_limit=st.integers(5, 6000))
def test_budget_is_kept_whatever_it_is(host_limit, target_limit):
    manifest = build(budget_host_pps=host_limit, budget_target_pps=target_limit)
    planned = manifest["budget"]
    assert max(planned["sent_pps"].values()) <= host_limit + 0.1
    assert max(planned["received_pps"].values()) <= target_limit + 0.1
    assert sources(manifest) == sources(build(budget_host_pps=10**6, budget_target_pps=10**6))


def test_reductions_come_in_order_and_are_said():
    flow = {"source": "a", "target": "b", "interval_ms": 10, "layer": "node", "nth": 0}
    flows = [{**flow, "nth": nth} for nth in range(4)] + [{**flow, "layer": "http"}]
    assert budget.enforce(flows, 1000, 1000) == (flows, [])
    fewer, said = budget.enforce(flows, 300, 1000)
    assert said == ["Source ports per target reduced from 4 to 2: the limit of probes sent by a is 300/s."]
    assert [flow["interval_ms"] for flow in fewer] == [10, 10, 10]
    slower, said = budget.enforce(flows, 130, 1000)
    assert [flow["interval_ms"] for flow in slower] == [10, 40]
    assert said[1].startswith("Intervals of service probes made 4 times as long")
    slowest, said = budget.enforce(flows, 1000, 60)
    assert [flow["interval_ms"] for flow in slowest] == [20, 320]
    assert said[2] == "All intervals made 2 times as long: the limit of probes received by b is 60/s."


def test_plan_without_reductions_has_no_sentence():
    assert build(budget_host_pps=10**6, budget_target_pps=10**6)["budget"]["reductions"] == []


def test_domains_by_pattern():
    patterns = {"datacenter": "dc_*", "rack": "rack_*"}
    assert domains.of_host(["rack_b", "dc_a", "kube", "rack_a"], patterns) == {"datacenter": "dc_a", "rack": "rack_a"}
    assert domains.crossed({"datacenter": "dc_a"}, {}) == ["dc_a"]
    assert domains.crossed({"rack": "r1"}, {"rack": "r1"}) == []
    two = build(lab_hosts(node_a1_1={"groups": ["kube_nodes", "dc_a", "rack_a1", "rack_z"]}))
    assert any("node-a1-1 is in several groups for rack (rack_a1, rack_z): rack_a1 is used" in warning for warning in two["warnings"])
