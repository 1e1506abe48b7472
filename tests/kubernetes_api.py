"""A Kubernetes API server of the tests' own on the loopback: lists of nodes, pods and services in pages, refusals, slow answers.

It answers what kubectl asks for, with objects in the shape of the API reference (core/v1); any real kubectl can be pointed at it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def node(name: str, *addresses: tuple[str, str]) -> dict:
    listed = [{"type": kind, "address": address} for kind, address in addresses]
    return {"metadata": {"name": name, "resourceVersion": "7"}, "spec": {}, "status": {"addresses": listed}}


def pod(name: str, on: str, *ips: str, app: str = "web", namespace: str = "shop", owner: str | None = "ReplicaSet", **more) -> dict:
    """`more`: ready (true), host_network (false), created, leaving (false), host_ip, ports (name -> number)."""
    found: dict = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": app, "pod-template-hash": "abc"},
            "creationTimestamp": more.get("created", "2026-01-01T00:00:00Z"),
        },
        "spec": {"nodeName": on, "containers": [{"name": "c", "image": "registry.invalid/c"}]},
        "status": {
            "phase": "Running",
            "podIP": ips[0] if ips else None,
            "podIPs": [{"ip": ip} for ip in ips],
            "hostIP": more.get("host_ip"),
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": str(more.get("ready", True))}],
        },
    }
    if owner:
        found["metadata"]["ownerReferences"] = [{"kind": owner, "name": "o", "controller": True}]
    if more.get("ports"):
        listed = [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in more["ports"].items()]
        found["spec"]["containers"][0]["ports"] = listed
    if more.get("host_network"):
        found["spec"]["hostNetwork"] = True
    if more.get("leaving"):
        found["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    return found


def service(name: str, *ports: tuple, app: str | None = "web", namespace: str = "shop", kind: str = "NodePort", **spec) -> dict:
    """`ports`: (protocol, NodePort or None, and its targetPort, if it has one); `spec`: further fields of it."""
    listed = [
        {"port": 80 + index, "protocol": protocol, **({"nodePort": at} if at else {}), **({"targetPort": to[0]} if to else {})}
        for index, (protocol, at, *to) in enumerate(ports)
    ]
    content = {"type": kind, "ports": listed, "clusterIP": "10.96.0.1", **({"selector": {"app": app}} if app else {}), **spec}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": content, "status": {"loadBalancer": {}}}


@dataclass
class Api:
    """What the server has, and how it is to behave; `asked` is what it was asked for."""

    nodes: list[dict] = field(default_factory=list)
    pods: list[dict] = field(default_factory=list)
    services: list[dict] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    unauthorized: bool = False
    delay_s: float = 0.0
    body: bytes | None = None
    page: int = 500
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, target: str) -> tuple[int, bytes]:
        self.asked.append(target)
        parts = urlsplit(target)
        if parts.path == "/version":
            return 200, json.dumps({"major": "1", "minor": "32", "gitVersion": "v1.32.4"}).encode()
        time.sleep(self.delay_s)
        if self.body is not None:
            return 200, self.body
        kind = parts.path.rpartition("/")[2]
        if self.unauthorized:
            return 401, status(401, "Unauthorized", "Unauthorized")
        if parts.path != f"/api/v1/{kind}" or kind not in ("nodes", "pods", "services"):
            return 404, status(404, "NotFound", "the server could not find the requested resource")
        if kind in self.forbidden:
            said = f'{kind} is forbidden: User "diagnose" cannot list resource "{kind}" in API group "" at the cluster scope'
            return 403, status(403, "Forbidden", said)
        return 200, json.dumps(self._page(kind, parse_qs(parts.query))).encode()

    def _page(self, kind: str, query: dict[str, list[str]]) -> dict:
        items = getattr(self, kind)
        if phase := dict(part.split("=") for part in query.get("fieldSelector", [])).get("status.phase"):
            items = [item for item in items if item["status"]["phase"] == phase]
        first = int(query.get("continue", ["at+0/="])[0].removeprefix("at+").removesuffix("/="))
        last = first + min(self.page, int(query.get("limit", ["500"])[0]))
        metadata = {"resourceVersion": "42", **({"continue": f"at+{last}/="} if last < len(items) else {})}
        return {"kind": f"{kind[:-1].title()}List", "apiVersion": "v1", "metadata": metadata, "items": items[first:last]}


def status(code: int, reason: str, message: str) -> bytes:
    failure = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return json.dumps(failure).encode()


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    """The API on a free port of the loopback, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            code, body = api.answer(self.path)
            try:
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                # The client has given up
                self.close_connection = True

        def log_message(self, *_words: object) -> None:
            """What it was asked is in `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def kubeconfig(path: Path, url: str, context: str = "lab", token: str | None = None) -> Path:
    """Written as JSON, which is YAML."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": url}}],
        "users": [{"name": "diagnose", "user": {"token": token} if token else {}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": "diagnose"}}],
        "current-context": context,
    }
    path.write_text(json.dumps(content))
    return path
