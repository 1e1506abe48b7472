# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When to send: the common start, phases on a grid that flows share, absolute due times, the packet budget.

Waking up costs several times what a probe costs, so flows share wake-ups: phases are jittered, but on a grid.
All times are integers in nanoseconds.
"""

import hashlib
import heapq
import time
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

SLOTS = 2
FINEST_GRID_NS = 2500000
GOLDEN = (5**0.5 - 1) / 2
CLOCK_AGREES_S = (-1.0, 60.0)
AWAKE_SHARE = 0.01
SHORTEST_HEAD_START_NS = 30000
LONGEST_HEAD_START_NS = 80000


def _nanoseconds(name: str) -> Any:
    in_ns = getattr(time, name + "_ns", None)  # Python 3.7
    in_s = getattr(time, name)
    return in_ns or (lambda: int(in_s() * 1e9))


monotonic_ns = _nanoseconds("monotonic")
wall_ns = _nanoseconds("time")


class Window(NamedTuple):
    """The window in this host's epoch seconds; skew_s is 0 when the host's clock was believed."""

    starts_at: float
    ends_at: float
    skew_s: float


def agree(starts_at: float, ends_at: float, dispatched_at: float, now: float) -> Window:
    """The controller's window, as it is where the clocks agree, else counted from now (docs/ARCHITECTURE.md)."""
    skew = now - dispatched_at
    if CLOCK_AGREES_S[0] <= skew <= CLOCK_AGREES_S[1]:
        return Window(starts_at, ends_at, 0.0)
    return Window(starts_at + skew, ends_at + skew, round(skew, 3))


def _draw(*parts: object) -> int:
    return int(hashlib.sha256("\0".join(map(str, parts)).encode("utf-8")).hexdigest()[:12], 16)


def grid_ns(intervals_ns: Sequence[int]) -> int:
    """Distance between two wake-ups that flows may share."""
    shortest = min(intervals_ns)
    return max(shortest // SLOTS, min(shortest, FINEST_GRID_NS))


class Group(NamedTuple):
    """Flows (by their place in the plan) that are always due together."""

    interval_ns: int
    phase_ns: int
    members: Tuple[int, ...]


def groups(flows: Sequence[Tuple[int, int]], seed: str, host: str) -> List[Group]:
    """Flows as (id, interval_ns) to groups with seeded phases: hosts do not send in step, nor do a host's flows.

    Those of one interval follow each other by the golden section of it, so that few that are neighbours in the plan, as those to one
    target are, leave no larger part of it unwatched than they must (the three-gap theorem).
    """
    if not flows:
        return []
    grid = grid_ns([interval for _id, interval in flows])
    offset = _draw(seed, host) % grid
    members: Dict[Tuple[int, int], List[int]] = {}
    before: Dict[int, int] = {}
    for place, (_flow_id, interval) in enumerate(flows):
        slots = max(1, interval // grid)
        nth = before.setdefault(interval, 0)
        before[interval] += 1
        slot = (_draw(seed, host, interval) % slots + int(nth * GOLDEN % 1 * slots)) % slots
        members.setdefault((interval, offset + slot * grid), []).append(place)
    return [Group(interval, phase, tuple(places)) for (interval, phase), places in sorted(members.items())]


def head_start_ns(planned: Sequence[Group]) -> int:
    """How long before a due time to wake up and wait awake: a sleep ends tens of microseconds late, by a varying amount.

    As much as AWAKE_SHARE of one CPU pays for; 0 where the wake-ups are too many for that to help.
    """
    wakes_per_s = sum(1e9 / group.interval_ns for group in planned)
    affordable = int(AWAKE_SHARE * 1e9 / wakes_per_s) if wakes_per_s else 0
    return min(affordable, LONGEST_HEAD_START_NS) if affordable >= SHORTEST_HEAD_START_NS else 0


class Schedule:
    """Absolute due times of the groups: no drift, and no burst after a delay."""

    def __init__(self, planned: Sequence[Group], start_ns: int) -> None:
        self._groups = list(planned)
        self._heap = [(start_ns + group.phase_ns, place) for place, group in enumerate(planned)]
        heapq.heapify(self._heap)

    def next_due(self) -> int:
        return self._heap[0][0]

    def due(self, now_ns: int) -> List[Tuple[Group, int]]:
        """Groups to send now, each once, with how many of its turns were missed and are not made up for."""
        ready = []
        while self._heap[0][0] <= now_ns:
            due, place = self._heap[0]
            group = self._groups[place]
            missed = (now_ns - due) // group.interval_ns
            heapq.heapreplace(self._heap, (due + (missed + 1) * group.interval_ns, place))
            ready.append((group, missed))
        return ready


class TokenBucket:
    """The packet budget: `rate` per second, a tenth of a second's worth (but `burst` at least) at once."""

    def __init__(self, rate: float, burst: int, now_ns: int) -> None:
        self._per_ns = rate / 1e9
        self._size = max(rate / 10, float(burst))
        self._tokens = self._size
        self._filled_ns = now_ns

    def refill(self, now_ns: int) -> None:
        self._tokens = min(self._size, self._tokens + (now_ns - self._filled_ns) * self._per_ns)
        self._filled_ns = now_ns

    def take(self) -> bool:
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
