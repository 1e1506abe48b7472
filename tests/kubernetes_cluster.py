"""A cluster for drains: an API server on the loopback that has nodes, pods, evictions and disruption budgets, and behaves as the real one.

Pods that are evicted terminate in their time, what owns them starts another elsewhere, and budgets count who is healthy meanwhile. Any
client can be pointed at it; the tests use the modules of kubernetes.core. Objects have the shape of the API reference (core/v1, policy/v1).
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, dict[str, Any], dict[str, str]]

_CORE = [
    ("nodes", "Node", False, ["get", "list", "patch", "update"]),
    ("pods", "Pod", True, ["delete", "get", "list", "patch"]),
    ("pods/eviction", "Eviction", True, ["create"]),
]
_POLICY = [("poddisruptionbudgets", "PodDisruptionBudget", True, ["get", "list"])]


_NODE_INFO = ("architecture", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion", "machineID") + (
    "operatingSystem",
    "osImage",
    "systemUUID",
)


class Away(Exception):
    """The connection is cut without an answer."""


@dataclass
class Cluster:
    """What there is, and how the server behaves. `asked`: (method, path, status) of what it was asked, in order."""

    nodes: dict[str, dict] = field(default_factory=dict)
    pods: dict[tuple[str, str], dict] = field(default_factory=dict)
    budgets: list[dict] = field(default_factory=list)
    # The number of requests after which no token is good any more
    token_expires_after: int | None = None
    away_s: tuple[float, float] = (0.0, 0.0)
    silent: bool = False
    forbidden: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    # "namespace/name" of pods whose eviction was granted; of those, which were on their way out already
    evicted: list[str] = field(default_factory=list)
    evicted_again: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _uid: Iterator[int] = field(default_factory=itertools.count)

    # --- What a test sets up and looks at ---------------------------------------------------------------------------------------

    def add_node(self, name: str, address: str, **status: Any) -> None:
        """`status`: boot_id, ready (true)."""
        self.nodes[name] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "resourceVersion": "1", "annotations": {}, "labels": {"kubernetes.io/hostname": name}},
            "spec": {},
            "status": {
                "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
                "conditions": [{"type": "Ready", "status": str(status.get("ready", True))}],
                "nodeInfo": dict.fromkeys(_NODE_INFO, "v") | {"bootID": status.get("boot_id", "b0")},
            },
        }

    def add_pod(self, name: str, on: str, *, app: str = "web", owner: str | None = "ReplicaSet", grace_s: float = 0.2, **more: Any) -> dict:
        """`more`: namespace, empty_dir, mirror, phase, start_s (until a pod that replaces it is ready), labels, ready."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": more.get("namespace", "shop"),
            "uid": f"u{next(self._uid)}",
            "resourceVersion": "1",
            "labels": {"app": app, **more.get("labels", {})},
        }
        if owner:
            metadata["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": owner, "name": app, "uid": f"o-{app}", "controller": True}]
        if owner == "DaemonSet":
            metadata["labels"] |= {"pod-template-generation": "1", "controller-revision-hash": "abc"}
        if more.get("mirror"):
            metadata["annotations"] = {"kubernetes.io/config.mirror": "abc"}
        found = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"nodeName": on, "containers": [{"name": "c", "image": "registry.invalid/c"}]},
            "status": {"phase": more.get("phase", "Running")},
            "_": {"grace_s": grace_s, "start_s": more.get("start_s", 0.2), "ready_at": 0.0 if more.get("ready", True) else float("inf")},
        }
        if more.get("empty_dir"):
            found["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
        with self.lock:
            self.pods[metadata["namespace"], name] = found
        return found

    def add_budget(self, name: str, min_available: int, *, app: str = "web", namespace: str = "shop", observed: bool = True) -> None:
        self.budgets.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": name, "namespace": namespace, "generation": 1},
                "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": app}}},
                "_": {"observed": observed},
            }
        )

    def cordoned(self, node: str) -> bool:
        return self.nodes[node]["spec"].get("unschedulable") is True

    def marked(self, node: str) -> bool:
        return any(key.startswith("fleet.stall/") for key in self.nodes[node]["metadata"].get("annotations") or {})

    def on(self, node: str) -> set[str]:
        """Names of the pods there."""
        with self.lock:
            self._settle()
            return {name for (_namespace, name), pod in self.pods.items() if pod["spec"].get("nodeName") == node}

    def evict(self, pod: str) -> None:
        """As somebody else would do it; `pod` is "namespace/name"."""
        namespace, _slash, name = pod.partition("/")
        self._terminate(self.pods[namespace, name])

    def budget_status(self, name: str) -> dict[str, int]:
        with self.lock:
            self._settle()
            return self._status(next(budget for budget in self.budgets if budget["metadata"]["name"] == name))

    def goes_away(self, for_s: float, in_s: float = 0.0) -> None:
        self.away_s = (time.monotonic() + in_s, time.monotonic() + in_s + for_s)

    # --- The server -------------------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: Any, token: str | None) -> Answer:
        """Raises Away."""
        parts = urlsplit(target)
        while self.silent:
            time.sleep(0.05)
        if self.away_s[0] <= time.monotonic() < self.away_s[1]:
            raise Away
        with self.lock:
            self._settle()
            given = self._dispatch(method, unquote(parts.path), parse_qs(parts.query), body, token)
            self.asked.append((method, parts.path, given[0]))
            return given

    def _dispatch(self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str | None) -> Answer:
        if self.token_expires_after is not None:
            self.token_expires_after -= 1
        if token is None or (self.token_expires_after is not None and self.token_expires_after < 0):
            return refusal(401, "Unauthorized", "Unauthorized")
        if (found := _discovery(path)) is not None:
            return 200, found, {}
        for pattern, allowed, handler in (
            (r"/api/v1/nodes(?:/([^/]+))?", ("GET", "PATCH"), self._nodes),
            (r"/api/v1/pods", ("GET",), self._list_pods),
            (r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/eviction", ("POST",), self._evict),
            (r"/api/v1/namespaces/([^/]+)/pods/([^/]+)", ("GET",), self._pod),
            (r"/apis/policy/v1/poddisruptionbudgets", ("GET",), self._list_budgets),
        ):
            if (match := re.fullmatch(pattern, path)) and method in allowed:
                kind = path.split("/")[-1] if path.endswith(("eviction", "pods", "budgets")) else "pods" if "/pods/" in path else "nodes"
                if f"{method} {kind}" in self.forbidden:
                    said = f'{kind} is forbidden: User "drain" cannot do this to resource "{kind}" in API group "" at the cluster scope'
                    return refusal(403, "Forbidden", said)
                return handler(method, query, body, *match.groups())
        return refusal(404, "NotFound", "the server could not find the requested resource")

    def _nodes(self, method: str, _query: dict, body: Any, name: str | None) -> Answer:
        if name is None:
            return 200, _listed("NodeList", "v1", self.nodes.values()), {}
        if name not in self.nodes:
            return refusal(404, "NotFound", f'nodes "{name}" not found')
        if method == "PATCH":
            _merge(self.nodes[name], body)
        return 200, self.nodes[name], {}

    def _list_pods(self, _method: str, query: dict, _body: Any) -> Answer:
        found = [pod for pod in self.pods.values() if _selected(pod, query)]
        return 200, _listed("PodList", "v1", found), {}

    def _pod(self, _method: str, _query: dict, _body: Any, namespace: str, name: str) -> Answer:
        if (namespace, name) not in self.pods:
            return refusal(404, "NotFound", f'pods "{name}" not found')
        return 200, _shown(self.pods[namespace, name]), {}

    def _list_budgets(self, _method: str, _query: dict, _body: Any) -> Answer:
        found = [{**budget, "status": self._status(budget)} for budget in self.budgets]
        return 200, _listed("PodDisruptionBudgetList", "policy/v1", found), {}

    def _evict(self, _method: str, _query: dict, body: Any, namespace: str, name: str) -> Answer:
        """As pkg/registry/core/pod/storage/eviction.go does it."""
        pod = self.pods.get((namespace, name))
        if not isinstance(body, dict) or body.get("metadata", {}).get("name") != name:
            return refusal(400, "BadRequest", "name in URL does not match name in Eviction object")
        if pod is None:
            return refusal(404, "NotFound", f'pods "{name}" not found')
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]:
            covering = [budget for budget in self.budgets if _covers(budget, pod)]
            if len(covering) > 1:
                said = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                return refusal(500, "InternalError", said)
            for budget in covering:
                if not budget["_"]["observed"]:
                    return too_many(f"The disruption budget {budget['metadata']['name']} is still being processed by the server.", 10)
                state = self._status(budget)
                if state["disruptionsAllowed"] <= 0:
                    needs = f"needs {state['desiredHealthy']} healthy pods and has {state['currentHealthy']} currently"
                    return too_many(f"The disruption budget {budget['metadata']['name']} {needs}", 0)
        self._terminate(pod)
        return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, {}

    def _terminate(self, pod: dict) -> None:
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self.evicted.append(name)
        if "deletionTimestamp" in pod["metadata"]:
            self.evicted_again.append(name)
            return
        pod["metadata"]["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        pod["_"]["gone_at"] = time.monotonic() + pod["_"]["grace_s"]
        if any(owner["kind"] == "ReplicaSet" for owner in pod["metadata"].get("ownerReferences", [])):
            self._replace(pod)

    def _replace(self, pod: dict) -> None:
        """What a ReplicaSet and the scheduler do, where there is a node that takes pods."""
        free = [name for name in self.nodes if not self.cordoned(name) and name != pod["spec"]["nodeName"]]
        fresh = self.add_pod(
            f"{pod['metadata']['name']}-{next(self._uid)}", free[0] if free else "", app=pod["metadata"]["labels"]["app"], **pod["_"]
        )
        fresh["_"]["ready_at"] = time.monotonic() + pod["_"]["start_s"] if free else float("inf")
        fresh["metadata"]["namespace"] = pod["metadata"]["namespace"]

    def _settle(self) -> None:
        now = time.monotonic()
        for key, pod in list(self.pods.items()):
            if pod["_"].get("gone_at", float("inf")) <= now:
                del self.pods[key]

    def _status(self, budget: dict) -> dict[str, int]:
        covered = [pod for pod in self.pods.values() if _covers(budget, pod)]
        now = time.monotonic()
        healthy = sum("deletionTimestamp" not in pod["metadata"] and pod["_"]["ready_at"] <= now for pod in covered)
        needed = budget["spec"]["minAvailable"]
        return {
            "expectedPods": sum("deletionTimestamp" not in pod["metadata"] for pod in covered),
            "currentHealthy": healthy,
            "desiredHealthy": needed,
            "disruptionsAllowed": max(0, healthy - needed),
            "observedGeneration": 1,
        }


def refusal(code: int, reason: str, message: str, **details: Any) -> Answer:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return code, {**status, **({"details": details} if details else {})}, {}


def too_many(cause: str, retry_after_s: int) -> Answer:
    said = "Cannot evict pod as it would violate the pod's disruption budget."
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    code, body, _headers = refusal(
        429, "TooManyRequests", said, **details, **({"retryAfterSeconds": retry_after_s} if retry_after_s else {})
    )
    return code, body, {"Retry-After": str(retry_after_s)} if retry_after_s else {}


def _discovery(path: str) -> dict[str, Any] | None:
    def resources(group_version: str, rows: list) -> dict[str, Any]:
        listed = [
            {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs}
            for name, kind, namespaced, verbs in rows
        ]
        return {"kind": "APIResourceList", "groupVersion": group_version, "resources": listed}

    version = {"groupVersion": "policy/v1", "version": "v1"}
    return {
        "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.4"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [{"name": "policy", "versions": [version], "preferredVersion": version}],
        },
        "/api/v1": resources("v1", _CORE),
        "/apis/policy/v1": resources("policy/v1", _POLICY),
    }.get(path.rstrip("/") or path)


