# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods keep a node from being drained, and why: objects of the Kubernetes API in, names and sentences out.

The sorting is that of kubernetes.core.k8s_drain and of kubectl drain. Fields are those of the Kubernetes API reference (core/v1 and
policy/v1); what the API sends is taken for data from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import inside, items_of
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

_MIRROR = "kubernetes.io/config.mirror"
_ENDED = ("Succeeded", "Failed")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one node, as ``namespace/name``, by what draining it means for them.

    ``evictable``: they can go; ``leaving``: they are on their way out; ``refused``: they may not go, with the reason; ``ended``: they only
    need to be tidied up; ``staying``: of a DaemonSet, or static. ``objects`` has them all by name.
    """

    evictable: list[str] = field(default_factory=list)
    leaving: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    staying: list[str] = field(default_factory=list)
    objects: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        """Nothing is left that draining is for."""
        return not (self.evictable or self.leaving or self.refused)


def sort(pods: Iterable[Any], local_data: bool = False, unmanaged: bool = False) -> Pods:
    """The pods of a node.

    :param local_data: pods whose emptyDir is lost with them may go
    :param unmanaged: pods that no controller starts again elsewhere may go
    """
    found = Pods()
    for pod in pods:
        name = f"{inside(pod, 'metadata', 'namespace')}/{inside(pod, 'metadata', 'name')}"
        found.objects[name] = pod
        owners = {inside(owner, "kind") for owner in items_of(inside(pod, "metadata", "ownerReferences"))}
        if inside(pod, "metadata", "annotations", _MIRROR) is not None or "DaemonSet" in owners:
            found.staying.append(name)
        elif inside(pod, "metadata", "deletionTimestamp"):
            found.leaving.append(name)
        elif inside(pod, "status", "phase") in _ENDED:
            found.ended.append(name)
        elif not local_data and any(inside(volume, "emptyDir") is not None for volume in items_of(inside(pod, "spec", "volumes"))):
            found.refused[name] = "its local data (emptyDir) would be lost; stall_drain_local_data: true lets it go"
        elif not unmanaged and not owners:
            found.refused[name] = "no controller would start it again; stall_drain_unmanaged: true lets it go"
        else:
            found.evictable.append(name)
    return found


def refusal(pods: Pods) -> str:
    """Why the node can't be drained, as far as its pods tell."""
    return _listed([f"{printable(name)} ({why})" for name, why in sorted(pods.refused.items())])


def left(pods: Pods, budgets: Iterable[Any]) -> str:
    """What still is on a node whose time to drain is over, and which disruption budget holds it there."""
    known = list(budgets)
    said = [f"{printable(name)} ({_held(pods.objects[name], known)})" for name in sorted(pods.evictable)]
    said += [f"{printable(name)} (is terminating since {_since(pods.objects[name])})" for name in sorted(pods.leaving)]
    said += [f"{printable(name)} ({why})" for name, why in sorted(pods.refused.items())]
    return _listed(said)


def _listed(said: list[str]) -> str:
    return "; ".join([*said[:_SHOWN], *([f"and {len(said) - _SHOWN} more"] if len(said) > _SHOWN else [])])


def _since(pod: Any) -> str:
    return printable(inside(pod, "metadata", "deletionTimestamp"), 40)


def _held(pod: Any, budgets: Sequence[Any]) -> str:
    holding = [budget for budget in budgets if _covers(budget, pod) and not inside(budget, "status", "disruptionsAllowed")]
    return and_more([_budget(budget) for budget in holding]) if holding else "is not evicted yet"


def _budget(budget: Any) -> str:
    counts = [inside(budget, "status", key) for key in ("desiredHealthy", "expectedPods", "currentHealthy")]
    name = printable(inside(budget, "metadata", "name"), 80)
    if not all(isinstance(count, int) for count in counts):
        return f"disruption budget {name} allows none to go"
    needed, of, healthy = counts
    return f"disruption budget {name} allows none to go: it needs {needed} healthy of {of}, and has {healthy}"


def _covers(budget: Any, pod: Any) -> bool:
    """Whether a PodDisruptionBudget is about this pod. An empty selector is about all pods of the namespace, none about none."""
    selector = inside(budget, "spec", "selector")
    if not isinstance(selector, dict) or inside(budget, "metadata", "namespace") != inside(pod, "metadata", "namespace"):
        return False
    labels = inside(pod, "metadata", "labels") or {}
    wanted = inside(selector, "matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(expression, labels) for expression in items_of(inside(selector, "matchExpressions"))
    )


def _meets(expression: Any, labels: Mapping[str, Any]) -> bool:
    key, values = inside(expression, "key"), items_of(inside(expression, "values"))
    return {
        "In": key in labels and labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(str(inside(expression, "operator")), False)
