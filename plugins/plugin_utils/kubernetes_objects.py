# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes, pods and services of the Kubernetes API (core/v1), cut down to what the layers need as each page arrives.

The fields are those of the Kubernetes API reference. A reader gives None for an object of another shape, and for one that plays no part.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """``addresses``: (type, address), as InternalIP, ExternalIP, Hostname, InternalDNS, ExternalDNS."""

    name: str
    addresses: tuple[tuple[str, str], ...] = ()

    def of(self, *types: str) -> list[str]:
        return [address for kind, address in self.addresses if kind in types]


@dataclass(frozen=True, slots=True)
class Pod:
    """``owner``: kind of its controller, "" if it has none; ``created``: ISO 8601; ``host_address``: of the node it runs on; ``ports``: the
    TCP ports of its containers that have a name."""

    namespace: str
    name: str
    node: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    host_network: bool
    ready: bool
    owner: str
    created: str
    host_address: str | None
    ports: Mapping[str, int] = field(default_factory=dict)

    def address(self, families: Sequence[int]) -> str | None:
        """The first of its addresses in the first family that it has."""
        by_family = {ipaddress.ip_address(address).version: address for address in reversed(self.addresses)}
        return next((by_family[family] for family in families if family in by_family), None)


@dataclass(frozen=True, slots=True)
class Port:
    """``target``: of the pods, a number or the name of one; None: not known."""

    protocol: str
    node_port: int
    target: int | str | None = None

    def of(self, pod: Pod) -> int | None:
        """Its number on a pod, which may name it."""
        return pod.ports.get(self.target) if isinstance(self.target, str) else self.target


@dataclass(frozen=True, slots=True)
class Service:
    """A service with NodePorts. ``local``: a node passes what it gets to pods of its own alone (externalTrafficPolicy)."""

    namespace: str
    name: str
    selector: Mapping[str, str]
    ports: tuple[Port, ...]
    local: bool
    families: tuple[int, ...]

    def selects(self, pod: Pod) -> bool:
        """Without a selector the endpoints are kept by hand, and no pod is known to be one."""
        return bool(self.selector) and pod.namespace == self.namespace and self.selector.items() <= pod.labels.items()


def node(item: Any) -> Node | None:
    name = _text(inside(item, "metadata", "name"))
    listed = [(_text(inside(one, "type")), _text(inside(one, "address"))) for one in items_of(inside(item, "status", "addresses"))]
    return Node(name, tuple((kind, address) for kind, address in listed if kind and address)) if name else None


def pod(item: Any) -> Pod | None:
    namespace, name = _text(inside(item, "metadata", "namespace")), _text(inside(item, "metadata", "name"))
    if not namespace or not name:
        return None
    several = [inside(one, "ip") for one in items_of(inside(item, "status", "podIPs"))] or [inside(item, "status", "podIP")]
    owners = [owner for owner in items_of(inside(item, "metadata", "ownerReferences")) if inside(owner, "controller") is True]
    ready = any(
        inside(one, "type") == "Ready" and inside(one, "status") == "True" for one in items_of(inside(item, "status", "conditions"))
    )
    return Pod(
        namespace=namespace,
        name=name,
        node=_text(inside(item, "spec", "nodeName")),
        labels=_texts(inside(item, "metadata", "labels")),
        addresses=tuple(address for one in several if (address := _address(one))),
        host_network=inside(item, "spec", "hostNetwork") is True,
        ready=ready and not inside(item, "metadata", "deletionTimestamp"),
        owner=_text(inside(owners[0], "kind")) if owners else "",
        created=_text(inside(item, "metadata", "creationTimestamp")),
        host_address=_address(inside(item, "status", "hostIP")),
        ports={
            name: number
            for container in items_of(inside(item, "spec", "containers"))
            for one in items_of(inside(container, "ports"))
            if (name := _text(inside(one, "name"))) and _is_port(number := inside(one, "containerPort"))
        },
    )


def service(item: Any) -> Service | None:
    """None for a service without a NodePort: of type ClusterIP (headless ones among them) or ExternalName."""
    namespace, name = _text(inside(item, "metadata", "namespace")), _text(inside(item, "metadata", "name"))
    ports = tuple(
        Port(_text(inside(one, "protocol")) or "TCP", number, _target(one))
        for one in items_of(inside(item, "spec", "ports"))
        if _is_port(number := inside(one, "nodePort"))
    )
    if not namespace or not name or not ports or inside(item, "spec", "type") not in ("NodePort", "LoadBalancer"):
        return None
    families = [{"IPv4": 4, "IPv6": 6}.get(_text(family)) for family in items_of(inside(item, "spec", "ipFamilies"))]
    return Service(
        namespace=namespace,
        name=name,
        selector=_texts(inside(item, "spec", "selector")),
        ports=ports,
        local=inside(item, "spec", "externalTrafficPolicy") == "Local",
        families=tuple(family for family in families if family),
    )


def _target(port: Any) -> int | str | None:
    """What the API fills in where it is not given is the port of the service itself."""
    target = inside(port, "targetPort") or inside(port, "port")
    return target if _is_port(target) or (isinstance(target, str) and target) else None


def nodes_of(pods: Sequence[Pod]) -> list[Node]:
    """The nodes as far as pods tell, for who may not list them."""
    found: dict[str, Node] = {}
    for one in sorted(pods, key=lambda one: (one.node, one.namespace, one.name)):
        if one.node and one.host_address:
            found.setdefault(one.node, Node(one.node, (("InternalIP", one.host_address),)))
    return list(found.values())


def inside(item: Any, *keys: str) -> Any:
    """The value at this place of an object, None where there is no such place."""
    for key in keys:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def items_of(value: Any) -> list:
    """The value, if it is a list; else none."""
    return value if isinstance(value, list) else []


def _is_port(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 65535


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def _address(value: Any) -> str | None:
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) else None
    except ValueError:
        return None
