# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Own lateness: how much later than planned the prober ran, and which stall events that explains."""

from collections import deque
from typing import Any, Deque, Dict, List, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.histogram import Histogram

LATE_NS = 5000000  # from here on a wake-up is listed
LISTED = 200
REMEMBERED = 1000

Span = Tuple[int, int]


def uncovered(start_ns: int, end_ns: int, spans: List[Span]) -> int:
    """Nanoseconds of [start, end] that no span covers. Spans are (start, end), in time order, and do not overlap."""
    return (end_ns - start_ns) - sum(max(0, min(end, end_ns) - max(start, start_ns)) for start, end in spans)


class Lateness:
    """Wake-ups against their plan.

    An event is explained when what lateness leaves of it is shorter than the threshold. The prober notices its
    absence only from the next planned wake-up on, so a span counts from one wake-up gap before it.
    """

    def __init__(self, threshold_ns: int, gap_ns: int) -> None:
        self._threshold_ns = threshold_ns
        self._gap_ns = min(gap_ns, threshold_ns)
        self._histogram = Histogram()
        self._max_ns = 0
        self._recent: Deque[Span] = deque(maxlen=REMEMBERED)
        self._listed: List[Span] = []

    def woke(self, due_ns: int, late_ns: int) -> None:
        """One wake-up: when it was planned (epoch ns) and how much later it came."""
        self._histogram.add(late_ns // 1000)
        if late_ns > self._max_ns:
            self._max_ns = late_ns
        if late_ns >= LATE_NS:
            end = due_ns + late_ns
            start = due_ns - self._gap_ns
            if self._recent:
                start = max(start, self._recent[-1][1])
            if start < end:
                self._recent.append((start, end))
            self._list((due_ns, late_ns))

    def _list(self, late: Span) -> None:
        self._listed.append(late)
        if len(self._listed) > 2 * LISTED:
            self._listed = sorted(sorted(self._listed, key=lambda item: -item[1])[:LISTED])

    def explains(self, start_ns: int, end_ns: int) -> bool:
        if not self._recent or self._recent[-1][1] < start_ns:
            return False
        return uncovered(start_ns, end_ns, list(self._recent)) < self._threshold_ns

    def report(self) -> Dict[str, Any]:
        """`lateness` of observe.json: the longest late wake-ups, in time order."""
        longest = sorted(sorted(self._listed, key=lambda item: -item[1])[:LISTED])
        return {
            "p50_us": self._histogram.quantile(0.5),
            "p99_us": self._histogram.quantile(0.99),
            "max_ms": round(self._max_ns / 1e6, 3),
            "late": [[start, round(late / 1e6, 3)] for start, late in longest],
        }
