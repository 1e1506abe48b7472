# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looking at each system call may cost a host, and whose calls are passed over to stay below that. Pure.

A process that makes a hundred thousand calls a second makes short ones; the one that keeps a CPU for tens of milliseconds a call does not.
"""

from typing import Dict, List, NamedTuple, Optional

# What it costs the thread that makes a call: one that is looked at, and one that is passed over.
LOOKED_AT_S, PASSED_OVER_S = 0.5e-6, 0.2e-6
# Of one CPU, however many there are. A host that makes 20 000 calls a second pays 1 %; to change the program costs seconds of the trace.
MOST_OF_A_CPU = 0.05
# For so long.
BUSY_S = 1.0
MOST_PASSED_OVER = 20
# Below the limit by this much once the loud ones are passed over, lest the next one to get louder break it.
ROOM = 0.8


class Loud(NamedTuple):
    pid: int
    per_s: int


class Budget:
    """`turn` each turn of the tracer. `passed_over`: whose calls are not looked at. `exceeded`: why none are any more, or None."""

    def __init__(self, turn_s: float) -> None:
        self.passed_over: List[Loud] = []
        self.exceeded: Optional[str] = None
        self.spent_s = 0.0
        self._turn_s = turn_s
        self._busy = 0

    def turn(self, calls: int, by_pid: Dict[int, int]) -> bool:
        """Count what was looked at in a turn, by the loudest processes. Whether the tracer must change its ways."""
        rate = round(calls / self._turn_s)
        self.spent_s += self._turn_s * self._cost(rate, self.passed_over)
        self._busy = self._busy + 1 if self._cost(rate, self.passed_over) > MOST_OF_A_CPU else 0
        if self._busy * self._turn_s < BUSY_S or self.exceeded:
            return False
        self._busy = 0
        self._pass_over(rate, by_pid)
        return True

    def _cost(self, looked_at: float, passed_over: List[Loud]) -> float:
        """Share of a CPU."""
        return looked_at * LOOKED_AT_S + sum(each.per_s for each in passed_over) * PASSED_OVER_S

    def _pass_over(self, rate: int, by_pid: Dict[int, int]) -> None:
        chosen, left = list(self.passed_over), rate
        for pid, calls in sorted(by_pid.items(), key=lambda row: (-row[1], row[0])):
            if self._cost(left, chosen) <= ROOM * MOST_OF_A_CPU or len(chosen) >= MOST_PASSED_OVER:
                break
            chosen.append(Loud(pid, round(calls / self._turn_s)))
            left -= chosen[-1].per_s
        if self._cost(left, chosen) <= MOST_OF_A_CPU:
            self.passed_over = chosen
            return
        total = rate + sum(each.per_s for each in self.passed_over)
        self.exceeded = (
            f"not watched to the end: the host makes {total} system calls a second, and to look at them would cost it "
            f"{100 * self._cost(rate, self.passed_over):.0f} % of a CPU (limit {100 * MOST_OF_A_CPU:.0f} %)"
        )
