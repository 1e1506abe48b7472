# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to blame: the few components that explain the events best.

Each component of a flow with events is a hypothesis, and weighing.py says how good its case is. The best case is taken, what it
explains is set aside, and the rest is judged again (greedy minimal cover), as long as a case is worth its own cost. What is left,
and what two hosts explain equally well, is unknown.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils.network import Network, Timeline, kind, name
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall, coincide, one_at_a_time, same_stall
from ansible_collections.fleet.stall.plugins.plugin_utils.weighing import KIND_COST, Case, Scales

# Two explanations closer than this can't be told apart (odds of about 20 to 1)
MARGIN = 3.0
SAME_EVENTS = 0.8
ROUNDS = 3


@dataclass(slots=True)
class Blamed:
    """A component and the stalls it is blamed for; ``rivals``: components that explain them about as well."""

    component: str
    stalls: list[Stall]
    partial: bool
    rivals: list[str]

    @property
    def kind(self) -> str:
        return kind(self.component)

    @property
    def name(self) -> str:
        return name(self.component)

    def events(self) -> list[Event]:
        return [event for stall in self.stalls for event in stall.events]


@dataclass(slots=True)
class Verdict:
    """``blamed`` components, best case first; ``undecided``: stalls that one pair alone sees or that several hosts explain equally
    well; ``unexplained``: the other events."""

    blamed: list[Blamed]
    undecided: list[Blamed]
    unexplained: list[Event]


def judge(network: Network, events: Sequence[Event], window_s: float) -> Verdict:
    """Blame components for events.

    :param events: of flows of the network, sorted by start
    :param window_s: how long the flows were observed
    """
    court = _Court(network, events, window_s)
    for _ in range(ROUNDS):
        if not court.sit():
            break
    left = [event for event in events if event not in court.closed]
    return Verdict(court.blamed, court.undecided, left)


