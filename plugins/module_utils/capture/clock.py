# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the tracers' clock (CLOCK_MONOTONIC) to the host's (CLOCK_REALTIME), which is slewed and may be set meanwhile."""

import bisect
import time
from typing import List, Optional, Tuple

# How fast a clock can be slewed: adjtimex(2) changes the tick by a tenth at most. What is more has been set.
SLEW_SHARE = 0.1
STEP_NS = 1000000
# Marks are kept so far apart; between them the clock is taken to run evenly.
APART_NS = 1000000000

# (CLOCK_MONOTONIC, what is to be added), both in ns
Mark = Tuple[int, int]


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC, as bpftrace's nsecs and perf's -k CLOCK_MONOTONIC."""
    return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9)


def _realtime_ns() -> int:
    return int(time.clock_gettime(time.CLOCK_REALTIME) * 1e9)


class Clock:
    """Marked often, so that a clock that is slewed is followed.

    One that is set goes on here as if it had not been: all times of a capture are on the clock as it was while it was furthest back, which
    is the one that the least one-way delays of the probes tell of.
    """

    def __init__(self) -> None:
        self._marks: List[Mark] = []
        # From when on the host's clock was how far from the first one.
        self._steps: List[Mark] = []
        self.mark()

    def mark(self) -> None:
        before, real, after = monotonic_ns(), _realtime_ns(), monotonic_ns()
        middle = (before + after) // 2
        self._add(middle, real - middle)

    def _add(self, at_ns: int, offset: int) -> None:
        if not self._marks:
            self._marks, self._steps = [(at_ns, offset)], [(at_ns, 0)]
            return
        before, known = self._marks[-1]
        stepped = offset - self._steps[-1][1] - known
        if abs(stepped) > STEP_NS + SLEW_SHARE * (at_ns - before):
            self._steps.append((at_ns, self._steps[-1][1] + stepped))
        if len(self._marks) > 1 and before - self._marks[-2][0] < APART_NS:
            self._marks.pop()
        self._marks.append((at_ns, offset - self._steps[-1][1]))

    def real(self, at_ns: int) -> int:
        """CLOCK_REALTIME, in ns, at a time of CLOCK_MONOTONIC."""
        return at_ns + offset_at(self._marks, at_ns) + self._base()

    def steady(self, real_ns: int) -> int:
        """A time that a tool read off CLOCK_REALTIME, on this clock; of the times that were there twice, the later."""
        for begun, step in reversed(self._steps):
            if real_ns - step - offset_at(self._marks, begun) >= begun:
                return real_ns - step + self._base()
        return real_ns + self._base()

    def _base(self) -> int:
        return min(step for _at, step in self._steps)

    def problem(self) -> Optional[str]:
        """A sentence if the clock was set, else None."""
        if len(self._steps) == 1:
            return None
        by = [f"{(step - before) / 1e9:+.3f} s" for (_, before), (_, step) in zip(self._steps, self._steps[1:])]
        return (
            f"the host's clock was set during the capture ({', '.join(by[:5])}): the times are on the clock as it was while furthest back"
        )


def offset_at(marks: List[Mark], at_ns: int) -> int:
    """The offset between two marks (monotonic, offset) in proportion, outside of them that of the nearest."""
    place = bisect.bisect_left(marks, (at_ns,))
    if place == 0:
        return marks[0][1]
    if place == len(marks):
        return marks[-1][1]
    (start, first), (end, second) = marks[place - 1], marks[place]
    return first + (second - first) * (at_ns - start) // max(1, end - start)
