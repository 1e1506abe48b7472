# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Kubernetes cluster has, asked through kubectl: its kubeconfig, credentials and proxies are the user's, nothing is written.

Lists are fetched page by page (``limit`` and ``continue`` of the API, through ``kubectl get --raw``) and each page is cut down at once, so
that a cluster of any size takes little memory. Time and bytes are bounded.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from ansible_collections.fleet.stall.plugins.plugin_utils import kubernetes_objects as objects
from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import Node, Pod, Service
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

NODES = "/api/v1/nodes"
# A pod that has ended keeps its place in the list
PODS = "/api/v1/pods?fieldSelector=status.phase%3DRunning"
SERVICES = "/api/v1/services"
# Of one request, and of all together
REQUEST_S, TOTAL_S = 20.0, 60.0
PAGE, PAGE_BYTES = 500, 64 << 20
STDERR_BYTES = 64 << 10

_BY_HAND = "Without it, set stall_overlay_address and stall_services in the inventory"
_REMEDIES = (
    (r"forbidden", "give the user of the kubeconfig the right to list nodes, pods and services in all namespaces"),
    (r"context .*(does not exist|was not found)", "set stall_kube_context to one that 'kubectl config get-contexts' shows"),
    (
        r"unauthorized|must be logged in|provide credentials|getting credentials|exec plugin",
        "log in to the cluster again, and try 'kubectl get nodes' by hand",
    ),
    (
        r"no such file|no configuration has been provided|localhost:8080|invalid configuration|error loading config",
        "set stall_kubeconfig to the kubeconfig of the cluster",
    ),
    (r"certificate|x509", "set stall_kubeconfig to one that holds the cluster's certificate authority"),
    (r"timeout|timed out|deadline exceeded", "look whether the API server is slow or out of reach from here, with 'kubectl get nodes'"),
    (r"refused|no route to host|no such host|unable to connect", "look whether the API server can be reached from here"),
)

Parsed = TypeVar("Parsed")


class KubectlError(Exception):
    """Why the cluster could not be asked, and the remedy. ``forbidden``: other lists may still be had."""

    def __init__(self, reason: str, remedy: str, forbidden: bool = False) -> None:
        super().__init__(f"{reason}. Remedy: {remedy}. {_BY_HAND}.")
        self.reason = reason
        self.remedy = remedy
        self.forbidden = forbidden


@dataclass(frozen=True, slots=True)
class Cluster:
    nodes: list[Node] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def discover(kubeconfig: str, context: str, total_s: float = TOTAL_S, request_s: float = REQUEST_S) -> Cluster:
    """The nodes, running pods and NodePort services of a cluster.

    :param kubeconfig: path; empty: where kubectl looks by itself
    :param context: of the kubeconfig; empty: its current one
    :raises KubectlError: nothing could be had; what of it is forbidden is a warning
    """
    ask = _Asker(kubeconfig, context, time.monotonic() + total_s, request_s)
    refused: dict[str, KubectlError] = {}

    def have(what: str, path: str, read: Callable[[Any], Parsed | None]) -> list[Parsed]:
        try:
            return [found for item in ask.items(path) if (found := read(item)) is not None]
        except KubectlError as error:
            if not error.forbidden:
                raise
            refused[what] = error
            return []

    nodes = have("nodes", NODES, objects.node)
    pods = have("pods", PODS, objects.pod)
    services = have("services", SERVICES, objects.service)
    if len(refused) == 3:
        raise refused["nodes"]
    if "nodes" in refused:
        nodes = objects.nodes_of(pods)
    return Cluster(nodes, pods, services, [_narrowed(what, error) for what, error in refused.items()])


def _narrowed(what: str, error: KubectlError) -> str:
    means = {
        "nodes": "only nodes that run a pod are known",
        "pods": "no address in the overlay is found, and no host behind a NodePort",
        "services": "no NodePort is found",
    }[what]
    return f"Kubernetes does not show its {what} ({error.reason}): {means}. Remedy: {error.remedy}."


class _Asker:
    def __init__(self, kubeconfig: str, context: str, deadline: float, request_s: float) -> None:
        self._options = [f"--request-timeout={max(1, round(request_s))}s"]
        if kubeconfig:
            self._options.append(f"--kubeconfig={os.path.expanduser(kubeconfig)}")
        if context:
            self._options.append(f"--context={context}")
        self._deadline = deadline
        self._request_s = request_s

    def items(self, path: str) -> Iterator[Any]:
        """Every item of a list of the API."""
        token = ""
        while True:
            query = f"{path}{'&' if '?' in path else '?'}limit={PAGE}" + (f"&continue={quote(token, safe='')}" if token else "")
            page = self._page(query)
            yield from page["items"]
            metadata = page.get("metadata")
            following = metadata.get("continue") if isinstance(metadata, dict) else None
            if not following or not isinstance(following, str):
                return
            token = following

    def _page(self, query: str) -> dict[str, Any]:
        left = self._deadline - time.monotonic()
        # kubectl has its own limit for a request; a helper that it starts for credentials may have none
        output = _run(["kubectl", "get", "--raw", query, *self._options], min(left, self._request_s + 2))
        try:
            page = json.loads(output)
        except (ValueError, RecursionError) as error:
            raise _unlike(query, f"no JSON ({printable(error, 80)})") from error
        if not isinstance(page, dict) or not isinstance(page.get("items") or [], list):
            raise _unlike(query, "no list")
        return {**page, "items": page.get("items") or []}


def _unlike(query: str, what: str) -> KubectlError:
    path = query.partition("?")[0]
    return KubectlError(f"what answers for the API server gives {what} for {path}", "look which server the kubeconfig names")


def _run(command: list[str], limit_s: float) -> bytes:
    """Its output. When this ends too soon, it and the helpers that it started are gone. Raises KubectlError."""
    if limit_s <= 0:
        raise KubectlError(f"Kubernetes did not give everything within {TOTAL_S:g} s", "look why its API server is slow")
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except FileNotFoundError as error:
        raise KubectlError("kubectl is not on the controller", "install it (Debian: kubernetes-client) or put it on the PATH") from error
    except OSError as error:
        raise KubectlError(f"kubectl can't be started: {printable(error)}", "look at the kubectl that is first on the PATH") from error
    try:
        output, errors = _collect(process, time.monotonic() + limit_s)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
    if process.returncode != 0:
        raise _refusal(errors.decode("utf-8", "replace"), process.returncode)
    return output


def _collect(process: subprocess.Popen, deadline: float) -> tuple[bytes, bytes]:
    """What it writes until it ends. Raises KubectlError: too late or too much."""
    found: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in found:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise KubectlError("kubectl gave no answer in time", _REMEDIES[-2][1])
            for key, _events in selector.select(left):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout or len(found[key.fileobj]) < STDERR_BYTES:
                    found[key.fileobj] += data
            if len(found[process.stdout]) > PAGE_BYTES:
                raise KubectlError(
                    f"a page of {PAGE} items is larger than {PAGE_BYTES >> 20} MiB", "look which server the kubeconfig names"
                )
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise KubectlError("kubectl gave no answer in time", _REMEDIES[-2][1]) from error
    return bytes(found[process.stdout]), bytes(found[process.stderr])


def _refusal(said: str, code: int) -> KubectlError:
    """From what kubectl wrote to stderr; its last line is the error, warnings come before."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = printable(lines[-1], 200) if lines else f"kubectl ended with exit code {code}"
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, said, re.IGNORECASE)), "try 'kubectl get nodes' by hand")
    return KubectlError(f"kubectl: {reason}".rstrip(".?"), remedy, forbidden="forbidden" in said.lower())
