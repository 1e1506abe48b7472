# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers that a Kubernetes cluster adds to a host: a pod's address in the overlay, NodePorts and the host behind each.

Pure: objects of the API in, what the mesh needs out. What the API sends is taken for data from outside: an object of another shape than
the API documents is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.endpoints import spelled
from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import Node, Pod, Port, Service
from ansible_collections.fleet.stall.plugins.plugin_utils.node_match import match
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

# Further NodePorts show the same NAT and overlay again; each costs two flows a node
MOST_SERVICES = 2
MOST_ENDPOINTS = 200
NAME_LIMIT = 63
# Owners whose pods stay where they are for longer than a window, steadiest first; a pod that goes would look like a stall
_STEADY = ("DaemonSet", "Node", "StatefulSet", "ReplicaSet", "ReplicationController")


@dataclass(frozen=True, slots=True)
class Layers:
    """``hosts``: name -> ``{node: bool|None, overlay_address?}``, None: the inventory decides; ``services``: as in stall_services, of
    protocol ``syn``, with ``local``, ``families`` and ``nodes``, the hosts that serve it; ``places``: NodePort -> ``{backend, local,
    nodes}``, where that is known; ``endpoints``: NodePort -> where its pods listen; ``families``: NodePort -> IP versions that it is
    served in, none where that is not known."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: list[dict[str, Any]] = field(default_factory=list)
    places: dict[int, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[int, list[str]] = field(default_factory=dict)
    families: dict[int, list[int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Served:
    """A NodePort, its Ready pods and where they are: ``nodes`` in order, hosts for those that the inventory has."""

    service: Service
    port: Port
    pods: tuple[Pod, ...]
    nodes: tuple[str, ...]
    hosts: tuple[str, ...]

    @property
    def backend(self) -> str | None:
        """The host behind it, where there is but one."""
        return self.hosts[0] if len(self.nodes) == len(self.hosts) == 1 else None

    def place(self) -> dict[str, Any]:
        """What stall_services says of it: where its pods run."""
        local = self.service.local
        return {"backend": None if local else self.backend, "local": local, "nodes": list(self.hosts) if local else None}

    def endpoints(self) -> list[str]:
        """Where its pods listen, as far as their port is known."""
        ends = [(address, number) for pod in self.pods if (number := self.port.of(pod)) for address in pod.addresses]
        return sorted(spelled(address, number) for address, number in ends)[:MOST_ENDPOINTS]

    def order(self) -> tuple:
        """Of known place first: it tells NAT and overlay from what is behind them."""
        known = 0 if self.backend and not self.service.local else 1 if self.service.local else 2
        return known, self.service.namespace, self.service.name, self.port.node_port


def layers(
    nodes: Sequence[Node],
    pods: Sequence[Pod],
    services: Sequence[Service],
    hosts: Mapping[str, Mapping[str, Any]],
    members: Iterable[str],
    families: Sequence[int] = (4,),
    named: bool = True,
) -> Layers:
    """What the cluster knows of the hosts of the inventory.

    :param hosts: name -> ``{address, address6, overlay_address}``; an overlay address of the inventory stands
    :param members: hosts that should be nodes of the cluster, by their groups
    :param families: IP versions that are probed
    :param named: the inventory has a group of nodes, and that makes the members; else they are all that can be nodes
    """
    members = set(members)
    host_of, warnings = match(nodes, hosts, members)
    running = [pod for pod in pods if pod.ready and pod.node]
    ports, left_out = _node_ports(services, running, host_of, families)
    backing = {(pod.namespace, pod.name) for port in ports for pod in port.pods}
    # A cluster that does not show a host of the group is not the cluster of that host, or does not let us look
    found: dict[str, dict[str, Any]] = {name: {"node": None if not nodes or (named and name in members) else False} for name in hosts}
    overlay = _overlay_addresses(running, backing, families)
    bare = []
    for node, host in host_of.items():
        found[host] = {"node": True}
        if node in overlay and not hosts[host].get("overlay_address"):
            found[host]["overlay_address"] = overlay[node]
        elif not hosts[host].get("overlay_address"):
            bare.append(host)
    if bare:
        warnings.append(
            f"Kubernetes runs no pod on {and_more(sorted(bare), 5)} that is Ready, lasting and in the pod network: the overlay is not "
            "probed there. Set stall_overlay_address where there is an address."
        )
    if untold := sorted(name for name in members & found.keys() if found[name]["node"] is None):
        warnings.append(
            f"Kubernetes does not tell whether {and_more(untold, 5)} {'serves' if len(untold) == 1 else 'serve'} NodePorts: "
            "those of stall_services are probed there as the groups of the inventory say."
        )
    chosen = _choose(ports)
    return Layers(
        hosts=found,
        services=_described(chosen, sorted(host_of.values())),
        places={port.port.node_port: port.place() for port in ports if port.backend or port.service.local},
        endpoints={port.port.node_port: port.endpoints() for port in ports},
        families={port.node_port: list(one.families) for one in services for port in one.ports if port.protocol == "TCP"},
        warnings=[*warnings, *_said(chosen, ports, left_out)],
    )


def merge(found: Layers, hosts: Mapping[str, Mapping[str, Any]], services: Sequence[Mapping[str, Any]]) -> tuple[dict, list]:
    """Hosts and stall_services with what the cluster adds. Where the inventory names a NodePort, only its families and where its pods run
    and listen are added; ``within``: the nodes of which the cluster tells where the pods run."""
    described = {name: {**host, **found.hosts.get(name, {})} for name, host in hosts.items()}
    within = sorted(name for name, known in found.hosts.items() if known["node"])
    named = []
    for service in services:
        number = service["node_port"]
        place = {} if service["backend"] or number not in found.places else {**found.places[number], "within": within}
        ends = service["endpoints"] or found.endpoints.get(number, [])
        named.append({**service, **place, "endpoints": ends, "families": found.families.get(number, [])})
    return described, named if any(service["node_port"] for service in services) else [*named, *found.services]


def _node_ports(
    services: Sequence[Service], running: Sequence[Pod], host_of: Mapping[str, str], families: Sequence[int]
) -> tuple[list[_Served], Counter[str]]:
    """NodePorts that can be probed, and for the others how many there are of each reason."""
    by_label: dict[tuple[str, str, str], list[Pod]] = defaultdict(list)
    for pod in running:
        for key, value in pod.labels.items():
            by_label[pod.namespace, key, value].append(pod)
    found, left_out = [], Counter[str]()
    for service in services:
        labelled = [by_label.get((service.namespace, key, value), []) for key, value in service.selector.items()]
        pods = [pod for pod in min(labelled, key=len, default=[]) if service.selects(pod)]
        reason = _unfit(service, pods, families)
        for port in service.ports:
            if reason or port.protocol != "TCP":
                left_out[reason or f"of {port.protocol}"] += 1
                continue
            on = sorted({pod.node for pod in pods})
            hosts = sorted({host_of[node] for node in on if node in host_of})
            found.append(_Served(service, port, tuple(pods), tuple(on), tuple(hosts)))
    return found, left_out


def _unfit(service: Service, pods: Sequence[Pod], families: Sequence[int]) -> str | None:
    if not service.selector:
        return "without a selector"
    if not pods:
        return "without a Ready pod"
    if any(pod.host_network for pod in pods):
        return "with pods in the host's network"
    if service.families and not set(service.families) & set(families):
        return f"without IPv{' or IPv'.join(str(family) for family in families)}"
    return None


def _choose(ports: Sequence[_Served]) -> list[_Served]:
    """The few that tell most; those whose pods are anywhere only where there is no better."""
    usable = sorted((port for port in ports if port.hosts or not port.service.local), key=_Served.order)
    known = [port for port in usable if port.backend or port.service.local]
    return (known or usable)[:MOST_SERVICES]


def _described(chosen: Sequence[_Served], nodes: Sequence[str]) -> list[dict[str, Any]]:
    several = Counter((port.service.namespace, port.service.name) for port in chosen)
    described = []
    for port in chosen:
        service = port.service
        name = f"{service.namespace}.{service.name}"
        if several[service.namespace, service.name] > 1:
            name += f".{port.port.node_port}"
        place = port.place()
        described.append(
            {
                "name": _short(name),
                "protocol": "syn",
                "node_port": port.port.node_port,
                "target": None,
                "port": None,
                "path": "/",
                "request": "",
                "endpoints": port.endpoints(),
                "families": list(service.families),
                **place,
                "nodes": place["nodes"] if service.local else list(nodes),
            }
        )
    return described


def _short(name: str) -> str:
    """A name within the limit, still one of its own."""
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 9]}-{blake2b(name.encode(), digest_size=4).hexdigest()}"


def _overlay_addresses(running: Iterable[Pod], backing: set[tuple[str, str]], families: Sequence[int]) -> dict[str, str]:
    """Node -> address of the pod there that is best to probe: of a NodePort's service first, so that the way there is the same but
    for the NAT; then the one likeliest to stay."""
    best: dict[str, tuple[tuple, str]] = {}
    for pod in running:
        address = pod.address(families)
        serves = (pod.namespace, pod.name) in backing
        if pod.host_network or address is None or not (serves or pod.owner in _STEADY):
            continue
        rank = _STEADY.index(pod.owner) if pod.owner in _STEADY else len(_STEADY)
        order = (not serves, rank, pod.created, pod.namespace, pod.name)
        if pod.node not in best or order < best[pod.node][0]:
            best[pod.node] = (order, address)
    return {node: address for node, (_order, address) in best.items()}


def _said(chosen: Sequence[_Served], ports: Sequence[_Served], left_out: Counter[str]) -> list[str]:
    said = []
    if more := len(ports) - len(chosen):
        what = f"{len(chosen)} NodePorts of Kubernetes" if len(chosen) != 1 else "One NodePort of Kubernetes"
        said.append(f"{what} {'are' if len(chosen) != 1 else 'is'} probed, {more} more not: name those that matter in stall_services.")
    if left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        said.append(f"NodePorts of Kubernetes left out: {reasons}.")
    return said
