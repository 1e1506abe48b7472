# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which receive queue stalls, told by who stalls together: flows of a pair that differ in nothing but the source port.

A card hashes TCP by addresses and ports, ICMP by addresses alone. So when a part of a pair's TCP flows stalls and the others pass
at the same times, those that stall share a queue; a pair's ICMP is on one queue, and so stalls always or never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils.network import Flow
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

# Fewer common stalls than this may be chance
LEAST_STALLS = 3
# Of the stalls that both could see: flows of one queue share at least this part, flows of another at most that
TOGETHER, APART = 1 / 3, 0.1
PORTS_SHOWN, SOURCES_SHOWN = 4, 2


@dataclass(frozen=True, slots=True)
class View:
    """A flow, the stalls (by number) that it most likely would have shown, and those that it did."""

    flow: Flow
    could: frozenset[int]
    saw: frozenset[int]


@dataclass(frozen=True, slots=True)
class Queue:
    """Flows that stall together while others of the same pairs do not. ``numbers``: by the card's own hash, several where queues stall
    at the same times (one CPU may serve them); empty: unknown."""

    numbers: tuple[int, ...]
    stalls: frozenset[int]
    inside: tuple[Flow, ...]
    beside: tuple[Flow, ...]


def rows(host: str, views: Sequence[View]) -> list[dict]:
    """``[{way "receive_queue", flows, stalls, seen, sentence}]``, the queue with most stalls first; the views are of flows to the host."""
    return [
        {
            "way": "receive_queue",
            "flows": len(queue.inside),
            "stalls": len(queue.stalls),
            "seen": len(queue.stalls),
            "sentence": sentence(queue),
        }
        for queue in queues(host, views)
    ]


def queues(host: str, views: Iterable[View]) -> list[Queue]:
    """The receive queues that stall alone; empty where the whole host does, or too little was seen to tell."""
    able = [view for view in views if len(view.could) >= LEAST_STALLS]
    found: list[Queue] = []
    explained: set[int] = set()
    for group in _groups([view for view in able if len(view.saw) >= LEAST_STALLS]):
        members = {view.flow.id for view in group}
        # A flow that had hiccups of its own during another queue's stalls is not on a queue of its own
        stalls = frozenset(number for number in frozenset().union(*(view.saw for view in group)) if _is_common(number, group)) - explained
        beside = [view.flow for view in able if view.flow.id not in members and _is_apart(view, stalls)]
        if len(stalls) >= LEAST_STALLS and _differ_in_port_alone(group, beside):
            inside = tuple(view.flow for view in group)
            found.append(Queue(_numbers(host, inside, beside), stalls, inside, tuple(beside)))
            explained |= stalls
    return sorted(found, key=lambda queue: (-len(queue.stalls), queue.inside[0].id))


def sentence(queue: Queue) -> str:
    """As an engineer would say it: "TCP by source port: 2 of 8 flows stall, ICMP of the same pair always: one receive queue, number 3"."""
    tcp = [flow for flow in queue.inside if flow.protocol != "icmp"]
    pairs = {flow.source for flow in queue.inside}
    all_tcp = len(tcp) + sum(flow.protocol != "icmp" and flow.source in pairs for flow in queue.beside)
    echoes = sorted({flow.source for flow in queue.inside if flow.protocol == "icmp"})
    calm_echoes = sorted({flow.source for flow in queue.beside if flow.protocol == "icmp"} & pairs)
    said = f"TCP by source port: {len(tcp)} of {all_tcp} flows stall"
    if echoes:
        said += f", ICMP from {and_more(echoes, SOURCES_SHOWN)}, which has no ports, always"
    if calm_echoes:
        said += f", ICMP from {and_more(calm_echoes, SOURCES_SHOWN)} never"
    if len(queue.numbers) == 1:
        return f"{said}: one receive queue, number {queue.numbers[0]}"
    if queue.numbers:
        return f"{said}: receive queues {and_more([str(number) for number in queue.numbers])}, which stall at the same times"
    if not tcp:
        return f"{said}: one receive queue that no probed port hashes to, number unknown, or ICMP is handled apart"
    return f"{said}: one receive queue, number unknown, the one that {_ports(tcp)} hash to"


def _groups(views: Sequence[View]) -> list[list[View]]:
    """Views that stall at the same times; the one that saw most leads a group."""
    groups: list[list[View]] = []
    for view in sorted(views, key=lambda view: (-len(view.saw), view.flow.id)):
        group = next((group for group in groups if _together(group[0], view)), None)
        if group is None:
            groups.append([view])
        else:
            group.append(view)
    return groups


def _together(one: View, other: View) -> bool:
    """Whether they saw mostly the same of what both could see."""
    both = one.could & other.could
    either = (one.saw | other.saw) & both
    return len(either) >= LEAST_STALLS and len(one.saw & other.saw) >= TOGETHER * len(either)


def _is_common(number: int, group: Sequence[View]) -> bool:
    able = [view for view in group if number in view.could]
    return sum(number in view.saw for view in able) >= TOGETHER * len(able) > 0


def _is_apart(view: View, stalls: frozenset[int]) -> bool:
    able = view.could & stalls
    return len(able) >= LEAST_STALLS and len(view.saw & able) <= APART * len(able)


def _differ_in_port_alone(group: Sequence[View], beside: Sequence[Flow]) -> bool:
    """Whether another TCP flow of one of these pairs passes: neither the path of the pair nor the host as a whole stalls."""
    pairs = {view.flow.source for view in group}
    return any(flow.protocol != "icmp" and flow.source in pairs for flow in beside)


def _numbers(host: str, inside: Sequence[Flow], beside: Sequence[Flow]) -> tuple[int, ...]:
    """The queues that these flows reach and none of the others does; none where the card does not show it, or contradicts."""
    reached = [dict(flow.queues).get(host) for flow in inside]
    others = {dict(flow.queues).get(host) for flow in beside}
    known = {queue for queue in reached if queue is not None}
    return tuple(sorted(known)) if None not in reached and not known & others else ()


def _ports(flows: Iterable[Flow]) -> str:
    by_source: dict[str, list[int]] = defaultdict(list)
    for flow in flows:
        if flow.source_port is not None:
            by_source[flow.source].append(flow.source_port)
    parts = [
        f"source port{'s' * (len(ports) > 1)} {and_more([str(port) for port in sorted(ports)], PORTS_SHOWN)} of {source}"
        for source, ports in sorted(by_source.items())
    ]
    return and_more(parts, SOURCES_SHOWN) if parts else "these flows"
