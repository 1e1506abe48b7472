"""Layers from Kubernetes: the kubectl of this machine against an API server of the test's own, and a diagnosis that rests on it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import kubectl
from tests.integration import run
from tests.kubernetes_api import Api, kubeconfig, node, pod, service, serving
from tests.lab import services, topology

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="there is no kubectl: install it (Debian: kubernetes-client) to test the discovery"
)


@pytest.fixture
def api(monkeypatch, tmp_path):
    # kubectl keeps what it learns of a server in its home
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with serving(Api()) as running:
        yield running


def discover(api: Api, tmp_path: Path, **options) -> kubectl.Cluster:
    return kubectl.discover(str(kubeconfig(tmp_path / "config", api.url)), "", **options)


def cluster(api: Api, nodes: int, pods: int) -> None:
    api.nodes = [node(f"n{number}", ("InternalIP", f"198.51.100.{number + 1}")) for number in range(nodes)]
    api.pods = [pod(f"p{number}", f"n{number % nodes}", f"10.1.{number // 250}.{number % 250 + 1}") for number in range(pods)]
    api.services = [service("web", ("TCP", 30080)), service("inner", ("TCP", None), kind="ClusterIP")]


def test_lists_come_in_pages_and_whole(api, tmp_path):
    cluster(api, 7, 25)
    api.page = 10
    found = discover(api, tmp_path)
    assert [one.name for one in found.nodes] == [f"n{number}" for number in range(7)]
    assert [one.name for one in found.pods] == [f"p{number}" for number in range(25)]
    assert [(one.name, one.ports[0].node_port) for one in found.services] == [("web", 30080)]
    assert found.warnings == []
    asked = [target for target in api.asked if "/pods" in target]
    assert len(asked) == 3 and all("limit=500" in target and "status.phase" in target for target in asked)


def test_only_lists_are_asked_for(api, tmp_path):
    cluster(api, 2, 2)
    discover(api, tmp_path)
    assert {target.partition("?")[0] for target in api.asked} - {"/version"} == {"/api/v1/nodes", "/api/v1/pods", "/api/v1/services"}


def test_what_is_forbidden_narrows_what_is_known(api, tmp_path):
    cluster(api, 2, 4)
    for number, one in enumerate(api.pods):
        one["status"]["hostIP"] = f"198.51.100.{number % 2 + 1}"
    api.forbidden = {"nodes"}
    found = discover(api, tmp_path)
    assert [(one.name, one.of("InternalIP")) for one in found.nodes] == [("n0", ["198.51.100.1"]), ("n1", ["198.51.100.2"])]
    [warning] = found.warnings
    assert "Kubernetes does not show its nodes" in warning and "right to list nodes, pods and services" in warning
    api.forbidden = {"nodes", "pods", "services"}
    with pytest.raises(kubectl.KubectlError, match="forbidden.*right to list nodes"):
        discover(api, tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"unauthorized": True}, "log in to the cluster again"),
        ({"body": b"<html>not an API</html>"}, "gives no JSON .* look which server the kubeconfig names"),
        ({"body": b"[1, 2]"}, "gives no list"),
        ({"delay_s": 6.0}, "(in time|[Tt]imeout|deadline).*API server is slow"),
    ],
)
def test_a_server_that_does_not_answer_properly_is_said_with_a_remedy(api, tmp_path, behaviour, words):
    cluster(api, 1, 1)
    for name, value in behaviour.items():
        setattr(api, name, value)
    begun = time.monotonic()
    with pytest.raises(kubectl.KubectlError, match=words):
        discover(api, tmp_path, request_s=1.0)
    assert time.monotonic() - begun < 5.5


def test_many_slow_pages_end_in_time(api, tmp_path):
    cluster(api, 40, 1)
    api.page, api.delay_s = 1, 0.2
    with pytest.raises(kubectl.KubectlError, match="API server is slow"):
        discover(api, tmp_path, total_s=2.0)
    assert len(api.asked) < 40


@pytest.mark.parametrize(
    ("config", "context", "words"),
    [
        ("absent", "", "set stall_kubeconfig"),
        ("config", "elsewhere", "set stall_kube_context"),
        ("down", "", "API server can be reached"),
    ],
)
def test_a_wrong_way_to_the_cluster_is_said_with_a_remedy(api, tmp_path, config, context, words):
    kubeconfig(tmp_path / "config", api.url)
    kubeconfig(tmp_path / "down", "http://127.0.0.1:1")
    with pytest.raises(kubectl.KubectlError, match=words):
        kubectl.discover(str(tmp_path / config), context)


# --- Through the playbook ------------------------------------------------------------------------------------------------------


def bare(lab, path: Path) -> Path:
    """The lab's inventory without what it says of the overlay and of services."""
    inventory = yaml.safe_load(lab.inventory.read_text())
    inventory["all"]["vars"]["stall_services"] = []
    for variables in inventory["all"]["hosts"].values():
        variables.pop("stall_overlay_address", None)
    path.write_text(json.dumps(inventory))
    return path