def _listed(kind: str, version: str, items: Any) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "42"}, "items": [_shown(item) for item in items]}


def _shown(item: dict) -> dict:
    return {key: value for key, value in item.items() if key != "_"}


def _covers(budget: dict, pod: dict) -> bool:
    wanted = budget["spec"]["selector"]["matchLabels"].items()
    return budget["metadata"]["namespace"] == pod["metadata"]["namespace"] and wanted <= pod["metadata"]["labels"].items()


def _selected(pod: dict, query: dict[str, list[str]]) -> bool:
    for term in ",".join(query.get("fieldSelector", [])).split(","):
        if term and pod["spec"].get("nodeName") != term.removeprefix("spec.nodeName="):
            return False
    labels = pod["metadata"]["labels"]
    for term in filter(None, ",".join(query.get("labelSelector", [])).split(",")):
        if term.startswith("!") and term[1:] in labels:
            return False
    return True


def _merge(into: dict, patch: dict) -> None:
    """A merge patch, which a strategic one is for what has no lists."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


@contextmanager
def serving(cluster: Cluster) -> Iterator[Cluster]:
    """The API on a free port of the loopback, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                code, content, headers = cluster.answer(self.command, self.path, body, self.headers.get("Authorization"))
                sent = json.dumps(_shown(content)).encode()
                self.send_response(code)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(sent)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)
            except (Away, OSError):
                self.close_connection = True

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one

        def log_message(self, *_words: object) -> None:
            """What it was asked is in `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cluster
    finally:
        cluster.silent = False
        server.shutdown()
        server.server_close()
        thread.join(5)
