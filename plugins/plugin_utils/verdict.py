# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blamed component in words: side, layer, confidence, and what was ruled out by which flow, as an engineer would say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils.blame import Blamed, owner
from ansible_collections.fleet.stall.plugins.plugin_utils.network import Flow, Network, Timeline, kind, name
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

SIDES = {
    "host": ("receiver", "node"),
    "queue": ("receiver", "node"),
    "nat": ("receiver", "nodeport"),
    "overlay": ("receiver", "overlay"),
    "source": ("sender", "node"),
    "app": ("application", "http"),
}
SURE_STALLS = 3
# Stalls looked at for a flow that shows nothing: the longest are the hardest to miss
STALLS_LOOKED_AT = 20
# A component that more flows pass is not asked about: its flows at the hosts concerned are
FLOWS_ASKED = 500
KERNEL_PROTOCOLS = ("icmp", "tcp_syn")
ADDRESS_LAYERS = ("node", "outside")


def confidence(blamed: Blamed, network: Network) -> str:
    """``high``: at least three stalls, seen by two or more other hosts, and nothing else explains them as well; ``low``: seen by one other
    host only, or another explanation is about as good (a path that leads nowhere else only makes it ``medium``, and so does it if probes
    were only lost and none was late: what stalls drains in the end, and bursts of loss look the same)."""
    events = blamed.events()
    flows = [network.flows[event.flow] for event in events]
    others = {end for flow in flows for end in flow.ends()} - {owner(blamed.component)}
    rivals = {kind(rival) for rival in blamed.rivals if owner(rival) != owner(blamed.component)}
    if blamed.kind == "app":
        rivals.discard("pair")
    if len(others) < 2 or rivals - {"path"}:
        return "low"
    any_late = any(event.lost < event.packets for event in events)
    return "high" if len(blamed.stalls) >= SURE_STALLS and not rivals and any_late else "medium"


def worst(blamed: Iterable[Blamed]) -> Blamed:
    """The one with the most stalled time."""
    return max(blamed, key=lambda one: sum(stall.length_ns for stall in one.stalls))


def describe(flow: Flow) -> str:
    """A flow for a sentence: ``node-a1-1 from outside-1, icmp``."""
    way = flow.protocol if flow.layer in ADDRESS_LAYERS else f"{flow.layer} {flow.protocol}"
    return f"{flow.target} from {flow.source}, {way}"


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Flows that saw the stalls of a component, most often first, and those that should have seen most of them and saw none."""

    saw: list[Flow]
    quiet: list[Flow]

    def seen_by(self, which: Callable[[Flow], bool]) -> Flow | None:
        return next((flow for flow in self.saw if which(flow)), None)

    def not_seen_by(self, which: Callable[[Flow], bool]) -> Flow | None:
        return next((flow for flow in self.quiet if which(flow)), None)


def witnesses(blamed: Blamed, network: Network, timeline: Timeline, around: Iterable[str]) -> Witnesses:
    """:param around: components whose flows are asked whether they saw anything"""
    saw = Counter(event.flow for event in blamed.events())
    looked_at = sorted(blamed.stalls, key=lambda stall: (-stall.length_ns, stall.start_ns))[:STALLS_LOOKED_AT]
    quiet: Counter[int] = Counter()
    for component in dict.fromkeys(around):
        here: Counter[int] = Counter()
        for stall in looked_at:
            showing = timeline.showing(component, stall.start_ns, stall.end_ns)
            here.update(flow.id for flow in network.witnesses(component, stall.start_ns, stall.end_ns, showing))
        quiet |= here
    never = [flow_id for flow_id, count in quiet.items() if flow_id not in saw and 2 * count >= len(looked_at)]
    return Witnesses(
        [network.flows[flow_id] for flow_id, _ in sorted(saw.items(), key=lambda item: (-item[1], item[0]))],
        [network.flows[flow_id] for flow_id in sorted(never, key=lambda flow_id: (-quiet[flow_id], flow_id))],
    )


def ruled_out(blamed: Blamed, network: Network, timeline: Timeline) -> list[dict[str, str]]:
    """``[{what, because}]``: each step of the elimination that the flows allow, none that they do not."""
    passing = Counter(component for event in blamed.events() for component in network.flows[event.flow].components)
    around = [component for component in sorted(passing) if len(network.covered[component]) <= FLOWS_ASKED]
    seen = witnesses(blamed, network, timeline, around)
    found = {
        "sender": _sender(blamed, seen),
        "receiver": _receiver(blamed, seen),
        "nat": _layer(blamed, seen, "nat", "the node address stalls as well", "the NodePort answers at those times"),
        "overlay": _layer(blamed, seen, "overlay", "the node address stalls as well", "the overlay answers at those times"),
        "path": _path(blamed, seen, network),
        "application": _application(blamed, seen),
    }
    return [{"what": what, "because": because} for what, because in found.items() if because]


def _sender(blamed: Blamed, seen: Witnesses) -> str | None:
    if blamed.kind == "source":
        return None
    host = owner(blamed.component)
    sources = sorted({flow.source for flow in seen.saw if flow.source != host and (flow.target == host or blamed.kind == "app")})
    if len(sources) > 1:
        return f"{and_more(sources, 3)} all see it" if len(sources) > 2 else f"{sources[0]} and {sources[1]} both see it"
    if len(sources) == 1 and (other := seen.not_seen_by(lambda flow: flow.source == sources[0] and host not in flow.ends())):
        return f"{sources[0]} reaches {other.target} without a stall at those times ({describe(other)})"
    return None


def _receiver(blamed: Blamed, seen: Witnesses) -> str | None:
    """For what is not a host's whole receive path: an address that answers at those times."""
    if blamed.kind in ("host", "queue"):
        return None
    plain = (flow for flow in seen.quiet if flow.layer in ADDRESS_LAYERS)
    if blamed.kind == "source":
        targets = {flow.target for flow in seen.saw}
        other = next((flow for flow in plain if flow.target in targets and flow.source != blamed.name), None)
        return f"{other.target} answers others without a stall at those times ({describe(other)})" if other else None
    targets = {blamed.name} if blamed.kind in ("nat", "overlay") else {flow.target for flow in seen.saw}
    other = next((flow for flow in plain if flow.target in targets), None)
    return f"the node address answers at those times ({describe(other)})" if other else None


