# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fleet's flows can tell about each component: who passes it, who could have seen a stall of it, and who did.

Components beyond those of the manifest: ``queue:X/Q`` (one receive queue of X, where the card's hash is known) and ``pair:S>T``
(something between S and T alone: the explanation of what only one pair sees, so that nobody else is blamed for it).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils.queues import Card
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, Event, merge
from ansible_collections.fleet.stall.plugins.plugin_utils.tally import is_refused

# A flow is named as a witness only if its probes were more likely than not to have met the stall
LIKELY = 0.5


def kind(component: str) -> str:
    return component.partition(":")[0]


def name(component: str) -> str:
    return component.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that was answered, as far as blame looks at it."""

    id: int
    source: str
    target: str
    layer: str
    protocol: str
    interval_ns: int
    components: tuple[str, ...]
    queues: tuple[tuple[str, int], ...]
    source_port: int | None = None

    def ends(self) -> set[str]:
        return {self.source, self.target}


class Network:
    """The answered flows by component, and when each source was in no state to see a stall."""

    def __init__(
        self,
        flows: Iterable[Flow],
        threshold_ms: float,
        blind: Mapping[str, Sequence[tuple[int, int]]],
        silent: Iterable[int],
        domains: Mapping[str, Sequence[str]],
    ) -> None:
        """
        :param blind: source -> spans (nanoseconds, common base) in which it did not observe
        :param silent: flows whose silence says nothing, as they left events out
        :param domains: host -> the failure-domain groups it is in, finest first
        """
        self._domains = domains
        self.flows = {flow.id: flow for flow in flows}
        self.threshold_ns = round(threshold_ms * MS)
        self.covered: dict[str, list[Flow]] = defaultdict(list)
        self.intervals: dict[str, Counter[int]] = defaultdict(Counter)
        self._blind = {source: merge(spans) for source, spans in blind.items() if spans}
        self._any_blind = merge(span for spans in self._blind.values() for span in spans)
        self._blind_flows: dict[str, dict[str, list[Flow]]] = defaultdict(lambda: defaultdict(list))
        silent = set(silent)
        for flow in self.flows.values():
            for component in flow.components:
                self.covered[component].append(flow)
                if flow.id in silent:
                    continue
                self.intervals[component][flow.interval_ns] += 1
                if flow.source in self._blind:
                    self._blind_flows[component][flow.source].append(flow)
        self._silent = silent

    def visibility(self, interval_ns: int, length_ns: int) -> float:
        """The chance that a flow of this interval shows a stall of this length: a probe must be sent a threshold before its end."""
        return min(1.0, max(0.0, (length_ns - self.threshold_ns) / interval_ns))

    def unaffected(self, component: str, start_ns: int, end_ns: int, apart: set[int]) -> Counter[int]:
        """By interval, how many flows of the component observed at that time and showed nothing; ``apart``: flows that showed something."""
        found = Counter(self.intervals[component])
        for flow_id in apart:
            if flow_id not in self._silent:
                found[self.flows[flow_id].interval_ns] -= 1
        if not _meets(self._any_blind, start_ns, end_ns):
            return found
        for source, flows in self._blind_flows.get(component, {}).items():
            if self.is_blind(source, start_ns, end_ns):
                for flow in flows:
                    if flow.id not in apart:
                        found[flow.interval_ns] -= 1
        return found

    def witnesses(self, component: str, start_ns: int, end_ns: int, apart: set[int]) -> list[Flow]:
        """The flows that most likely would have shown a stall then and did not."""
        return [
            flow
            for flow in self.covered[component]
            if flow.id not in apart
            and flow.id not in self._silent
            and self.visibility(flow.interval_ns, end_ns - start_ns) >= LIKELY
            and not self.is_blind(flow.source, start_ns, end_ns)
        ]

    def domains_of(self, host: str) -> Sequence[str]:
        """The failure domains the host is in, finest first."""
        return self._domains.get(host, ())

    def is_blind(self, source: str, start_ns: int, end_ns: int) -> bool:
        return _meets(self._blind.get(source, []), start_ns, end_ns)


def _meets(spans: Sequence[tuple[int, int]], start_ns: int, end_ns: int) -> bool:
    """Whether any of these disjoint, ordered spans overlaps the time."""
    at = bisect_left(spans, (end_ns, end_ns))
    return at > 0 and spans[at - 1][1] > start_ns


class Timeline:
    """Events of each component by start, to ask which flows showed something at a time."""

    def __init__(self, network: Network, events: Iterable[Event]) -> None:
        self.events: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            for component in network.flows[event.flow].components:
                # What left the source late was not held up on the way
                if not event.late_send or kind(component) in ("source", "fleet"):
                    self.events[component].append(event)
        self._starts = {component: [event.start_ns for event in found] for component, found in self.events.items()}
        self._longest = {component: max(event.length_ns for event in found) for component, found in self.events.items()}

    def overlapping(self, component: str, start_ns: int, end_ns: int) -> list[Event]:
        """The component's events that overlap this time."""
        starts = self._starts.get(component)
        if not starts:
            return []
        first = bisect_right(starts, start_ns - self._longest[component])
        candidates = self.events[component][first : bisect_left(starts, end_ns)]
        return [event for event in candidates if event.end_ns > start_ns]

    def showing(self, component: str, start_ns: int, end_ns: int) -> set[int]:
        """Ids of the component's flows with an event that overlaps this time."""
        return {event.flow for event in self.overlapping(component, start_ns, end_ns)}


def network(
    manifest: Mapping,
    evidence: Mapping[str, Mapping],
    offsets: Mapping[str, int],
    cards: Mapping[str, Card],
    unreliable: Container[int] = (),
) -> Network:
    """The answered flows of a run.

    :param evidence: host -> result of those whose status is measured
    :param offsets: host -> nanoseconds its clock is ahead of the common base
    :param cards: host -> its receive queues, for those that are known
    :param unreliable: flows (by id) whose silence says nothing, beside those that left events out
    """
    by_id = {flow["id"]: flow for flow in manifest["flows"]}
    flows, silent, blind = [], [], {}
    for host in sorted(evidence):
        result = evidence[host]
        blind[host] = _blind_spans(result, offsets.get(host, 0))
        for measured in result.get("flows") or []:
            planned = by_id.get(measured["id"])
            if planned is None or planned["source"] != host or not measured["received"] or is_refused(planned, measured):
                continue
            flows.append(_flow(planned, measured, cards))
            if measured.get("events_omitted") or measured["id"] in unreliable:
                silent.append(measured["id"])
    domains = {host: list(reversed(described["domains"].values())) for host, described in manifest["hosts"].items()}
    return Network(flows, manifest["run"]["parameters"]["threshold_ms"], blind, silent, domains)


def _blind_spans(result: Mapping, offset: int) -> list[tuple[int, int]]:
    clock = result.get("clock") or {}
    late = (result.get("lateness") or {}).get("late") or []
    spans = [(start - offset, start - offset + round(duration_ms * MS)) for start, duration_ms in late]
    if clock.get("started_ns") and clock.get("ended_ns"):
        spans += [(0, clock["started_ns"] - offset), (clock["ended_ns"] - offset, 1 << 63)]
    return spans


def _flow(planned: Mapping, measured: Mapping, cards: Mapping[str, Card]) -> Flow:
    source, target = planned["source"], planned["target"]
    reached = queues_of(planned, measured, cards)
    several = tuple(f"queue:{host}/{queue}" for host, queue in reached if cards[host].total != 1)
    return Flow(
        id=planned["id"],
        source=source,
        target=target,
        layer=planned["layer"],
        protocol=planned["protocol"],
        interval_ns=round(planned["interval_ms"] * MS),
        components=(*planned["components"], *several, f"pair:{source}>{target}"),
        queues=reached,
        source_port=measured.get("local_port") or planned.get("source_port"),
    )


def queues_of(planned: Mapping, measured: Mapping, cards: Mapping[str, Card]) -> tuple[tuple[str, int], ...]:
    """(host, receive queue) at both ends of a flow, where it can be known: requests at the target, replies at the source."""
    source, target = planned["source"], planned["target"]
    local, remote = measured.get("local_address"), planned["address"]
    port = measured.get("local_port") or planned.get("source_port")
    tcp = planned["protocol"] != "icmp" and port and planned["port"]
    ports = (port, planned["port"]) if tcp else (None, None)
    if planned["protocol"] != "icmp" and not tcp or planned["protocol"] == "http_new" or planned["layer"] == "overlay" or not local:
        # A new port for each request, or a hash over an outer header: only where there is one queue
        found = [(host, 0) for host in (target, source) if host in cards and cards[host].total == 1]
        return tuple(found)
    ends = (
        (target, cards[target].queue(local, remote, *ports) if target in cards else None),
        (source, cards[source].queue(remote, local, *reversed(ports)) if source in cards else None),
    )
    return tuple((host, queue) for host, queue in ends if queue is not None)
