# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to blame: the few components that explain the events best.

Each component of a flow with events is a hypothesis. Its case is a log-likelihood ratio against "these are unrelated hiccups": a
stall of a component shows on the flows that pass it and could have seen it, hardly ever elsewhere at the same time. A flow that
should have seen it and did not speaks against; one more flow that saw it speaks for; a component that stalls more often than
flows have events at large gains by that, too. The best case is taken, what it explains is set aside, and the rest is judged
again (greedy minimal cover), as long as a case is worth its own cost. What is left, and what two hosts explain equally well, is
unknown.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

from ansible_collections.fleet.stall.plugins.plugin_utils.network import Network, Timeline, kind, name
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall, coincide, join, one_at_a_time, same_stall

# A flow that passes a stalling component and could see it does so
SEEN = 0.9
# Chance that a flow has an unrelated event at a given moment: bounds for what is estimated from the events themselves
LEAST_NOISE, MOST_NOISE = 0.01, 0.1
LEAST_EVENTS_PER_FLOW = 0.02
# A flow that saw a stall had some chance to, however long its interval
LEAST_CHANCE = 0.1
# Natural-log units: what any further component costs beyond the number of components it is picked from, and more for the rarer kinds
COST = 4.0
KIND_COST = {"host": 0.0, "queue": 0.5, "source": 0.5, "nat": 1.0, "overlay": 1.0, "app": 1.0, "backend": 1.0}
KIND_COST |= {"path": 2.0, "pair": 3.0, "fleet": 4.0}
# Only these can stall for some of their flows and not for others at the same time (other queues, other links)
PARTIAL = ("host", "overlay", "app", "backend", "path", "pair")
PARTIAL_COST = 1.0
# Part of a component that stalls shows on the plainest probes that pass it, too; what shows on these layers alone is somebody else's
ONLY_OF_OTHERS = {"host": {"nodeport", "http"}, "path": {"nodeport", "http"}, "overlay": {"http"}}
LEAST_PATH_SHARE = 0.15
# Two explanations closer than this can't be told apart (odds of about 20 to 1)
MARGIN = 3.0
SAME_EVENTS = 0.8
ROUNDS = 3


# (flows, chance of each to see the stall): of those that saw it, of those that did not
Views = tuple[list[tuple[int, float]], list[tuple[int, float]]]


