# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How well one component explains events: the weight of its case.

The case is a log-likelihood ratio against "these are unrelated hiccups": a stall of a component shows on the flows that pass it and
could have seen it, hardly ever elsewhere at the same time. A flow that should have seen it and did not speaks against; one more flow
that saw it speaks for; a component that stalls more often than flows have events at large gains by that, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import log

from ansible_collections.fleet.stall.plugins.plugin_utils.network import Network, Timeline, kind
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall, join

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
# What stalls shows on the plainest probes that pass it, too; what shows on these layers alone is somebody else's
ONLY_OF_OTHERS = {"host": {"nodeport", "http"}, "source": {"nodeport", "http"}, "path": {"nodeport", "http"}, "overlay": {"http"}}
LEAST_PATH_SHARE = 0.15


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


class Scales:
    """Weighs components by the events that are not in `closed`, against the noise that `set` takes from the open ones."""

    def __init__(self, network: Network, timeline: Timeline, closed: AbstractSet[Event]) -> None:
        self.network = network
        self.timeline = timeline
        self.closed = closed
        self.base_cost = COST + log(max(1, len(timeline.events)))
        self.noise, self.events_per_flow = MOST_NOISE, LEAST_EVENTS_PER_FLOW

    def set(self, still_open: Sequence[Event], window_ns: float) -> None:
        """Take the rate of unrelated events from those that are open."""
        flows = len(self.network.flows)
        busy = sum(event.end_ns - event.possible_ns for event in still_open) / (flows * window_ns)
        self.noise = min(max(busy, LEAST_NOISE), MOST_NOISE)
        self.events_per_flow = max(len(still_open) / flows, LEAST_EVENTS_PER_FLOW)

    def cost(self, component: str) -> float:
        """What one more component to blame costs."""
        return self.base_cost + KIND_COST[kind(component)]

    def seen_by_all(self, component: str, stall: Stall) -> float:
        """The weight of one stall if all flows of the component met it."""
        return self._full(component, stall, self._views(component, stall))

    def case(self, component: str) -> Case:
        """The better of "all that pass it stall" and "some of them do"."""
        stalls = join([event for event in self.timeline.events[component] if event not in self.closed])
        views = [self._views(component, stall) for stall in stalls]
        cost = self.cost(component)
        of_all = [self._full(component, stall, view) for stall, view in zip(stalls, views, strict=True)]
        best = self._weigh(component, stalls, of_all, cost)
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

    def _full(self, component: str, stall: Stall, views: Views) -> float:
        if kind(component) in ("host", "source") and self._only_of_others(component, stall):
            return -self.base_cost
        return self._ratio(SEEN, views)

    def _only_of_others(self, component: str, stall: Stall) -> bool:
        """Whether only layers show it that pass others as well, though a plainer one passes the component."""
        others = ONLY_OF_OTHERS.get(kind(component), set())
        shown = {self.network.flows[event.flow].layer for event in stall.events}
        return shown <= others and any(flow.layer not in others for flow in self.network.covered[component])

    def _partial(self, component: str, stall: Stall, views: Views) -> float:
        seen, missed = views
        share = min(SEEN, (sum(flows for flows, _ in seen) + 0.5) / (sum(flows * chance for flows, chance in (*seen, *missed)) + 1))
        if kind(component) == "path":
            sources = {self.network.flows[event.flow].source for event in stall.events}
            targets = {self.network.flows[event.flow].target for event in stall.events}
            if share < LEAST_PATH_SHARE or len(sources) < 2 or len(targets) < 2:
                return -self.base_cost
        if self._only_of_others(component, stall):
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
