# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The elimination, way by way: was it probed, how many of the host's stalls could it see, how many did it, and what does that tell.

A whole host, its NAT, its overlay or its sending side each leave a pattern of their own over the ways to and from it. One
receive queue leaves one among the flows of a single way: ICMP has no ports, so that a pair's echoes all reach one queue, while
TCP spreads by source port.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils import receive_queue
from ansible_collections.fleet.stall.plugins.plugin_utils.network import Flow, Network, Timeline
from ansible_collections.fleet.stall.plugins.plugin_utils.queues import Card
from ansible_collections.fleet.stall.plugins.plugin_utils.receive_queue import View
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.tally import Tally
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more
from ansible_collections.fleet.stall.plugins.plugin_utils.verdict import ADDRESS_LAYERS, describe

TO_IT = ("outside_to_host", "nodes_to_host")
FROM_IT = ("host_to_outside", "host_to_nodes")
WAYS = (*TO_IT, *FROM_IT, "nodeport", "overlay", "requests")
# The longest are the hardest to miss
STALLS_LOOKED_AT = 200
# A way stalls as well if it saw this share of what it could see, and is quiet if it saw less than the other
MOST, HARDLY = 0.5, 0.1

_NOT_PROBED = {
    "outside_to_host": "no host of stall_outside_group probes it",
    "nodes_to_host": "no node of the cluster probes it",
    "host_to_outside": "it sends no probe to a host of stall_outside_group",
    "host_to_nodes": "it sends no probe to a node of the cluster",
    "nodeport": "no NodePort of it is known to be served (stall_services, stall_kubernetes)",
    "overlay": "it has no known overlay address in common with a source (stall_overlay_address, stall_kubernetes, stall_families)",
    "requests": "no service of it is known (stall_services)",
}
_OF_THE_CLUSTER = ("nodeport", "overlay")


@dataclass(frozen=True, slots=True)
class Way:
    """Flows of one way. ``could``: stalls that one of them or more most likely would have shown; ``saw``: those that one did."""

    name: str
    views: tuple[View, ...] = ()

    @property
    def could(self) -> frozenset[int]:
        return frozenset().union(*(view.could for view in self.views))

    @property
    def saw(self) -> frozenset[int]:
        return frozenset().union(*(view.saw for view in self.views))

    @property
    def stalls(self) -> bool:
        return len(self.saw) >= MOST * len(self.could) > 0

    @property
    def quiet(self) -> bool:
        return bool(self.could) and len(self.saw) <= HARDLY * len(self.could)

    def example(self) -> Flow:
        """The flow that saw most, or where none saw any, could have seen most."""
        return max(self.views, key=lambda view: (len(view.saw), len(view.could), -view.flow.id)).flow


def table(
    host: str,
    stalls: Sequence[Stall],
    network: Network,
    timeline: Timeline,
    outside: Collection[str],
    tally: Tally,
    nodes: Collection[str],
    card: Card,
) -> list[dict]:
    """The ways to and from a host that stalls, then each receive queue that stalls alone.

    :param stalls: of the host, of one kind
    :param outside: the hosts outside the cluster
    :param tally: of the probes to the host
    :param nodes: the hosts known to be nodes of the cluster
    :param card: the host's own
    :return: ``[{way, flows, stalls, seen, sentence}]``: answered flows, stalls that they could see, those of them that they saw
    """
    views = look(host, stalls, network, timeline)
    ways = {name: Way(name, tuple(view for view in views if way_of(view.flow, host, outside) == name)) for name in WAYS}
    unanswered = {_way(flow["source"], flow["target"], flow["layer"], host, outside) for flow in tally.silent}
    rows = [
        {
            "way": name,
            "flows": len(way.views),
            "stalls": len(way.could),
            "seen": len(way.saw),
            "sentence": _sentence(way, ways, nodes, card) if way.views else _unprobed(name, name in unanswered, host in outside, tally),
        }
        for name, way in ways.items()
    ]
    if card.total == 1:
        return rows
    return [*rows, *receive_queue.rows(host, [view for view in views if view.flow.target == host and view.flow.layer in ADDRESS_LAYERS])]


def look(host: str, stalls: Sequence[Stall], network: Network, timeline: Timeline) -> list[View]:
    """What each flow that passes the host could see and saw of these stalls."""
    could: dict[int, set[int]] = {flow.id: set() for flow in network.covered.get(f"host:{host}", [])}
    saw: dict[int, set[int]] = {flow: set() for flow in could}
    longest = sorted(stalls, key=lambda stall: (-stall.length_ns, stall.start_ns))[:STALLS_LOOKED_AT]
    for number, stall in enumerate(longest):
        showing = timeline.showing(f"host:{host}", stall.start_ns, stall.end_ns)
        showing |= timeline.showing(f"source:{host}", stall.start_ns, stall.end_ns)
        for flow in showing & could.keys():
            could[flow].add(number)
            saw[flow].add(number)
        for witness in network.witnesses(f"host:{host}", stall.start_ns, stall.end_ns, showing):
            could[witness.id].add(number)
    return [View(network.flows[flow], frozenset(could[flow]), frozenset(saw[flow])) for flow in sorted(could)]


