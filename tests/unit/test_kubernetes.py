"""What a cluster tells of the hosts of an inventory: which node is which, where the overlay answers, what is behind a NodePort."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import kubectl, kubernetes, kubernetes_objects, mesh
from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import Node
from tests.kubernetes_api import node, pod, service
from tests.unit.simfleet import PARAMETERS, lab_hosts
from tests.unit.test_mesh import RUN


def host(address: str, **more: object) -> dict:
    return {"address": address, "address6": None, "overlay_address": None, "groups": ["kube_nodes"], **more}


HOSTS = {
    "n1": host("192.0.2.1"),
    "n2.example.net": host("n2.example.net"),
    "n3": host("198.18.0.3", address6="2001:db8:0:0::3"),
    "out": host("192.0.2.9", groups=["outside"]),
}
NODES = [
    node("ip-1", ("InternalIP", "192.0.2.1"), ("Hostname", "ip-1")),
    node("n2", ("InternalIP", "10.0.0.2"), ("Hostname", "n2.example.net")),
    node("n3", ("InternalIP", "2001:db8::3")),
]


def layers(
    nodes=None, pods=(), services=(), hosts=None, members=("n1", "n2.example.net", "n3"), families=(4,), named=True
) -> kubernetes.Layers:
    return kubernetes.layers(
        read(kubernetes_objects.node, NODES if nodes is None else nodes),
        read(kubernetes_objects.pod, pods),
        read(kubernetes_objects.service, services),
        HOSTS if hosts is None else hosts,
        members,
        families,
        named,
    )


def read(reader, items) -> list:
    return [found for item in items if (found := reader(item)) is not None]


def nodes_of(found: kubernetes.Layers) -> set[str]:
    return {name for name, known in found.hosts.items() if known["node"]}


# --- Which host is which node ----------------------------------------------------------------------------------------------


def test_nodes_are_matched_by_address_and_by_name():
    found = layers()
    assert nodes_of(found) == {"n1", "n2.example.net", "n3"} and found.warnings == [found.warnings[0]]
    assert "runs no pod on n1, n2.example.net, n3" in found.warnings[0]


@pytest.mark.parametrize(
    ("described", "matched"),
    [
        (node("x", ("InternalIP", "192.0.2.1")), "n1"),
        (node("x", ("Hostname", "192.0.2.1")), "n1"),
        (node("N1"), "n1"),
        (node("x", ("InternalDNS", "n1")), "n1"),
        (node("n1.cluster.internal"), "n1"),
        (node("x", ("ExternalIP", "192.0.2.1")), "n1"),
        (node("x", ("InternalIP", "2001:db8:0::0:3")), "n3"),
        (node("n1", ("InternalIP", "198.18.0.3")), "n3"),
        (node("n2.other.net"), "n2.example.net"),
        (node("x", ("InternalIP", "192.0.2.77")), None),
        (node("x", ("InternalIP", "no address"), ("Hostname", "")), None),
    ],
)
def test_the_strongest_mark_decides(described, matched):
    assert nodes_of(layers([described])) == ({matched} if matched else set())


def test_what_matches_nothing_is_said_on_both_sides():
    found = layers([NODES[0], node("stray", ("InternalIP", "192.0.2.50"))])
    assert nodes_of(found) == {"n1"}
    assert any("no host of the inventory matches: stray." in warning for warning in found.warnings)
    assert any("no node of Kubernetes matches: n2.example.net, n3." in warning for warning in found.warnings)
    assert found.hosts["out"] == {"node": False}


def test_nothing_is_guessed_between_two():
    shared = {"a": host("192.0.2.1"), "b": host("192.0.2.1"), "c": host("192.0.2.3")}
    found = layers([NODES[0], node("c1", ("InternalIP", "192.0.2.3")), node("c")], hosts=shared, members=["c"])
    assert nodes_of(found) == set()
    assert any("match more than one" in warning and "ip-1 (a, b)" in warning and "c (c, c1)" in warning for warning in found.warnings)


# --- The overlay ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pods", "address"),
    [
        ([pod("a", "ip-1", "10.1.0.1")], "10.1.0.1"),
        ([pod("a", "ip-1", "192.0.2.1", host_network=True)], None),
        ([pod("a", "ip-1", "10.1.0.1", ready=False)], None),
        ([pod("a", "ip-1", "10.1.0.1", leaving=True)], None),
        ([pod("a", "ip-1", "10.1.0.1", owner="Job")], None),
        ([pod("a", "ip-1", "10.1.0.1", owner=None)], None),
        ([pod("a", "", "10.1.0.1")], None),
        ([pod("a", "ip-1")], None),
        ([pod("a", "ip-1", "fd00::1")], None),
        ([pod("a", "ip-1", "fd00::1", "10.1.0.1")], "10.1.0.1"),
        ([pod("a", "ip-1", "10.1.0.1", created="2026-02-01T00:00:00Z"), pod("b", "ip-1", "10.1.0.2")], "10.1.0.2"),
        ([pod("a", "ip-1", "10.1.0.1"), pod("b", "ip-1", "10.1.0.2", owner="DaemonSet", app="log")], "10.1.0.2"),
    ],
)
def test_the_overlay_is_probed_at_a_pod_that_stays(pods, address):
    assert layers([NODES[0]], pods).hosts["n1"].get("overlay_address") == address


def test_a_pod_behind_a_nodeport_comes_first():
    pods = [pod("a", "ip-1", "10.1.0.1", owner="DaemonSet", app="log"), pod("b", "ip-1", "10.1.0.2", owner=None)]
    assert layers([NODES[0]], pods, [service("web", ("TCP", 30080))]).hosts["n1"]["overlay_address"] == "10.1.0.2"


def test_the_family_is_the_one_that_is_probed():
    both = [pod("a", "ip-1", "10.1.0.1", "fd00::1")]
    assert layers([NODES[0]], both, families=[6]).hosts["n1"]["overlay_address"] == "fd00::1"
    assert layers([NODES[0]], both, families=[6, 4]).hosts["n1"]["overlay_address"] == "fd00::1"


def test_an_address_of_the_inventory_stands():
    found = layers([NODES[0]], [pod("a", "ip-1", "10.1.0.1")], hosts={"n1": host("192.0.2.1", overlay_address="10.9.9.9")}, members=["n1"])
    assert found.hosts["n1"] == {"node": True} and found.warnings == []


# --- NodePorts ---------------------------------------------------------------------------------------------------------------------

WEB = service("web", ("TCP", 30080))
ON_1 = pod("a", "ip-1", "10.1.0.1")
ON_2 = pod("b", "n2", "10.1.1.1")


@pytest.mark.parametrize(
    ("services", "pods", "expected"),
    [
        ([WEB], [ON_1], {"node_port": 30080, "backend": "n1", "local": False, "nodes": ["n1", "n2.example.net", "n3"], "families": []}),
        ([WEB], [ON_1, pod("c", "ip-1", "10.1.0.2")], {"backend": "n1"}),
        ([WEB], [ON_1, ON_2], {"backend": None, "local": False}),
        ([WEB], [ON_1, pod("b", "n2", "10.1.1.1", ready=False)], {"backend": "n1"}),
        ([WEB], [pod("a", "stray", "10.1.0.1")], {"backend": None}),
        (
            [service("web", ("TCP", 30080), externalTrafficPolicy="Local")],
            [ON_1, ON_2],
            {"backend": None, "local": True, "nodes": ["n1", "n2.example.net"]},
        ),
        ([service("web", ("TCP", 30080), kind="LoadBalancer")], [ON_1], {"backend": "n1"}),
        ([service("web", ("TCP", 30080), ipFamilies=["IPv6", "IPv4"])], [ON_1], {"backend": "n1", "families": [6, 4]}),
    ],
)
def test_a_nodeport_and_what_is_behind_it(services, pods, expected):
    [found] = layers(pods=pods, services=services).services
    assert {key: found[key] for key in expected} == expected
    assert (found["name"], found["protocol"]) == ("shop.web", "syn")


@pytest.mark.parametrize(
    ("services", "pods", "said"),
    [
        ([service("dns", ("UDP", 30053))], [ON_1], "1 of UDP"),
        ([service("web", ("TCP", 30080), app=None)], [ON_1], "1 without a selector"),
        ([WEB], [pod("a", "ip-1", "10.1.0.1", ready=False)], "1 without a Ready pod"),
        ([WEB], [pod("a", "ip-1", "10.1.0.1", namespace="other")], "1 without a Ready pod"),
        ([WEB], [pod("a", "ip-1", "192.0.2.1", host_network=True)], "1 with pods in the host's network"),
        ([service("web", ("TCP", 30080), ipFamilies=["IPv6"])], [ON_1], "1 without IPv4"),
        ([service("web", ("TCP", None), kind="ClusterIP", clusterIP="None")], [ON_1], None),
        ([service("web", ("TCP", 30080), kind="ExternalName")], [ON_1], None),
    ],
)
def test_nodeports_that_cannot_be_probed_are_left_out_and_counted(services, pods, said):
    found = layers(pods=pods, services=services)
    assert found.services == []
    assert [warning for warning in found.warnings if "left out" in warning] == (
        [f"NodePorts of Kubernetes left out: {said}."] if said else []
    )


def test_few_are_chosen_those_of_known_place_first():
    services = [service(f"s{number}", ("TCP", 30000 + number), app=f"s{number}") for number in range(4)]
    pods = [pod(f"p{number}", "ip-1", f"10.1.0.{number + 1}", app=f"s{number}") for number in range(4)]
    pods.append(pod("q0", "n2", "10.1.1.1", app="s0"))
    found = layers(pods=pods, services=services)
    assert [one["name"] for one in found.services] == ["shop.s1", "shop.s2"]
    assert "2 NodePorts of Kubernetes are probed, 2 more not: name those that matter in stall_services." in found.warnings
    assert sorted(found.places) == [30001, 30002, 30003]


def test_names_are_told_apart_and_kept_short():
    found = layers(pods=[ON_1], services=[service("web", ("TCP", 30080), ("TCP", 30081))])
    assert [one["name"] for one in found.services] == ["shop.web.30080", "shop.web.30081"]
    long = ["a" * 63 + "x", "a" * 63 + "y"]
    pods = [pod(name[-1], "ip-1", "10.1.0.1", namespace=name) for name in long]
    names = {one["name"] for one in layers(pods=pods, services=[service("s", ("TCP", 30080), namespace=name) for name in long]).services}
    assert len(names) == 2 and all(len(name) <= 63 for name in names)


# --- What the mesh makes of it --------------------------------------------------------------------------------------------------


def test_the_inventory_stands_and_learns_where_its_pods_run():
    mine = {"name": "shop", "protocol": "http", "node_port": 30080, "target": None, "port": None, "backend": None, "endpoints": []}
    found = layers(pods=[ON_1, pod("d", "n2", "10.1.1.9", app="db")], services=[WEB, service("db", ("TCP", 30306), app="db")])
    _hosts, services = kubernetes.merge(found, HOSTS, [mine])
    assert [(one["name"], one["backend"]) for one in services] == [("shop", "n1")]
    _hosts, services = kubernetes.merge(found, HOSTS, [{**mine, "backend": "n3"}])
    assert services[0]["backend"] == "n3"
    _hosts, services = kubernetes.merge(found, HOSTS, [{**mine, "node_port": None, "target": "n3", "port": 5432}])
    assert [one["name"] for one in services] == ["shop", "shop.db", "shop.web"]


@pytest.mark.parametrize(
    ("target", "ends"),
    [
        ((8080,), ["10.1.0.1:8080", "10.1.0.2:8080", "[fd00::2]:8080"]),
        (("http",), ["10.1.0.1:8081", "10.1.0.2:8082", "[fd00::2]:8082"]),
        (("metrics",), ["10.1.0.2:9090", "[fd00::2]:9090"]),
        (("no such name",), []),
        ((0,), ["10.1.0.1:80", "10.1.0.2:80", "[fd00::2]:80"]),
        ((), ["10.1.0.1:80", "10.1.0.2:80", "[fd00::2]:80"]),
        (({},), ["10.1.0.1:80", "10.1.0.2:80", "[fd00::2]:80"]),
    ],
)
def test_where_the_pods_of_a_nodeport_listen(target, ends):
    """By number, or by the name that each pod has for it."""
    pods = [
        pod("a", "ip-1", "10.1.0.1", ports={"http": 8081}),
        pod("b", "ip-1", "10.1.0.2", "fd00::2", ports={"http": 8082, "metrics": 9090, "odd": "x"}),
    ]
    found = layers(pods=pods, services=[service("web", ("TCP", 30080, *target))])
    assert found.endpoints == {30080: ends} and found.services[0]["endpoints"] == ends
    mine = {"name": "shop", "node_port": 30080, "backend": "n1", "endpoints": []}
    given = {**mine, "name": "given", "endpoints": ["10.1.0.9:1"]}
    _hosts, services = kubernetes.merge(found, HOSTS, [mine, given])
    assert [one["endpoints"] for one in services] == [ends, ["10.1.0.9:1"]]


def test_the_mesh_gets_its_layers_from_the_cluster():
    bare = lab_hosts()
    for name in bare:
        bare[name]["overlay_address"] = None
    nodes = [node(name, ("InternalIP", known["address"])) for name, known in bare.items() if name != "outside-1"]
    pods = [pod(f"p-{name}", name, f"10.244.{number}.1", app="x" if number else "web") for number, name in enumerate(bare)][:-1]
    found = layers(nodes, pods, [WEB], bare, [name for name in bare if name != "outside-1"])
    hosts, services = kubernetes.merge(found, bare, [])
    manifest = mesh.build(hosts, {**PARAMETERS, "services": services}, RUN)
    flows = manifest["flows"]
    assert found.warnings == []
    assert {flow["target"] for flow in flows if flow["layer"] == "overlay"} == set(bare) - {"outside-1"}
    through = next(flow for flow in flows if flow["layer"] == "nodeport" and flow["target"] == "node-b2-1")
    assert {"nat:node-b2-1", "overlay:node-b2-1", "overlay:node-a1-1", "host:node-a1-1"} <= set(through["components"])
    assert not any(flow["layer"] == "http" for flow in flows)


OF_ANOTHER = host("198.18.0.4", address6="2001:db8::4")


@pytest.mark.parametrize(
    ("nodes", "named", "expected", "said"),
    [
        (None, True, {"n1": True, "n3": True, "other": None, "out": False}, "whether other serves NodePorts"),
        (None, False, {"n1": True, "n3": True, "other": False, "out": False}, None),
        ([], True, {"n1": None, "n3": None, "other": None, "out": None}, "whether n1, n2.example.net, n3, other serve NodePorts"),
        ([], False, {"n1": None, "n3": None, "other": None, "out": None}, "whether n1, n2.example.net, n3, other serve NodePorts"),
    ],
)
def test_of_a_host_that_the_cluster_does_not_show_the_inventory_decides(nodes, named, expected, said):
    hosts = {**HOSTS, "other": OF_ANOTHER}
    found = layers(nodes, [ON_1], [WEB], hosts, [name for name in hosts if name != "out"], named=named)
    assert {name: found.hosts[name]["node"] for name in expected} == expected
    told = [warning for warning in found.warnings if "Kubernetes does not tell" in warning]
    assert len(told) == bool(said) and all(said in warning for warning in told)


def through(flows: list[dict], layer: str, target: str) -> list[dict]:
    return [flow for flow in flows if (flow["layer"], flow["target"]) == (layer, target)]


MINE = {"name": "mine", "protocol": "tcp", "node_port": 30080, "target": None, "port": None, "backend": None, "endpoints": []}


def planned(found: kubernetes.Layers, hosts: dict, services: list[dict], **changes) -> list[dict]:
    hosts, services = kubernetes.merge(found, hosts, services)
    described = {name: {"slug": name, **known} for name, known in hosts.items()}
    return mesh.build(described, {**PARAMETERS, **changes, "services": services}, RUN)["flows"]


@pytest.mark.parametrize("local", [False, True])
def test_a_node_of_another_cluster_serves_the_nodeport_of_the_inventory_and_pods_of_its_own(local):
    hosts = {**HOSTS, "other": OF_ANOTHER}
    web = service("web", ("TCP", 30080), **({"externalTrafficPolicy": "Local"} if local else {}))
    found = layers(pods=[ON_1], services=[web], hosts=hosts, members=[name for name in hosts if name != "out"])
    flows = planned(found, hosts, [MINE])
    assert through(flows, "nodeport", "n1") and bool(through(flows, "nodeport", "n3")) is not local
    for flow in (*through(flows, "nodeport", "other"), *through(flows, "http", "other")):
        assert "backend:mine" in flow["components"] and "overlay:n1" not in flow["components"]
    assert through(flows, "nodeport", "other") and through(flows, "http", "other")
    discovered = planned(found, hosts, [])
    assert through(discovered, "nodeport", "n1") and not through(discovered, "nodeport", "other")


def test_who_may_list_services_alone_has_the_nodeports_of_the_inventory_probed():
    flows = planned(layers([], [], [WEB]), HOSTS, [MINE])
    assert {flow["target"] for flow in flows if flow["layer"] == "nodeport"} == {"n1", "n2.example.net", "n3"}


@pytest.mark.parametrize(
    ("has", "probed", "expected"),
    [
        (["IPv6"], [4, 6], {6}),
        (["IPv4"], [6, 4], {4}),
        (["IPv6", "IPv4"], [4, 6], {4}),
        (["IPv4", "IPv6"], [6, 4], {6}),
        (["IPv6"], [4], set()),
        ([], [6, 4], {6}),
    ],
)
@pytest.mark.parametrize("services", [[], [MINE], [{**MINE, "backend": "n1"}]])
def test_a_nodeport_is_probed_in_a_family_that_its_service_has(services, has, probed, expected):
    hosts = {name: {**known, "address6": f"fd00::{number}"} for number, (name, known) in enumerate(HOSTS.items(), 1)}
    found = layers(pods=[ON_1], services=[service("web", ("TCP", 30080), ipFamilies=has)], hosts=hosts, families=probed)
    flows = [flow for flow in planned(found, hosts, services, families=probed) if flow["layer"] in ("nodeport", "http")]
    assert {flow["family"] for flow in flows} == expected
    assert all((":" in flow["address"]) == (flow["family"] == 6) for flow in flows)


# --- Data from outside ----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metadata", "name", "spec", "status", "ports"]), inner),
    max_leaves=12,
)
FIELDS = ["metadata", "spec", "status"]


@given(st.sampled_from(["node", "pod", "service"]), st.lists(st.tuples(st.sampled_from(FIELDS), st.integers(0, 9), JSON), max_size=3), JSON)
def test_objects_of_another_shape_are_left_out(kind, changes, whole):
    valid = {"node": NODES[0], "pod": ON_1, "service": WEB}[kind]
    reader = getattr(kubernetes_objects, kind)
    reader(whole)
    for part, index, value in changes:
        known = sorted(valid[part]) or ["podCIDR"]
        broken = {**valid, part: {**valid[part], known[index % len(known)]: value}}
        found = reader(broken)
        layers([broken] if kind == "node" else None, [broken] if kind == "pod" else [ON_1], [broken] if kind == "service" else [WEB])
        assert found is None or isinstance(found.name, str)


def test_nodes_are_known_by_their_pods_where_they_may_not_be_listed():
    pods = read(kubernetes_objects.pod, [pod("a", "ip-1", "10.1.0.1", host_ip="192.0.2.1"), pod("b", "", "10.1.0.2", host_ip="192.0.2.2")])
    assert kubernetes_objects.nodes_of(pods) == [Node("ip-1", (("InternalIP", "192.0.2.1"),))]


def test_without_kubectl_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(kubectl.KubectlError, match=r"kubectl is not on the controller. Remedy: install it .*stall_overlay_address"):
        kubectl.discover("", "")


def program(directory: Path, text: str) -> None:
    path = directory / "kubectl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_kubectl_that_hangs_is_ended_with_its_helpers(monkeypatch, tmp_path):
    program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/helper; wait")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(kubectl.KubectlError, match="no answer in time"):
        kubectl.discover("", "", total_s=0.5)
    status = Path("/proc", (tmp_path / "helper").read_text().strip(), "stat")
    deadline = time.monotonic() + 10
    while status.exists() and "Z" not in status.read_text().split()[2]:
        # It is killed by then; how soon it is gone is up to the machine
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_more_than_a_page_can_hold_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(kubectl, "PAGE_BYTES", 1 << 20)
    program(tmp_path, "head -c 3000000 /dev/zero; sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(kubectl.KubectlError, match="larger than 1 MiB"):
        kubectl.discover("", "")