class _Court:
    def __init__(self, network: Network, events: Sequence[Event], window_s: float) -> None:
        self.network = network
        self.events = events
        self.window_ns = max(window_s, 0.001) * 1e9
        self.timeline = Timeline(network, events)
        self.closed: set[Event] = set()
        self.scales = Scales(network, self.timeline, self.closed)
        self.blamed: list[Blamed] = []
        self.undecided: list[Blamed] = []
        self.refused: set[str] = set()
        self.cases: dict[str, Case] = {}

    def sit(self) -> bool:
        """One round: weigh the noise by what is open, then take the best case until none is worth its cost. Whether anything was taken."""
        still_open = [event for event in self.events if event not in self.closed]
        if not still_open:
            return False
        self.scales.set(still_open, self.window_ns)
        self.cases = {component: self.scales.case(component) for component in self.timeline.events if component not in self.refused}
        heap = [(-case.gain, component) for component, case in self.cases.items() if case.gain > 0]
        heapq.heapify(heap)
        taken = False
        while heap:
            before, component = heapq.heappop(heap)
            case = self.cases[component] = self.scales.case(component)
            if case.gain <= 0:
                continue
            if heap and -case.gain > heap[0][0] and case.gain < -before:
                heapq.heappush(heap, (-case.gain, component))
            elif kind(component) == "path" and self._stalls_within(case):
                self.refused.add(component)
                self.cases.pop(component)
            else:
                taken = self._take(case) or taken
        return taken

    def _take(self, case: Case) -> bool:
        case.stalls = [stall for stall in case.stalls if not self._better_elsewhere(case, stall)]
        if kind(case.component) == "source":
            self._leave_to_its_host(case)
        if not case.stalls:
            return False
        if not case.partial:
            case.stalls = one_at_a_time(case.stalls)
        rivals = self._rivals(case)
        component = case.component
        taken = Blamed(component, case.stalls, case.partial, rivals)
        if kind(component) == "host" and not case.partial and not self._reached(case):
            taken.component = f"source:{taken.name}"
        self._close(case)
        of_others = [rival for rival in rivals if kind(rival) in ("host", "source", "queue") and owner(rival) != owner(component)]
        if kind(component) == "pair" or (of_others and kind(component) in ("host", "source", "queue")):
            self.undecided.append(taken)
        else:
            self.blamed.append(taken)
        return True

    def _better_elsewhere(self, case: Case, stall: Stall) -> bool:
        """Whether another component explains it in full and far better: what all of its views pass or, for a component that stalls
        in part and so fits anything, what one of them passes."""
        enough = case.by_event[stall.events[0]] + MARGIN
        better = Counter(
            component
            for event in stall.events
            for component in self.network.flows[event.flow].components
            if component != case.component and self._explains(component, event, enough)
        )
        return any(case.partial or count == len(stall.events) for count in better.values())

    def _explains(self, component: str, event: Event, enough: float) -> bool:
        rival = self.cases.get(component)
        return rival is not None and rival.gain > 0 and not rival.partial and rival.by_event.get(event, 0) > enough

    def _leave_to_its_host(self, case: Case) -> None:
        """Leave to a host that is blamed already what seems late of all it sends: its replies wait where probes to it do.

        Those are the stalls it is blamed for, as its own probes saw them, and further ones that it explains as well at no further cost.
        """
        host = f"host:{name(case.component)}"
        known = next((blamed for blamed in self.blamed if blamed.component == host), None)
        if known is None:
            return
        apart = [stall for stall in case.stalls if not any(coincide(stall, other) for other in known.stalls)]
        gain = sum(case.by_event[stall.events[0]] for stall in apart) - self.scales.cost(case.component)
        if sum(self.scales.seen_by_all(host, stall) for stall in apart) >= gain:
            known.stalls += apart
            apart = []
        kept = {event for stall in apart for event in stall.events}
        self.closed.update(event for stall in case.stalls for event in stall.events if event not in kept)
        case.stalls = apart

    def _rivals(self, case: Case) -> list[str]:
        """Other components that nearly all of these events pass and whose case is about as good."""
        events = [event for stall in case.stalls for event in stall.events]
        passing = Counter(component for event in events for component in self.network.flows[event.flow].components)
        least = case.gain + KIND_COST[kind(case.component)] - MARGIN
        found = []
        for component, count in sorted(passing.items()):
            before = self.cases.get(component)
            # Cases only get worse as events are set aside: what was too weak before still is
            if before is None or component == case.component or before.gain + KIND_COST[kind(component)] < least:
                continue
            if count >= SAME_EVENTS * len(events) and self.scales.case(component).gain + KIND_COST[kind(component)] >= least:
                found.append(component)
        return found

    def _reached(self, case: Case) -> bool:
        """Whether any probe to the host, not only from it, saw its stalls: else it can't be told that it is the receiver."""
        host = name(case.component)
        flows = (self.network.flows[event.flow] for stall in case.stalls for event in stall.events)
        return any(flow.target == host or flow.source != host for flow in flows)

    def _stalls_within(self, case: Case) -> bool:
        """Whether flows that stay on one side of a path stall as well: then it is the hosts on that side."""
        tally = {True: 0, False: 0}
        for stall in case.stalls:
            hosts = {end for event in stall.events for end in self.network.flows[event.flow].ends()}
            for host in hosts:
                around, inside = f"host:{host}", name(case.component) in self.network.domains_of(host)
                showing = self.timeline.showing(around, stall.start_ns, stall.end_ns)
                for flow in self.network.witnesses(around, stall.start_ns, stall.end_ns, set()):
                    if flow.source == host and flow.target in hosts and case.component not in flow.components:
                        tally[inside] += 1 if flow.id in showing else -1
        return max(tally.values()) > 0

    def _close(self, case: Case) -> None:
        """Set aside what is explained: the views, and shorter glimpses of the same stalls on the component's flows."""
        self.closed.update(event for stall in case.stalls for event in stall.events)
        for stall in case.stalls:
            for event in self.timeline.overlapping(case.component, stall.start_ns, stall.end_ns):
                inside = min(event.end_ns, stall.end_ns) - max(event.start_ns, stall.start_ns)
                if same_stall(event, stall.start_ns, stall.end_ns) or 2 * inside >= event.length_ns:
                    self.closed.add(event)


def owner(component: str) -> str:
    """The host a component belongs to, or its own name."""
    return name(component).rpartition("/")[0] if kind(component) == "queue" else name(component)