def _layer(blamed: Blamed, seen: Witnesses, what: str, without: str, quiet: str) -> str | None:
    if blamed.kind == what:
        return None
    if flow := seen.seen_by(lambda flow: flow.layer in ADDRESS_LAYERS and _is_at(blamed, flow)):
        return f"{without} ({describe(flow)})"
    if flow := seen.seen_by(lambda flow: not any(kind(component) == what for component in flow.components)):
        return f"what does not pass it stalls as well ({describe(flow)})"
    layer = "nodeport" if what == "nat" else "overlay"
    if flow := seen.not_seen_by(lambda flow: flow.layer == layer and (blamed.kind == "app" or owner(blamed.component) in flow.ends())):
        return f"{quiet} ({describe(flow)})"
    return None


def _is_at(blamed: Blamed, flow: Flow) -> bool:
    """Whether the flow probes what is blamed, or is sent by it where that is its fault."""
    return (flow.source if blamed.kind == "source" else flow.target) == owner(blamed.component)


def _path(blamed: Blamed, seen: Witnesses, network: Network) -> str | None:
    """The finest failure domain of the host first: a host is told from the way to it by a neighbour."""
    groups = network.domains_of(owner(blamed.component)) or _groups_all_cross(seen)
    if because := next((because for group in groups if (because := _crossing(blamed, seen, group))), None):
        return because
    for flow in seen.saw:
        if not any(kind(component) == "path" and component in seen.saw[0].components for component in flow.components):
            return f"flows with no path in common stall together ({describe(seen.saw[0])}; {describe(flow)})"
    return None


def _crossing(blamed: Blamed, seen: Witnesses, group: str) -> str | None:
    path = f"path:{group}"
    if flow := seen.seen_by(lambda flow: path not in flow.components and (blamed.kind == "app" or _is_at(blamed, flow))):
        return f"it is seen without crossing {group} as well ({describe(flow)})"
    if flow := seen.not_seen_by(lambda flow: path in flow.components and flow.layer in ADDRESS_LAYERS):
        return f"{group} is crossed without a stall at those times ({describe(flow)})"
    return None


def _groups_all_cross(seen: Witnesses) -> list[str]:
    """Finest first."""
    paths = [path for path in seen.saw[0].components if kind(path) == "path" and all(path in flow.components for flow in seen.saw)]
    return [name(path) for path in reversed(paths)]


def _application(blamed: Blamed, seen: Witnesses) -> str | None:
    if blamed.kind == "app":
        return None
    kernel = [flow for flow in seen.saw if flow.protocol in KERNEL_PROTOCOLS]
    flow = next((flow for flow in kernel if _is_at(blamed, flow)), kernel[0] if kernel else None)
    return f"what the kernel answers by itself stalls as well ({describe(flow)})" if flow else None


def coincidence(blamed: Blamed, network: Network, timeline: Timeline) -> str:
    """Why a fault is one that several hosts have in common."""
    flows = [network.flows[event.flow] for event in blamed.events()]
    sources, targets = sorted({flow.source for flow in flows}), sorted({flow.target for flow in flows})
    if blamed.kind == "source":
        receiver = _receiver(blamed, witnesses(blamed, network, timeline, [f"host:{target}" for target in targets]))
        return f"what {blamed.name} sends to {and_more(targets, 3)} stalls at the same times" + (f", while {receiver}" if receiver else "")
    if blamed.kind == "app":
        return (
            f"requests to {blamed.name} through {and_more(targets, 3)} stall at the same times; stall_services does not say where it runs"
        )
    if blamed.kind == "backend":
        return (
            f"what passes its NodePort, through {and_more(targets, 3)}, stalls at the same times; it is not known which host runs it "
            "(backend in stall_services)"
        )
    if blamed.kind == "fleet":
        return f"flows between {and_more(sorted({*sources, *targets}), 5)} all stall at the same times"
    ends = sorted({end for flow in flows for end in flow.ends()})
    inside = witnesses(blamed, network, timeline, [f"host:{end}" for end in ends])
    quiet = inside.not_seen_by(lambda flow: blamed.component not in flow.components)
    return f"what crosses {blamed.name} stalls at the same times ({describe(flows[0])})" + (
        f", what does not cross it does not ({describe(quiet)})" if quiet else ""
    )
