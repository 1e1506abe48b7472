# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of single flows, put into the common time base and joined into the stalls they are views of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

MS = 1_000_000
# What clocks and the draining of a backlog may differ by between two views of one stall
SLACK_NS = 5 * MS
# Of flows with many views, the earliest start but this many may be another stall's tail
VIEWS_FOR_ROBUST_START = 6


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One flow's view of a stall; times in nanoseconds of the common base.

    ``possible_ns``: the earliest the stall may have begun, one probe interval before the first delayed probe.
    ``late_send``: the kernel's transmit timestamp shows that most of the delay came before the packet left the source.
    """

    flow: int
    start_ns: int
    end_ns: int
    possible_ns: int
    packets: int
    lost: int
    censored: bool
    late_send: bool

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass(slots=True)
class Stall:
    """Views of one stall and what they agree on."""

    start_ns: int
    end_ns: int
    events: list[Event]

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns


def read_events(flows: Mapping[int, Mapping], evidence: Mapping[str, Mapping], offsets: Mapping[str, int]) -> list[Event]:
    """All events of all hosts by start, their times in the common base.

    :param flows: flows of the manifest by id; events of others are left out
    :param evidence: host -> observe.json
    :param offsets: host -> nanoseconds its clock is ahead of the base
    """
    found = []
    for host in sorted(evidence):
        offset = offsets.get(host, 0)
        for measured in evidence[host].get("flows") or []:
            flow = flows.get(measured["id"])
            if flow is None:
                continue
            interval = int(flow["interval_ms"] * MS)
            for event in measured.get("events") or []:
                start = event["start_ns"] - offset
                delay = event.get("tx_delay_ms")
                found.append(
                    Event(
                        flow=measured["id"],
                        start_ns=start,
                        end_ns=start + round(event["duration_ms"] * MS),
                        possible_ns=start - interval,
                        packets=event["packets"],
                        lost=event["lost"],
                        censored=bool(event["censored"]),
                        late_send=delay is not None and delay >= event["duration_ms"] / 2,
                    )
                )
    found.sort(key=lambda event: (event.start_ns, event.end_ns, event.flow))
    return found


def join(events: Sequence[Event]) -> list[Stall]:
    """Group events that are views of one stall; each event ends up in exactly one.

    The longest event leads; it takes those that lie by half within it and cover half of it, or would if their first delayed
    probe had been sent up to an interval earlier. So a short blip inside an outage, or the next stall of a dense series, is not drawn in.

    :param events: sorted by start
    """
    starts = [event.start_ns for event in events]
    taken = [False] * len(events)
    stalls = []
    for lead in sorted(range(len(events)), key=lambda index: (-events[index].length_ns, index)):
        if taken[lead]:
            continue
        leader = events[lead]
        reach = leader.length_ns // 2 + SLACK_NS
        views = []
        for index in range(bisect_left(starts, leader.start_ns - reach), len(events)):
            event = events[index]
            if event.start_ns > leader.end_ns + SLACK_NS:
                break
            if not taken[index] and (index == lead or same_stall(event, leader.start_ns, leader.end_ns)):
                taken[index] = True
                views.append(event)
        stalls.append(_agree(views))
    stalls.sort(key=lambda stall: (stall.start_ns, stall.end_ns))
    return stalls


def same_stall(event: Event, start_ns: int, end_ns: int) -> bool:
    """Whether the event can be a view of a stall of this start and end."""
    last = min(event.end_ns, end_ns)
    within = last - max(event.start_ns, start_ns) + SLACK_NS
    covered = last - max(event.possible_ns, start_ns) + SLACK_NS
    return 2 * within >= event.length_ns and 2 * covered >= end_ns - start_ns


def coincide(one: Stall, other: Stall) -> bool:
    """Whether half of the shorter one lies in the other."""
    common = min(one.end_ns, other.end_ns) - max(one.start_ns, other.start_ns)
    return 2 * common >= min(one.length_ns, other.length_ns)


def one_at_a_time(stalls: Sequence[Stall]) -> list[Stall]:
    """The stalls of what can't stall twice at once: of those that coincide, the one with most views stands for all.

    :param stalls: sorted by start
    """
    found: list[Stall] = []
    for stall in stalls:
        if found and coincide(found[-1], stall):
            most = max(found[-1], stall, key=lambda one: len(one.events))
            found[-1] = Stall(most.start_ns, most.end_ns, [*found[-1].events, *stall.events])
        else:
            found.append(stall)
    return found


def _agree(views: list[Event]) -> Stall:
    """Start: the earliest, as each flow is late by up to its interval. End: the middle one, as all drain at once."""
    starts = sorted(event.start_ns for event in views)
    ends = sorted(event.end_ns for event in views if not event.censored) or sorted(event.end_ns for event in views)
    start = starts[1] if len(starts) >= VIEWS_FOR_ROBUST_START else starts[0]
    return Stall(start, max(median_low(ends), start + 1), views)


def merge(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of intervals as disjoint ones, in order: no time counts twice."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
