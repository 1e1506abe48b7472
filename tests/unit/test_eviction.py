"""Which pods keep a node from being drained, which budget holds them, and which node a host is."""

import importlib.machinery
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import cluster, eviction
from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_nodes import NodeError, node_of


def pod(name="p", owner="ReplicaSet", **more):
    metadata = {"namespace": more.pop("namespace", "shop"), "name": name, "labels": more.pop("labels", {"app": "web"})}
    metadata |= {key: more.pop(key) for key in ("annotations", "deletionTimestamp") if key in more}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner}]
    return {"metadata": metadata, "spec": {"volumes": more.pop("volumes", [])}, "status": {"phase": more.pop("phase", "Running")}}


SCRATCH = [{"name": "s", "emptyDir": {}}]
MIRROR = {"kubernetes.io/config.mirror": "abc"}


@pytest.mark.parametrize(
    ("found", "where"),
    [
        (pod(), "evictable"),
        (pod(phase="Pending"), "evictable"),
        (pod(owner="StatefulSet", volumes=[{"configMap": {"name": "c"}}]), "evictable"),
        (pod(owner=None), "refused"),
        (pod(volumes=SCRATCH), "refused"),
        (pod(owner="DaemonSet"), "staying"),
        (pod(owner="DaemonSet", volumes=SCRATCH, deletionTimestamp="2026-01-01T00:00:00Z"), "staying"),
        (pod(owner="Node", annotations=MIRROR), "staying"),
        (pod(volumes=SCRATCH, deletionTimestamp="2026-01-01T00:00:00Z"), "leaving"),
        (pod(owner=None, phase="Succeeded", volumes=SCRATCH), "ended"),
        (pod(phase="Failed"), "ended"),
    ],
)
def test_pods_are_sorted_as_the_module_sorts_them(found, where):
    pods = eviction.sort([found])
    assert list(getattr(pods, where)) == ["shop/p"]
    assert sum(len(getattr(pods, name)) for name in ("evictable", "leaving", "refused", "ended", "staying")) == 1
    assert pods.gone == (where in ("staying", "ended"))


def test_what_may_be_lost_is_allowed_apart():
    both = [pod("local", volumes=SCRATCH), pod("bare", owner=None)]
    assert eviction.sort(both, local_data=True).evictable == ["shop/local"]
    assert eviction.sort(both, unmanaged=True).evictable == ["shop/bare"]
    assert eviction.sort(both, local_data=True, unmanaged=True).refused == {}
    assert "stall_drain_local_data" in eviction.refusal(eviction.sort(both)) and "stall_drain_unmanaged" in eviction.refusal(
        eviction.sort(both)
    )


def budget(selector, allowed=0, namespace="shop", **status):
    status = {"disruptionsAllowed": allowed, "desiredHealthy": 2, "expectedPods": 2, "currentHealthy": 2, **status}
    return {"metadata": {"name": "b", "namespace": namespace}, "spec": {"selector": selector}, "status": status}


def expression(operator, key="app", *values):
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


@pytest.mark.parametrize(
    ("selector", "covers"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchLabels": {"app": "web", "tier": "x"}}, False),
        ({}, True),
        (None, False),
        (expression("In", "app", "db", "web"), True),
        (expression("In", "tier", "web"), False),
        (expression("NotIn", "app", "web"), False),
        (expression("NotIn", "tier", "web"), True),
        (expression("Exists"), True),
        (expression("Exists", "tier"), False),
        (expression("DoesNotExist", "tier"), True),
        (expression("Unheard"), False),
    ],
)
def test_the_budget_that_holds_a_pod_is_named(selector, covers):
    said = eviction.left(eviction.sort([pod()]), [budget(selector)])
    assert (
        said
        == f"shop/p ({'disruption budget b allows none to go: it needs 2 healthy of 2, and has 2' if covers else 'is not evicted yet'})"
    )


@pytest.mark.parametrize("other", [budget({}, allowed=1), budget({}, namespace="elsewhere")])
def test_a_budget_that_does_not_hold_it_is_not_named(other):
    assert eviction.left(eviction.sort([pod()]), [other]) == "shop/p (is not evicted yet)"


