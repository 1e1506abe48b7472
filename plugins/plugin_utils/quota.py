# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a control group was out of CPU quota when a service was late, and not just now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from statistics import median
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained

# Throttled time that is this much of the stalled time can account for it
ACCOUNTS = 0.5
# A stall is due to it if it was throttled for so much of it, and all of them if so many are
COVERS, MOST_STALLS = 0.5, 0.7
# What chance does so seldom is not chance; where it was throttled that much of the time, its times say nothing
CHANCE, MOST_OF_THE_TIME = 0.05, 0.5
POSITIONS = 1000
UNMEASURED, UNCLEAR, COINCIDES = range(3)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lack:
    """A group that was out of quota: ``times``, ``spent_ms`` in the window; ``hits`` of the ``watched`` stalls lie in that time.

    ``told``: UNMEASURED: when it was is not known; UNCLEAR: that may be chance; COINCIDES.
    """

    path: str
    times: int
    spent_ms: float
    told: int = UNMEASURED
    hits: int = 0
    watched: int = 0

    def said(self) -> str:
        """How its times and those of the stalls compare."""
        if self.told == UNMEASURED:
            return "whether it was throttled during the stalls was not measured"
        met = f"it was so in {self.hits} of {self.watched} stalls"
        return f"{met}, more than chance would have it" if self.told == COINCIDES else f"{met}, which may be chance, as often as it was so"


def lack(observe: Mapping[str, Any], capture: Mapping[str, Any], late: Sequence[Explained], within: str | None) -> Lack | None:
    """The group whose lack of quota accounts for the stalls best, if any does; one whose times are others than theirs does not.

    :param observe: observe.json of the capture window, for how much each group was throttled
    :param capture: capture.json, for when
    :param within: the group of the process that serves: only that one and those above it keep it waiting; None: not known, so any may
    """
    stalled_ms = sum(one.stall.length_ns for one in late) / MS
    rows = {row["path"]: row for row in capture.get("throttled") or []}
    grown = [one for one in _grown(observe, within) if one.spent_ms >= ACCOUNTS * stalled_ms]
    told = [known for one in grown if (known := _compared(one, rows.get(one.path), late))]
    return max(told, key=lambda one: (one.told, one.spent_ms, one.path), default=None)


def is_below(cgroup: str, path: str) -> bool:
    """Whether it is that group or one below it; what a process says may begin above the root that is mounted (in a container)."""
    return path == "/" or f"{path}/" in f"{cgroup}/"


def _grown(observe: Mapping[str, Any], within: str | None) -> Iterator[Lack]:
    reader = (observe.get("counters") or {}).get("throttled") or {}
    start, end = ((reader.get(key) or {}).get("groups") or {} for key in ("start", "end"))
    for path, now in end.items():
        if within is None or is_below(within, path):
            before = start.get(path) or {}
            spent_ms = (now["throttled_us"] - before.get("throttled_us", 0)) / 1000
            yield Lack(path, now["throttled"] - before.get("throttled", 0), spent_ms)


def _compared(one: Lack, row: Mapping[str, Any] | None, late: Sequence[Explained]) -> Lack | None:
    """None if it was throttled at other times than those of the stalls."""
    if row is None:
        return one
    (began, ended), spans = row["polled"], [(start, end) for start, end in row["spans"]]
    stalls = [(stall.start_ns, stall.drain_ns) for stall in late if began <= stall.start_ns and stall.drain_ns <= ended]
    if not stalls:
        return one
    hits = sum(_is_covered(stall, spans) for stall in stalls)
    if hits < MOST_STALLS * len(stalls):
        return None
    chance = _chance(round(median(end - start for start, end in stalls)), (began, ended), spans)
    unclear = chance > MOST_OF_THE_TIME or at_least(hits, len(stalls), chance) >= CHANCE
    return Lack(one.path, one.times, one.spent_ms, UNCLEAR if unclear else COINCIDES, hits, len(stalls))


def _is_covered(stall: Span, spans: Sequence[Span]) -> bool:
    covered = sum(max(0, min(stall[1], end) - max(stall[0], start)) for start, end in spans)
    return covered >= COVERS * (stall[1] - stall[0])


def _chance(length_ns: int, polled: Span, spans: Sequence[Span]) -> float:
    """How likely a stall of this length is covered that begins whenever it may."""
    room = max(0, polled[1] - polled[0] - length_ns)
    starts = [polled[0] + room * number // POSITIONS for number in range(POSITIONS)]
    return sum(_is_covered((start, start + length_ns), spans) for start in starts) / POSITIONS


def at_least(hits: int, of: int, chance: float) -> float:
    """How likely at least so many of them are hit, each with that chance: the upper tail of the binomial distribution."""
    if hits <= 0 or chance >= 1:
        return 1.0
    if chance <= 0:
        return 0.0
    terms = (
        lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) + k * log(chance) + (of - k) * log(1 - chance) for k in range(hits, of + 1)
    )
    return min(1.0, sum(map(exp, terms)))
