# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of tasks over time, from the COMM and FORK records of a recording."""

from bisect import bisect_right
from typing import Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import IDLE

LIMIT = 200000
NAMES_LIMIT = 1000  # of one task


class Change(NamedTuple):
    """A task is named, or, with `parent`, begins with the name of that one. Time 0: it had the name before the recording began."""

    time_ns: int
    tid: int
    comm: str
    parent: Optional[int]


class Tasks:
    """Add all changes, then ask, or ask in between: an answer holds what was added before it."""

    def __init__(self) -> None:
        self.omitted = 0
        self._new: List[Change] = []
        self._history: Dict[int, Tuple[List[int], List[str]]] = {}
        self._only: Dict[int, str] = {0: IDLE}  # those that never were renamed
        self._size = 0

    def add(self, change: Change) -> None:
        if self._size >= LIMIT:
            self.omitted += 1
            return
        self._size += 1
        self._new.append(change)

    def comm(self, tid: int, time_ns: int) -> str:
        """The name at that time; the first one known if it is from later; ":tid" if there is none, as perf shows it."""
        if self._new:
            self._settle()
        if tid in self._only:
            return self._only[tid]
        known = self._history.get(tid)
        if known is None:
            return f":{tid}"
        times, comms = known
        return comms[max(0, bisect_right(times, time_ns) - 1)]

    def _settle(self) -> None:
        changes, self._new = sorted(self._new, key=lambda change: change.time_ns), []
        for change in changes:
            comm = change.comm
            if change.parent is not None:
                if change.parent not in self._history:
                    continue
                comm = self.comm(change.parent, change.time_ns)
            times, comms = self._history.setdefault(change.tid, ([], []))
            if len(comms) >= NAMES_LIMIT:
                self.omitted += 1
                continue
            at = bisect_right(times, change.time_ns)
            times.insert(at, change.time_ns)
            comms.insert(at, comm)
            if len(comms) == 1:
                self._only.setdefault(change.tid, comm)
            elif self._only.get(change.tid) != comm and change.tid != 0:
                self._only.pop(change.tid, None)