def test_a_long_list_is_cut():
    said = eviction.left(eviction.sort([pod(f"p{number}") for number in range(40)]), [])
    assert said.count("is not evicted yet") == 5 and said.endswith("; and 35 more")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["metadata", "spec", "status", "ownerReferences", "volumes"]), inner),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3), st.lists(JSON, max_size=3))
def test_objects_of_any_shape_are_sorted_and_told(pods, budgets):
    found = eviction.sort(pods)
    eviction.refusal(found)
    assert eviction.left(found, budgets).isprintable()


# --- Which node a host is --------------------------------------------------------------------------------------------------------


def node(name, address):
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


NODES = [node("kube-1", "198.51.100.1"), node("db", "198.51.100.2")]


def host(address):
    return {"address": address, "address6": None}


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        ({"a": host("198.51.100.1"), "b": host("198.51.100.9")}, "kube-1"),
        ({"a": host("a.invalid"), "kube-1": host("198.51.100.9")}, None),
        ({"a": host("kube-1"), "b": host("198.51.100.2")}, "kube-1"),
        # What is only like this host is another's by its address
        ({"a": host("kube-1"), "b": host("198.51.100.1")}, None),
        ({"a": host("198.51.100.1"), "b": host("198.51.100.1")}, None),
    ],
)
def test_a_node_is_told_by_all_hosts_of_the_inventory(hosts, found):
    if found:
        assert node_of(NODES, hosts, "a") == found
    else:
        with pytest.raises(NodeError, match="none of the 2 nodes .* set stall_node_name"):
            node_of(NODES, hosts, "a")


# --- The collection that it takes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("6.2.0", None),
        ("5.1.0", None),
        ("5.0.0", "needs a newer kubernetes.core than 5.0.0. Remedy: install it on the controller: ansible-galaxy .* --force"),
        # A checkout has no manifest
        (None, None),
    ],
)
def test_an_old_collection_is_refused_with_the_remedy(version, words, tmp_path, monkeypatch):
    if version:
        (tmp_path / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": version}}))
    spec = importlib.machinery.ModuleSpec("ansible_collections.kubernetes.core", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    if words is None:
        cluster.require()
    else:
        with pytest.raises(cluster.ClusterError, match=words):
            cluster.require()


def said(result):
    """What a module's result comes to."""
    with pytest.raises(cluster.ClusterError) as failure:
        cluster.Cluster(lambda *_call: {"failed": True, **result}, "", "").node("n1")
    return str(failure.value), failure.value.passing


@pytest.mark.parametrize(
    ("result", "words", "passing"),
    [
        ({"rc": 124, "msg": "MODULE FAILURE"}, "the API server did not answer within 60 s", True),
        (
            {"msg": "Failed to import the required Python library (kubernetes) on h's Python /usr/bin/python3."},
            "install the Python package",
            False,
        ),
        ({"msg": "Failed to retrieve node 'n1' due to: Unauthorized", "status": 401}, "log in to the cluster again", False),
        ({"msg": 'Failed: {"message":"nodes is forbidden: User \\"u\\"","code":403}'}, 'nodes is forbidden: User "u". Remedy: give', False),
        ({"msg": "HTTPConnectionPool(host='x', port=6443): Max retries exceeded (Connection refused)"}, "Connection refused", True),
        ({"msg": "Cannot evict pod as it would violate the pod's disruption budget."}, "Cannot evict", True),
        ({}, "no reason given", True),
    ],
)
def test_a_failure_is_told_with_its_remedy_and_whether_it_may_pass(result, words, passing):
    sentence, passes = said(result)
    assert words in sentence and passes == passing


def test_no_answer_is_no_empty_list():
    empty = cluster.Cluster(lambda *_call: {"resources": [], "api_found": False, "msg": "Failed to find API"}, "", "")
    with pytest.raises(cluster.ClusterError, match="does not tell of Pods: Failed to find API") as failure:
        empty.pods("n1")
    assert failure.value.passing