def of_the_lab(api: Api, lab) -> None:
    """What Kubernetes would say of the lab: a pod on each node, at its end of the overlay, and the service behind the NodePorts."""
    hosts = yaml.safe_load(lab.inventory.read_text())["all"]["hosts"]
    nodes = {name: known for name, known in hosts.items() if "stall_overlay_address" in known}
    api.nodes = [node(f"kube-{name}", ("InternalIP", known["ansible_host"]), ("Hostname", name)) for name, known in nodes.items()]
    api.pods = [
        pod(
            f"p-{name}",
            f"kube-{name}",
            known["stall_overlay_address"],
            app="web" if name == topology.POD_NODE else "log",
            owner="DaemonSet",
        )
        for name, known in nodes.items()
    ]
    api.services = [service("web", ("TCP", next(iter(services.NODE_PORTS))))]


@pytest.mark.lab
@pytest.mark.parametrize(
    ("scenario", "host", "layer"),
    [("nat_only", "node-a2-1", "nodeport"), ("overlay_only", "node-a1-1", "overlay")],
)
@pytest.mark.slow
def test_a_fault_of_a_layer_is_found_though_only_kubernetes_knows_of_it(api, labs, tmp_path, scenario, host, layer):
    lab = labs.get(scenario)
    of_the_lab(api, lab)
    config = kubeconfig(tmp_path / "config", api.url)
    known = {"kubernetes": True, "kubeconfig": str(config)}
    done = run.diagnose(bare(lab, tmp_path / "inventory.yml"), tmp_path / "runs", window_s=12, capture=False, **known)
    assert done.rc == 0, done.screen
    worst = done.findings["hosts"][0]
    assert (worst["host"], worst["status"], worst["blame"]["layer"]) == (host, "stalling", layer), done.screen
    assert all(row["status"] == "clear" for row in done.findings["hosts"][1:]), done.screen
    ways = {entry["way"]: entry for entry in worst["blame"]["directions"]}
    assert ways[layer]["seen"] >= 0.8 * ways[layer]["stalls"] > 0
    assert ways["nodes_to_host"]["seen"] == 0 < ways["nodes_to_host"]["stalls"]
    assert "answers on time" in ways["nodes_to_host"]["sentence"]
    assert not any(flow["layer"] == "http" for flow in done.manifest["flows"])


@pytest.mark.lab
def test_a_cluster_that_does_not_answer_costs_its_layers_and_nothing_else(api, labs, tmp_path):
    lab = labs.get("nat_only")
    api.forbidden = {"nodes", "pods", "services"}
    config = kubeconfig(tmp_path / "config", api.url)
    checked = run.diagnose(bare(lab, tmp_path / "inventory.yml"), tmp_path / "runs", "--check", kubernetes=True, kubeconfig=str(config))
    assert checked.rc == 0, checked.screen
    assert "Kubernetes could not be asked: kubectl: " in checked.screen and "right to list nodes" in checked.screen
    assert "(node, outside)" in checked.screen or "(node)" in checked.screen
