# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the tracers' clock (CLOCK_MONOTONIC) to the host's (CLOCK_REALTIME)."""

import time
from typing import List, Tuple


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC, as bpftrace's nsecs and perf's -k CLOCK_MONOTONIC."""
    return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9)


def _realtime_ns() -> int:
    return int(time.clock_gettime(time.CLOCK_REALTIME) * 1e9)


class Clock:
    """Marked at the start and at the end, so that a clock that is slewed in between is followed; one that is stepped is off until then."""

    def __init__(self) -> None:
        self._marks: List[Tuple[int, int]] = []
        self.mark()

    def mark(self) -> None:
        before, real, after = monotonic_ns(), _realtime_ns(), monotonic_ns()
        middle = (before + after) // 2
        self._marks.append((middle, real - middle))

    def real(self, at_ns: int) -> int:
        """CLOCK_REALTIME, in ns, at a time of CLOCK_MONOTONIC."""
        return at_ns + offset_at(self._marks, at_ns)


def offset_at(marks: List[Tuple[int, int]], at_ns: int) -> int:
    """The offset between two marks (monotonic, offset) in proportion, outside of them that of the nearest."""
    if at_ns <= marks[0][0]:
        return marks[0][1]
    for (start, first), (end, second) in zip(marks, marks[1:]):
        if at_ns <= end:
            return first + (second - first) * (at_ns - start) // max(1, end - start)
    return marks[-1][1]
