# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stalls out of a log of probes, by the project's own definition; where only slow replies are in it, as far as these show them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from ansible_collections.fleet.stall.plugins.module_utils.stalls import Event, StallExtractor, chance_run
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.hping import ICMP, Probes
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS

# A number is missing from a log that was cut or filtered, too: more than this many in a row are no outage
OUTAGE_PROBES = 100_000
# Steps of a sawtooth may differ from the interval by this share of it
STEP = 0.5


@dataclass(frozen=True, slots=True)
class Stall:
    """Times count from the first probe of its series (number 0), on the source's clock.

    ``number``: of the first delayed probe; ``backlog``: how many probes it held back; ``seen``: those of them that are in the log.
    """

    start_ns: int
    duration_ms: float
    number: int
    backlog: int
    seen: int
    lost: int
    censored: bool
    series: int = 0

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(self.duration_ms * MS)


def find(probes: Probes, interval_ms: float, threshold_ms: float) -> list[Stall]:
    """The stalls of a log, by series and time. ``interval_ms`` must be above 0."""
    interval_ns, threshold_ns = max(1, round(interval_ms * MS)), round(threshold_ms * MS)
    floor_ms = min(probes.rtts, default=0.0)
    found = []
    for index, (numbers, rtts) in enumerate(probes.parts()):
        replies = dict(zip(numbers, rtts, strict=True)) if len(set(numbers)) == len(numbers) else _first_of_each(numbers, rtts)
        events = _whole(replies, interval_ns, threshold_ns) if probes.whole else _slow_alone(replies, interval_ns, threshold_ns)
        found += [_stall(event, replies, interval_ns, index, probes, floor_ms) for event in events]
    return found


def _first_of_each(numbers: array, rtts: array) -> dict[int, float]:
    found: dict[int, float] = {}
    for number, rtt in zip(numbers, rtts, strict=True):
        found.setdefault(number, rtt)
    return found


def _whole(replies: dict[int, float], interval_ns: int, threshold_ns: int) -> list[Event]:
    """The baseline is the lower quartile; what is missing was lost."""
    events: list[Event] = []
    ordered = sorted(replies)
    times = sorted(replies.values())
    baseline_ns = round(times[(len(times) - 1) // 4] * MS)
    singles = sum(after - before == 2 for before, after in zip(ordered, ordered[1:], strict=False))
    extractor = StallExtractor(
        threshold_ns, interval_ns, chance_run(ordered[-1] - ordered[0] + 1, singles), lambda event: events.append(event)
    )
    previous = ordered[0] - 1
    for number in ordered:
        if number - previous - 1 <= OUTAGE_PROBES:
            for missing in range(previous + 1, number):
                extractor.lost(missing * interval_ns)
        rtt_ns = round(replies[number] * MS)
        extractor.answered(number * interval_ns, rtt_ns, max(0, rtt_ns - baseline_ns), None)
        previous = number
    extractor.close()
    return events


def _slow_alone(replies: dict[int, float], interval_ns: int, threshold_ns: int) -> list[Event]:
    """The baseline is not in the log: a stall is longer by the path's own round trip. What is missing is not known to be lost."""
    events: list[Event] = []
    extractor = StallExtractor(threshold_ns, interval_ns, 2, events.append)
    for number in sorted(replies):
        rtt_ns = round(replies[number] * MS)
        extractor.answered(number * interval_ns, rtt_ns, rtt_ns, None)
    extractor.close()
    return events


def _stall(event: Event, replies: dict[int, float], interval_ns: int, series: int, probes: Probes, floor_ms: float) -> Stall:
    number = event["start_ns"] // interval_ns
    seen = event["packets"] - event["lost"]
    backlog = event["packets"]
    if not probes.whole and _is_sawtooth([replies.get(number + step) for step in range(seen)], interval_ns / MS, floor_ms, probes.protocol):
        backlog = max(backlog, ceil(event["duration_ms"] * MS / interval_ns - 1e-9))
    return Stall(event["start_ns"], event["duration_ms"], number, backlog, seen, event["lost"], event["censored"], series)


def _is_sawtooth(rtts: Iterable[float | None], interval_ms: float, floor_ms: float, protocol: str | None) -> bool:
    """Whether the replies shown are the top of a backlog that goes on below what the log shows.

    Echoes of a pair of hosts share a receive queue, so that one is enough; SYNs from different ports need not: the next must be held, too.
    """
    shown = list(rtts)
    known = [rtt for rtt in shown if rtt is not None]
    if len(known) < len(shown) or len(known) < (1 if protocol == ICMP else 2):
        return False
    steps = [before - after for before, after in zip(known, known[1:], strict=False)]
    return all(abs(step - interval_ms) <= STEP * interval_ms for step in steps) and known[-1] - interval_ms < floor_ms + interval_ms
