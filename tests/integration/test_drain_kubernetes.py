"""Draining nodes of Kubernetes: the modules of kubernetes.core against an API server that evicts and refuses as the real one does."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import cluster as clusters
from ansible_collections.fleet.stall.plugins.plugin_utils import node_drain
from ansible_collections.fleet.stall.plugins.plugin_utils.cluster import ClusterError
from ansible_collections.fleet.stall.plugins.plugin_utils.node_drain import DrainError, Limits
from tests import kubernetes_core
from tests.kubernetes_api import kubeconfig
from tests.kubernetes_cluster import Cluster, serving

pytestmark = pytest.mark.skipif(
    not kubernetes_core.AVAILABLE, reason="there is no kubernetes.core: python tests/bootstrap/galaxy.py fetches it to test the drain"
)
LIMITS = Limits(timeout_s=20, retry_s=0.1)
SHORT = Limits(timeout_s=1, retry_s=0.1)


@pytest.fixture
def api(monkeypatch, tmp_path):
    # The client keeps what it learns of a server in a directory for temporary files
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(Cluster()) as running:
        running.add_node("n1", "198.51.100.1")
        running.add_node("n2", "198.51.100.2")
        yield running


@pytest.fixture
def reached(api, tmp_path):
    config = kubeconfig(tmp_path / "config", api.url, token="t1")
    return clusters.Cluster(kubernetes_core.execute, str(config), "")


def web(api: Cluster, on_n1: int, on_n2: int, **more: object) -> None:
    for number in range(on_n1 + on_n2):
        api.add_pod(f"web-{number}", "n1" if number < on_n1 else "n2", **more)


def cordon(reached: clusters.Cluster) -> node_drain.Node:
    node = node_drain.read(reached, "n1")
    node_drain.cordon(reached, node, "by the test")
    return node


def test_a_node_is_drained_checked_and_given_back(api, reached):
    web(api, 3, 1)
    api.add_pod("agent", "n1", app="agent", owner="DaemonSet", empty_dir=True)
    api.add_pod("static", "n1", app="static", owner=None, mirror=True)
    api.add_pod("ended", "n1", app="job", owner="Job", phase="Succeeded")
    assert cordon(reached).ours
    assert api.cordoned("n1") and api.marked("n1")
    assert node_drain.drain(reached, "n1", LIMITS) == ["shop/web-0", "shop/web-1", "shop/web-2"]
    assert api.on("n1") == {"agent", "static"}
    assert not api.evicted_again and not {"shop/agent", "shop/static"} & set(api.evicted)
    assert node_drain.check(reached, "n1", LIMITS).cordoned
    assert node_drain.release(reached, node_drain.read(reached, "n1"))
    assert not api.cordoned("n1") and not api.marked("n1")
    assert node_drain.drain(reached, "n1", LIMITS) == []


def test_a_budget_is_waited_for_and_nothing_evicted_twice(api, reached):
    web(api, 3, 0, grace_s=0.3, start_s=0.5)
    api.add_budget("web", 2)
    cordon(reached)
    least = Lowest(api)
    with least:
        assert len(node_drain.drain(reached, "n1", LIMITS)) == 3
    assert ("POST", "/api/v1/namespaces/shop/pods/web-1/eviction", 429) in api.asked
    assert sorted(api.evicted) == ["shop/web-0", "shop/web-1", "shop/web-2"] and not api.evicted_again
    assert least.healthy >= 2


class Lowest:
    """How few healthy pods there were while the block ran."""

    def __init__(self, api: Cluster) -> None:
        self._api, self._over, self.healthy = api, threading.Event(), 1 << 30

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.healthy = min(self.healthy, self._api.budget_status("web")["currentHealthy"])


@pytest.mark.parametrize("observed", [True, False], ids=["allows none to go", "still processed: Retry-After"])
def test_a_budget_that_never_allows_it_ends_in_time_and_is_named(api, reached, observed):
    web(api, 2, 0)
    api.add_budget("web-pdb", 2, observed=observed)
    api.nodes["n2"]["spec"]["unschedulable"] = True
    cordon(reached)
    begun = time.monotonic()
    with pytest.raises(DrainError) as failure:
        node_drain.drain(reached, "n1", SHORT)
    assert time.monotonic() - begun < 5
    said = str(failure.value)
    assert "node n1 is not drained after 1 s" in said and "shop/web-0" in said and "Cannot evict pod as it would violate" in said
    if observed:
        assert "disruption budget web-pdb allows none to go: it needs 2 healthy of 2, and has 2" in said
    assert api.on("n1") == {"web-0", "web-1"} and not api.evicted


@pytest.mark.parametrize(
    ("pod", "words", "permitted"),
    [
        ({"empty_dir": True}, r"shop/odd \(its local data \(emptyDir\) would be lost", {"local_data": True}),
        ({"owner": None}, r"shop/odd \(no controller would start it again", {"unmanaged": True}),
    ],
    ids=["emptyDir", "unmanaged"],
)
def test_a_pod_that_may_not_go_is_named_before_anything_is_evicted(api, reached, pod, words, permitted):
    web(api, 1, 0)
    api.add_pod("odd", "n1", **pod)
    cordon(reached)
    with pytest.raises(DrainError, match=words):
        node_drain.drain(reached, "n1", SHORT)
    assert not api.evicted
    assert node_drain.drain(reached, "n1", Limits(20, 0.1, **permitted)) == ["shop/odd", "shop/web-0"]


def test_two_budgets_on_a_pod_are_an_error_that_is_told(api, reached):
    web(api, 1, 2)
    api.add_budget("one", 1)
    api.add_budget("two", 1)
    cordon(reached)
    with pytest.raises(DrainError, match="more than one PodDisruptionBudget"):
        node_drain.drain(reached, "n1", SHORT)
    assert not api.evicted


def test_pods_that_are_leaving_are_waited_for_and_not_evicted_again(api, reached):
    web(api, 2, 0, grace_s=1.0)
    cordon(reached)
    with api.lock:
        api.evict("shop/web-0")
    assert node_drain.drain(reached, "n1", LIMITS) == ["shop/web-0", "shop/web-1"]
    assert sorted(api.evicted) == ["shop/web-0", "shop/web-1"] and not api.evicted_again


def test_a_pod_that_never_ends_is_named(api, reached):
    web(api, 1, 0, grace_s=3600)
    cordon(reached)
    with pytest.raises(DrainError, match=r"shop/web-0 \(is terminating since 20"):
        node_drain.drain(reached, "n1", SHORT)
    assert api.evicted == ["shop/web-0"]


def test_an_api_server_that_goes_away_is_waited_for(api, reached):
    web(api, 2, 0, grace_s=0.5)
    cordon(reached)
    api.goes_away(1.5, in_s=0.2)
    assert node_drain.drain(reached, "n1", LIMITS) == ["shop/web-0", "shop/web-1"]
    assert not api.evicted_again and api.on("n1") == set()


def test_an_api_server_that_stays_away_is_no_empty_node(api, reached):
    web(api, 1, 0)
    cordon(reached)
    api.goes_away(60)
    with pytest.raises(DrainError, match="node n1 is not drained after 1 s: "):
        node_drain.drain(reached, "n1", SHORT)
    with pytest.raises(ClusterError):
        node_drain.check(reached, "n1", SHORT)
    assert not api.evicted


def test_a_token_that_expires_ends_the_drain_with_the_remedy(api, reached):
    web(api, 2, 0, grace_s=0.5)
    cordon(reached)
    api.token_expires_after = 2
    with pytest.raises(ClusterError, match="Unauthorized.*log in to the cluster again"):
        node_drain.drain(reached, "n1", LIMITS)
    assert api.cordoned("n1") and api.marked("n1"), "whoever comes next knows that it is ours"


def test_what_is_forbidden_is_told_with_the_remedy(api, reached):
    web(api, 1, 0)
    api.forbidden = {"POST eviction"}
    cordon(reached)
    with pytest.raises(ClusterError, match="forbidden.*README of the role drain"):
        node_drain.drain(reached, "n1", LIMITS)


def test_a_node_that_somebody_else_cordoned_stays_so(api, reached):
    api.nodes["n1"]["spec"]["unschedulable"] = True
    node = node_drain.read(reached, "n1")
    assert not node.ours and not node_drain.cordon(reached, node, "by the test")
    assert not node_drain.release(reached, node_drain.read(reached, "n1"))
    assert api.cordoned("n1") and not api.marked("n1")


def test_a_node_that_we_cordoned_is_known_to_who_comes_after(api, reached):
    assert cordon(reached).ours
    again = node_drain.read(reached, "n1")
    assert again.ours and again.cordoned and not node_drain.cordon(reached, again, "by the next")
    assert node_drain.release(reached, again) and not node_drain.release(reached, node_drain.read(reached, "n1"))


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        (lambda api: api.nodes["n1"]["spec"].pop("unschedulable"), "is not cordoned any more"),
        (lambda api: api.add_pod("late", "n1", app="late"), r"is not empty: shop/late \(is not evicted yet\)"),
        (lambda api: api.add_pod("late", "n1", owner=None), "is not empty: shop/late .no controller would start it again"),
    ],
    ids=["uncordoned", "a pod came back", "a pod that may not go"],
)
def test_what_changed_since_the_drain_is_seen_before_the_reboot(api, reached, happened, words):
    cordon(reached)
    node_drain.drain(reached, "n1", LIMITS)
    node_drain.check(reached, "n1", LIMITS)
    happened(api)
    with pytest.raises(DrainError, match=words):
        node_drain.check(reached, "n1", LIMITS)


def test_ready_is_believed_of_the_new_boot_alone(api, reached):
    with pytest.raises(DrainError, match="tells of boot b0, not of b1, after 0.3 s"):
        node_drain.wait_ready(reached, "n1", "b1", Limits(0.3, 0.1))
    api.nodes["n1"]["status"]["nodeInfo"]["bootID"] = "b1"
    node_drain.wait_ready(reached, "n1", "b1", Limits(0.3, 0.1))
    api.nodes["n1"]["status"]["conditions"][0]["status"] = "Unknown"
    with pytest.raises(DrainError, match="node n1 is not Ready"):
        node_drain.wait_ready(reached, "n1", "b1", Limits(0.3, 0.1))


def test_a_node_that_is_not_there_is_an_error(reached):
    with pytest.raises(ClusterError, match="there is no node nope in the cluster. Remedy: set stall_node_name"):
        node_drain.read(reached, "nope")