def way_of(flow: Flow, host: str, outside: Collection[str]) -> str | None:
    """Which way a flow is for this host; None: it passes, but is none of its ways."""
    return _way(flow.source, flow.target, flow.layer, host, outside)


def _way(source: str, target: str, layer: str, host: str, outside: Collection[str]) -> str | None:
    if layer in ADDRESS_LAYERS:
        if target == host:
            return "outside_to_host" if source in outside else "nodes_to_host"
        if source == host:
            return "host_to_outside" if target in outside else "host_to_nodes"
        return None
    if layer == "http":
        return "requests" if source != host else None
    return layer if target == host else None


def _unprobed(way: str, is_unanswered: bool, is_outside: bool, tally: Tally) -> str:
    if is_outside and way in _OF_THE_CLUSTER:
        return "not probed: it is outside the cluster"
    refusal = tally.refusal() if way == "nodeport" else None
    if refusal:
        return f"not probed: {refusal}"
    return "probed, but nothing was answered" if is_unanswered else f"not probed: {_NOT_PROBED[way]}"


def _sentence(way: Way, ways: Mapping[str, Way], nodes: Collection[str], card: Card) -> str:
    if not way.could:
        return "these flows could not have seen them: their probes are too far apart, or their source was not observing then"
    if way.name in FROM_IT:
        return _from_it(way, ways, card)
    if way.name in TO_IT:
        return _to_it(way, ways, nodes)
    return _through(way, ways)


def _to_it(way: Way, ways: Mapping[str, Way], nodes: Collection[str]) -> str:
    shown = describe(way.example())
    if way.stalls:
        if way.name == "outside_to_host":
            return f"stalls from outside the cluster: no other node, no overlay and no NAT is needed ({shown})"
        if way.example().source in nodes:
            return f"stalls from a node, with no NAT and no overlay on the way ({shown})"
        return f"stalls from another host, at its own address: neither NodePort NAT nor the overlay is needed ({shown})"
    if way.quiet:
        is_sender = any(ways[name].stalls for name in FROM_IT) and not any(ways[name].saw for name in TO_IT)
        return f"{'its receive side is ruled out: ' if is_sender else ''}the node address answers on time then ({shown})"
    return _some(way)


def _from_it(way: Way, ways: Mapping[str, Way], card: Card) -> str:
    shown = describe(way.example())
    received = [ways[name] for name in TO_IT if ways[name].stalls]
    if way.quiet:
        targets = and_more(sorted({view.flow.target for view in way.views}), 3)
        if not received:
            return f"what it sends to {targets} is answered on time then ({shown})"
        whole = "" if card.sending == 1 else " as a whole"
        reserve = "" if card.sending == 1 else "; a single transmit queue, or a filter of replies, is not"
        return (
            f"its transmit side{whole} is ruled out{reserve}: probes from it to {targets} are answered on time "
            f"while probes to it stall ({describe(received[0].example())})"
        )
    if not way.stalls:
        return _some(way)
    if received:
        return f"stalls as well; the answers come in through its receive side, so that this does not tell the two sides apart ({shown})"
    return f"what it sends stalls, or the answers to it do ({shown})"


def _through(way: Way, ways: Mapping[str, Way]) -> str:
    """NodePort, overlay or requests: what they have on the way that the node address has not."""
    shown = describe(way.example())
    plain = next((ways[name] for name in TO_IT if ways[name].stalls), None)
    plain_quiet = any(ways[name].quiet for name in TO_IT) and not plain
    if way.quiet:
        return f"answers on time then ({shown})"
    if not way.stalls:
        return _some(way)
    if plain:
        what = {"nodeport": "NAT is", "overlay": "the overlay is", "requests": "the application is"}[way.name]
        if way.name == "nodeport" and ways["overlay"].stalls:
            what = "NAT and overlay are"
        return f"{what} ruled out: the node address stalls as well ({describe(plain.example())})"
    if plain_quiet:
        return f"stalls while the node address answers on time: {_what_differs(way, ways)} ({shown})"
    return f"stalls; nothing tells whether the node address does ({shown})"


def _what_differs(way: Way, ways: Mapping[str, Way]) -> str:
    """The innermost way that stalls is the one that the others lead through."""
    if ways["overlay"].stalls:
        return "the overlay" if way.name == "overlay" else "the overlay on the way"
    if ways["nodeport"].stalls:
        return "the NAT, or what is behind it" if way.name == "nodeport" else "the NAT on the way"
    return "the service"


def _some(way: Way) -> str:
    affected = sum(bool(view.saw) for view in way.views)
    return f"stalls at times: {affected} of {len(way.views)} flows saw any ({describe(way.example())})"