@dataclass(slots=True)
class Case:
    """What a component explains and how well."""

    component: str
    gain: float
    partial: bool = False
    stalls: list[Stall] = field(default_factory=list)
    by_event: dict[Event, float] = field(default_factory=dict)


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
        self.blamed: list[Blamed] = []
        self.undecided: list[Blamed] = []
        self.refused: set[str] = set()
        self.base_cost = COST + log(max(1, len(self.timeline.events)))
        self.cases: dict[str, Case] = {}

    def sit(self) -> bool:
        """One round: weigh the noise by what is open, then take the best case until none is worth its cost. Whether anything was taken."""
        still_open = [event for event in self.events if event not in self.closed]
        if not still_open:
            return False
        flows = len(self.network.flows)
        busy = sum(event.end_ns - event.possible_ns for event in still_open) / (flows * self.window_ns)
        self.noise = min(max(busy, LEAST_NOISE), MOST_NOISE)
        self.events_per_flow = max(len(still_open) / flows, LEAST_EVENTS_PER_FLOW)
        self.cases = {component: self._case(component) for component in self.timeline.events if component not in self.refused}
        heap = [(-case.gain, component) for component, case in self.cases.items() if case.gain > 0]
        heapq.heapify(heap)
        taken = False
        while heap:
            before, component = heapq.heappop(heap)
            case = self.cases[component] = self._case(component)
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

    def _case(self, component: str) -> Case:
        """The better of "all that pass it stall" and "some of them do"."""
        stalls = join([event for event in self.timeline.events[component] if event not in self.closed])
        views = [self._views(component, stall) for stall in stalls]
        cost = self.base_cost + KIND_COST[kind(component)]
        best = self._weigh(component, stalls, [self._ratio(SEEN, view) for view in views], cost)
        if kind(component) in PARTIAL:
            shares = [self._partial(component, stall, view) for stall, view in zip(stalls, views, strict=True)]
            partial = self._weigh(component, stalls, shares, cost + PARTIAL_COST)
            if partial.gain > best.gain:
                partial.partial = True
                return partial
        return best

    def _views(self, component: str, stall: Stall) -> Views:
        """The component's flows that saw the stall and those that did not, each with its chance to see it."""
        seen = {event.flow for event in stall.events}
        apart = seen | self.timeline.showing(component, stall.start_ns, stall.end_ns)
        intervals = Counter(self.network.flows[flow].interval_ns for flow in seen)
        missed = self.network.unaffected(component, stall.start_ns, stall.end_ns, apart)
        chance = {interval: self.network.visibility(interval, stall.length_ns) for interval in (*intervals, *missed)}
        return (
            [(flows, max(chance[interval], LEAST_CHANCE)) for interval, flows in intervals.items()],
            [(flows, chance[interval]) for interval, flows in missed.items() if flows > 0 and chance[interval] > 0],
        )

    def _partial(self, component: str, stall: Stall, views: Views) -> float:
        seen, missed = views
        share = min(SEEN, (sum(flows for flows, _ in seen) + 0.5) / (sum(flows * chance for flows, chance in (*seen, *missed)) + 1))
        if kind(component) == "path":
            sources = {self.network.flows[event.flow].source for event in stall.events}
            targets = {self.network.flows[event.flow].target for event in stall.events}
            if share < LEAST_PATH_SHARE or len(sources) < 2 or len(targets) < 2:
                return -self.base_cost
        if {self.network.flows[event.flow].layer for event in stall.events} <= ONLY_OF_OTHERS.get(kind(component), set()):
            return -self.base_cost
        return self._ratio(share, views) - PARTIAL_COST

    def _ratio(self, share: float, views: Views) -> float:
        """That there is an event at all is as likely either way; the further flows are what speaks."""
        seen, missed = views
        speaking = sum(flows * log(max(share * chance / self.noise, 1.0)) for flows, chance in seen)
        best = max(chance for _, chance in seen)
        against = sum(flows * log((1 - share * chance) / (1 - self.noise)) for flows, chance in missed)
        return speaking - log(max(share * best / self.noise, 1.0)) + log(share * best) + min(0.0, against)

    def _weigh(self, component: str, stalls: list[Stall], gains: list[float], cost: float) -> Case:
        """Take the stalls that the component explains better than noise does, given how often it then has one."""
        count = len(stalls)
        kept: list[int] = []
        for _ in range(2):
            bonus = log(max(count, 1) / self.events_per_flow) - 1
            kept = [index for index, gain in enumerate(gains) if gain + bonus > 0]
            count = len(kept)
        bonus = log(max(count, 1) / self.events_per_flow) - 1
        by_event = {event: gains[index] + bonus for index in kept for event in stalls[index].events}
        total = sum(gains[index] + bonus for index in kept) - cost
        return Case(component, total if kept else -cost, stalls=[stalls[index] for index in kept], by_event=by_event)

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
        return bool(rival) and rival.gain > 0 and not rival.partial and rival.by_event.get(event, 0) > enough

    def _leave_to_its_host(self, case: Case) -> None:
        """Leave to a host that is blamed already what seems late of all it sends: its replies wait where probes to it do.

        Those are the stalls it is blamed for, as its own probes saw them, and further ones that it explains as well at no further cost.
        """
        host = f"host:{name(case.component)}"
        known = next((blamed for blamed in self.blamed if blamed.component == host), None)
        if known is None:
            return
        apart = [stall for stall in case.stalls if not any(coincide(stall, other) for other in known.stalls)]
        gain = sum(case.by_event[stall.events[0]] for stall in apart) - self.base_cost - KIND_COST["source"]
        if sum(self._ratio(SEEN, self._views(host, stall)) for stall in apart) >= gain:
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
            if count >= SAME_EVENTS * len(events) and self._case(component).gain + KIND_COST[kind(component)] >= least:
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
