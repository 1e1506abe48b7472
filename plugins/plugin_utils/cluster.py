# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes cluster as the modules of kubernetes.core reach it: its nodes are read, marked, cordoned, drained and given back.

The collection is needed by who drains nodes, and by nobody else: require() says so before anything is asked.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import inside, items_of
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

COLLECTION = "kubernetes.core"
# The first that waits for the last pod as well, and not for one of a StatefulSet that is back elsewhere
OLDEST = (5, 1)
INSTALL = f"install it on the controller: ansible-galaxy collection install '{COLLECTION}:>={OLDEST[0]}.{OLDEST[1]}.0'"
# The mark of a node that we cordoned; kept on the node, where it outlives the controller
MARK = "fleet.stall/cordoned"
# The DaemonSet controller's label: k8s_drain takes one of its pods that has an emptyDir for one to be evicted
_NOT_OF_A_DAEMONSET = ["!pod-template-generation"]
# What lists are long for, and nobody here asks
_HIDDEN = ["metadata.managedFields", "status.images", "status.volumesAttached", "status.volumesInUse"]

_REMEDIES = (
    (r"unauthorized|\b401\b", "log in to the cluster again, and run it once more"),
    (r"forbidden|\b403\b", "give the user of the kubeconfig the rights that the README of the role drain lists"),
    (r"required Python library|No module named", "install the Python package kubernetes for the Python that is named"),
    (r"node \S+ not found", "set stall_node_name to the name of the node"),
    (r"could not create api client|invalid kube-config|no configuration", "set stall_kubeconfig and stall_kube_context"),
)


class ClusterError(Exception):
    """The cluster did not do what was asked of it. ``passing``: it may do so later."""

    def __init__(self, sentence: str, passing: bool = False) -> None:
        super().__init__(sentence)
        self.passing = passing


Execute = Callable[[str, dict[str, Any], float], Mapping[str, Any]]


def require() -> None:
    """Raises ClusterError if kubernetes.core is not there, or too old."""
    try:
        spec = importlib.util.find_spec(f"ansible_collections.{COLLECTION}")
    except ModuleNotFoundError:
        spec = None
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise ClusterError(f"stall_drain_driver kubernetes needs the collection {COLLECTION}, which is not there. Remedy: {INSTALL}.")
    version = _version(Path(places[0]) / "MANIFEST.json")
    if version and tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise ClusterError(f"stall_drain_driver kubernetes needs a newer {COLLECTION} than {version}. Remedy: {INSTALL} --force.")


def _version(manifest: Path) -> str | None:
    """None for a checkout, which has no such file."""
    try:
        return str(json.loads(manifest.read_text())["collection_info"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Cluster:
    """Each call is one run of a module, within ``limit_s``. All raise ClusterError.

    :param execute: ``(module, arguments, limit_s)`` -> its result
    :param kubeconfig: path, and the context in it; empty for what the Kubernetes client takes by itself
    """

    def __init__(self, execute: Execute, kubeconfig: str, context: str, limit_s: float = 60) -> None:
        self._execute = execute
        self._login = {**({"kubeconfig": kubeconfig} if kubeconfig else {}), **({"context": context} if context else {})}
        self._limit_s = limit_s

    def nodes(self) -> list[Any]:
        return self._list(kind="Node")

    def node(self, name: str) -> dict[str, Any]:
        found = self._list(kind="Node", name=name)
        if len(found) != 1 or inside(found[0], "metadata", "name") != name:
            raise ClusterError(f"there is no node {printable(name)} in the cluster. Remedy: set stall_node_name to its name.")
        return found[0]

    def pods(self, node: str) -> list[Any]:
        return self._list(kind="Pod", field_selectors=[f"spec.nodeName={node}"])

    def budgets(self) -> list[Any]:
        """Every PodDisruptionBudget."""
        return self._list(kind="PodDisruptionBudget", api_version="policy/v1")

    def cordon(self, node: str, mark: str) -> None:
        """Cordon the node and mark it as ours, in one patch: there is no moment in which it is cordoned and nobody's."""
        self._patch(node, mark, True)

    def uncordon(self, node: str) -> None:
        """Uncordon the node and take the mark away, in one patch."""
        self._patch(node, None, None)

    def _patch(self, node: str, mark: str | None, unschedulable: bool | None) -> None:
        metadata = {"name": node, "annotations": {MARK: mark}}
        patch = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"unschedulable": unschedulable}}
        self._run("k8s", {"state": "patched", "definition": patch})

    def evict(self, node: str, limit_s: float, local_data: bool, unmanaged: bool) -> None:
        """Evict what can be, and wait for ``limit_s`` until it is gone. A budget that forbids it is a ClusterError that may pass."""
        options = {
            "ignore_daemonsets": True,
            "delete_emptydir_data": local_data,
            "force": unmanaged,
            "wait_timeout": max(1, int(limit_s)),
            "wait_sleep": 1,
        }
        arguments = {"state": "drain", "name": node, "delete_options": options, "pod_selectors": _NOT_OF_A_DAEMONSET}
        self._run("k8s_drain", arguments, limit_s + self._limit_s)

    def _list(self, **arguments: Any) -> list[Any]:
        result = self._run("k8s_info", {**arguments, "hidden_fields": _HIDDEN})
        if not result.get("api_found") or not isinstance(result.get("resources"), list):
            # What it says when the discovery fails; an empty list would be taken for an empty node
            raise ClusterError(
                f"the API server does not tell of {arguments['kind']}s: {printable(result.get('msg') or 'it did not say why')}", True
            )
        return items_of(result["resources"])

    def _run(self, module: str, arguments: dict[str, Any], limit_s: float | None = None) -> Mapping[str, Any]:
        limit_s = limit_s or self._limit_s
        result = self._execute(f"{COLLECTION}.{module}", {**self._login, **arguments}, limit_s)
        if not result.get("failed"):
            return result
        raise _error(result, limit_s)


def _error(result: Mapping[str, Any], limit_s: float) -> ClusterError:
    if result.get("rc") == 124:
        return ClusterError(f"the API server did not answer within {limit_s:g} s", True)
    said = str(result.get("msg") or result.get("module_stderr") or "no reason given")
    reason = printable(_message(said)).rstrip(".")
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, said, re.IGNORECASE)), None)
    return ClusterError(f"{reason}. Remedy: {remedy}." if remedy else reason, passing=remedy is None)


def _message(said: str) -> str:
    """The API's own sentence where all of its answer is quoted."""
    found = re.search(r'"message":\s*"((?:[^"\\]|\\.)*)"', said)
    return json.loads(f'"{found.group(1)}"') if found else said
