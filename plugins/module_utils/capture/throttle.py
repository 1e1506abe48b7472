# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When control groups were out of CPU quota: how much they were in the whole window does not tell whether a stall is due to it.

The kernel counts throttled time as it ends, by CPU. What a poll finds grown lies between the poll before, less the throttled time, and now:
an upper bound. cpu.stat of v2 flushes statistics of all CPUs (rstat), so that few groups are polled, and none any more once that is dear.
"""

import time
from typing import Any, Collection, Dict, Iterable, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import Clock, monotonic_ns
from ansible_collections.fleet.stall.plugins.module_utils.counters import throttled
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text_or_none

POLL_NS = 100000000
MOST_GROUPS = 8
# Of one group; what comes after that many is not polled.
MOST_SPANS = 200
# After so many polls it is known what they cost, and this share of the time is the most that they may.
POLLS, MOST_SHARE = 20, 0.005
# All groups are looked at before the window, twice, so far apart; that takes up to a second (throttled.WALK_S).
APART_S, ROOM_S = 1.0, 1.5


class Group:
    """One group that is polled. Times are CLOCK_MONOTONIC, in ns; `spans`: when it was out of quota, joined, in the order of time."""

    def __init__(self, path: str, directory: str, version: int) -> None:
        self.path, self._file = path, f"{directory}/cpu.stat"
        self._period_ns = 1000 * throttled.period_us(directory, version)
        self.spans: List[List[int]] = []
        self.began_ns = self.polled_ns = self._read_ns = monotonic_ns()
        self._seen: Optional[Dict[str, int]] = None

    def poll(self) -> None:
        if len(self.spans) >= MOST_SPANS:
            return
        asked_ns = monotonic_ns()
        content = text_or_none(self._file)
        if content is None:
            return  # removed
        self.add(throttled.parse(content), asked_ns, monotonic_ns())

    def add(self, seen: Dict[str, int], asked_ns: int, polled_ns: int) -> None:
        """A reading, which began and ended at these times."""
        before = self._seen
        if before is None:
            self.began_ns = polled_ns
        elif seen["periods"] >= before["periods"]:  # else it was removed and made again
            spent_ns = 1000 * (seen["throttled_us"] - before["throttled_us"])
            if spent_ns > 0 or seen["throttled"] > before["throttled"]:
                self._join(self._read_ns - min(spent_ns, self._period_ns), polled_ns)
        self._seen, self._read_ns, self.polled_ns = seen, asked_ns, polled_ns

    def _join(self, start_ns: int, end_ns: int) -> None:
        while self.spans and self.spans[-1][1] >= start_ns:
            start_ns = min(start_ns, self.spans.pop()[0])
        self.spans.append([start_ns, end_ns])

    def row(self, clock: Clock) -> Dict[str, Any]:
        return {
            "path": self.path,
            "polled": [clock.real(self.began_ns), clock.real(self.polled_ns)],
            "spans": [[clock.real(start), clock.real(end)] for start, end in self.spans],
        }


class Watch:
    """`prepare` every now and then until the window begins, `poll` until it ends, `meet` once it is known who serves."""

    def __init__(self) -> None:
        self.groups: Dict[str, Group] = {}
        self.warning: Optional[str] = None
        self._quotas: Dict[str, Dict[str, int]] = {}
        self._walks: List[float] = []
        self._polled_ns = 0
        self._polls, self._spent_s, self._since_s = 0, 0.0, 0.0

    def prepare(self, left_s: float) -> None:
        """Choose whom to poll: who is throttled right now, then who was most often since boot."""
        now = time.monotonic()
        is_known = bool(self._walks) and len(self._quotas) <= MOST_GROUPS
        if left_s < ROOM_S or len(self._walks) > 1 or is_known or (self._walks and now - self._walks[0] < APART_S):
            return
        self._walks.append(now)
        before = self._quotas
        try:
            self._quotas = throttled.read()["groups"]
        except Unavailable:
            return
        self.groups = {}
        self._poll_also(chosen(before, self._quotas))

    def meet(self, cgroups: Collection[str]) -> None:
        """Poll those that these control groups are in as well; for that, others are given up that never were out of quota."""
        wanted = [path for path in self._quotas if path not in self.groups and _is_above(path, cgroups)]
        idle = [path for path, group in self.groups.items() if not group.spans and not _is_above(path, cgroups)]
        for path in idle[: max(0, len(self.groups) + len(wanted) - MOST_GROUPS)]:
            del self.groups[path]
        self._poll_also(wanted)

    def _poll_also(self, paths: Iterable[str]) -> None:
        try:
            hierarchy = throttled.quotas()
        except Unavailable:
            return
        for path in list(paths)[: MOST_GROUPS - len(self.groups)]:
            self.groups[path] = Group(path, hierarchy.path + path, hierarchy.version)
            self.groups[path].poll()

    def poll(self) -> None:
        now_ns = monotonic_ns()
        if self.warning or not self.groups or now_ns - self._polled_ns < POLL_NS:
            return
        self._polled_ns = now_ns
        before_s = time.process_time()
        for group in self.groups.values():
            group.poll()
        self._account(time.process_time() - before_s, now_ns / 1e9)

    def _account(self, spent_s: float, now_s: float) -> None:
        self._since_s = self._since_s or now_s
        self._polls, self._spent_s = self._polls + 1, self._spent_s + spent_s
        if self._polls > POLLS:
            if self._spent_s > MOST_SHARE * (now_s - self._since_s):
                self.warning = "when control groups were out of CPU quota was not looked at to the end: that took too much of the time"
            self._polls, self._spent_s, self._since_s = 0, 0.0, 0.0

    def rows(self, clock: Clock) -> Optional[List[Dict[str, Any]]]:
        """`throttled` of capture.json, those first that were out of quota longest; None where no group could be looked at."""
        ordered = sorted(self.groups.values(), key=lambda group: (sum(start - end for start, end in group.spans), group.path))
        return [group.row(clock) for group in ordered] if self._walks else None


def _is_above(path: str, cgroups: Iterable[str]) -> bool:
    """Whether one of the groups is that one or below it; in a container, what a process says may begin above the root that is mounted."""
    return any(f"{path}/" in f"{cgroup}/" for cgroup in cgroups)


def chosen(before: Dict[str, Dict[str, int]], now: Dict[str, Dict[str, int]]) -> List[str]:
    """Paths of groups: those throttled between two readings, most first, then by how often they were since boot."""

    def worth(path: str) -> Any:
        grown = now[path]["throttled_us"] - before[path]["throttled_us"] if path in before else 0
        return -max(0, grown), -now[path]["throttled"], path

    return sorted(now, key=worth)[:MOST_GROUPS]
