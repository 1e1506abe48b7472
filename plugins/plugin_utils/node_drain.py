# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cordon a node of Kubernetes, drain it in time, see that it stays so, and give back only what we took.

A node that we cordon is marked by an annotation in the same breath. So whoever comes after a controller that died half-way knows that the
node is ours to give back; one that is cordoned and has no mark is somebody else's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import eviction
from ansible_collections.fleet.stall.plugins.plugin_utils.cluster import MARK, Cluster, ClusterError
from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import inside, items_of
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class DrainError(Exception):
    """The node is not drained, not ours, or not ready; the message says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """`ours`: it is marked by us, or nobody has cordoned it."""

    name: str
    cordoned: bool
    mark: str | None
    ready: bool
    boot_id: str

    @property
    def ours(self) -> bool:
        return self.mark is not None or not self.cordoned


@dataclass(frozen=True, slots=True)
class Limits:
    """``timeout_s`` for the whole drain, ``retry_s`` between two attempts; what may go although something is lost with it."""

    timeout_s: float
    retry_s: float
    local_data: bool = False
    unmanaged: bool = False


def read(cluster: Cluster, name: str) -> Node:
    """Raises ClusterError."""
    found = cluster.node(name)
    mark = inside(found, "metadata", "annotations", MARK)
    conditions = items_of(inside(found, "status", "conditions"))
    return Node(
        name=name,
        cordoned=inside(found, "spec", "unschedulable") is True,
        mark=None if mark is None else str(mark),
        ready=any(inside(one, "type") == "Ready" and inside(one, "status") == "True" for one in conditions),
        boot_id=str(inside(found, "status", "nodeInfo", "bootID") or ""),
    )


def look(cluster: Cluster, name: str, limits: Limits) -> eviction.Pods:
    """The pods of the node. Raises ClusterError, and DrainError if one of them may not go."""
    pods = eviction.sort(cluster.pods(name), limits.local_data, limits.unmanaged)
    if pods.refused:
        raise DrainError(f"node {printable(name)} can't be drained: {eviction.refusal(pods)}.")
    return pods


def cordon(cluster: Cluster, node: Node, mark: str) -> bool:
    """Whether something had to be done. Raises ClusterError."""
    if node.cordoned:
        return False
    cluster.cordon(node.name, mark)
    return True


def release(cluster: Cluster, node: Node) -> bool:
    """Give the node back if we cordoned it; whether we did. Raises ClusterError."""
    if node.mark is None:
        return False
    cluster.uncordon(node.name)
    return True


def drain(
    cluster: Cluster,
    name: str,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> list[str]:
    """Evict the pods of a cordoned node, and wait until they are gone; the names of those that went.

    A budget that forbids it now, and an API server that is away, are tried again until the time is over. Nothing is evicted while a pod
    is on its way out: k8s_drain would evict that one a second time.

    :raises ClusterError: the cluster refuses for good
    :raises DrainError: a pod may not go, or the time is over
    """
    deadline = clock() + limits.timeout_s
    gone: set[str] = set()
    refused: ClusterError | None = None
    while True:
        trouble = refused
        try:
            pods = look(cluster, name, limits)
            if pods.gone:
                return sorted(gone)
            gone.update(pods.evictable, pods.leaving)
            if not pods.leaving and clock() < deadline:
                trouble = refused = _evict(cluster, name, limits, deadline - clock())
                if not refused:
                    continue
        except ClusterError as error:
            if not error.passing:
                raise
            trouble = error
        if clock() >= deadline:
            raise DrainError(_too_late(cluster, name, limits, trouble))
        sleep(min(limits.retry_s, max(0.0, deadline - clock())))


def check(cluster: Cluster, name: str, limits: Limits) -> Node:
    """The node, if it is still cordoned and nothing is on it that draining is for. Raises ClusterError, DrainError."""
    node = read(cluster, name)
    if not node.cordoned:
        raise DrainError(f"node {printable(name)} is not cordoned any more: somebody has uncordoned it.")
    pods = eviction.sort(cluster.pods(name), limits.local_data, limits.unmanaged)
    if not pods.gone:
        raise DrainError(f"node {printable(name)} is not empty: {eviction.left(pods, [])}.")
    return node


def wait_ready(
    cluster: Cluster,
    name: str,
    boot_id: str,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until the kubelet of that boot says Ready: what it said before a reboot stands for most of a minute.

    :raises ClusterError, DrainError:
    """
    deadline = clock() + limits.timeout_s
    while True:
        try:
            node = read(cluster, name)
            if node.ready and node.boot_id == boot_id:
                return
            state = f"tells of boot {printable(node.boot_id or 'none')}, not of {printable(boot_id)}" if node.ready else "is not Ready"
        except ClusterError as error:
            if not error.passing:
                raise
            state = f"is not known: {error}"
        if clock() >= deadline:
            raise DrainError(f"node {printable(name)} {state}, after {limits.timeout_s:g} s.")
        sleep(min(limits.retry_s, max(0.0, deadline - clock())))


def _evict(cluster: Cluster, name: str, limits: Limits, left_s: float) -> ClusterError | None:
    """One attempt, and why it has to be made again. Raises ClusterError where that would not help."""
    try:
        cluster.evict(name, left_s, limits.local_data, limits.unmanaged)
    except ClusterError as error:
        if not error.passing:
            raise
        return error
    return None


def _too_late(cluster: Cluster, name: str, limits: Limits, trouble: ClusterError | None) -> str:
    begun = f"node {printable(name)} is not drained after {limits.timeout_s:g} s"
    try:
        pods = eviction.sort(cluster.pods(name), limits.local_data, limits.unmanaged)
    except ClusterError as error:
        return f"{begun}: {error}"
    try:
        budgets: list[Any] = cluster.budgets() if pods.evictable else []
    except ClusterError:
        # Who may drain may not always read budgets; what the eviction said is told below
        budgets = []
    said = [eviction.left(pods, budgets), str(trouble or "")]
    return f"{begun}: {'. '.join(part for part in said if part)}"
