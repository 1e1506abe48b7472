# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who while they are still there: paths of descriptors, identities, and the one process that is worth an strace."""

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence

from ansible_collections.fleet.stall.plugins.module_utils.capture import identity
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Known, Late
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import SlowCall, path_of

# In the result; all that were met are known until then, which the bounds on what they are met in keep few.
MOST_PROCESSES = 300
MOST_CALLS = 3000
CALLS_TO_SUSPECT = 2
# A call may end a little after the packets that it held up were handled on another CPU.
SLACK_NS = 5000000


class Seen(NamedTuple):
    """A slow call with the path of its file, found when the call was reported."""

    call: SlowCall
    path: Optional[str]


class Witness:
    """Collects slow calls and asks /proc about their callers at once: a moment later they may be gone."""

    def __init__(self) -> None:
        self.calls: List[Seen] = []
        self.processes: Dict[int, Dict[str, Any]] = {}
        self.calls_omitted = 0

    def add(self, call: SlowCall) -> None:
        if len(self.calls) >= MOST_CALLS:
            self.calls_omitted += 1
            return
        link = identity.fd_path(call.pid, call.fd) if call.file and call.fd is not None else None
        self.calls.append(Seen(call, call.path or path_of(call.file, link)))
        self.meet(call.pid)
        if call.tid != call.pid:
            self.meet(call.tid)

    def meet(self, pid: int) -> Dict[str, Any]:
        """The identity of a process or thread, read when it is first met."""
        if pid not in self.processes:
            self.processes[pid] = identity.describe(pid)
        return self.processes[pid]

    def rows(self, first: Iterable[int]) -> Dict[str, Dict[str, Any]]:
        """`processes` of capture.json: these first, in their order, then others that were met, as many as there is room for."""
        pids = list(dict.fromkeys([*first, *self.processes]))
        return {str(pid): self.meet(pid) for pid in pids[:MOST_PROCESSES]}


class Suspect(NamedTuple):
    pid: int
    why: str


class Tally(NamedTuple):
    """A process's slow calls that were going on while probes waited."""

    calls: int = 0
    total_ns: int = 0
    longest_ns: int = 0

    def and_one(self, duration_ns: int) -> "Tally":
        return Tally(self.calls + 1, self.total_ns + duration_ns, max(self.longest_ns, duration_ns))


class Suspicions:
    """Whose slow calls overlap silences on their CPU. A call is looked at when it comes, and again for later silences of its time."""

    def __init__(self, excused: Sequence[int]) -> None:
        """`excused`: processes that are never suspected."""
        self._excused = set(excused) | {0, 1}
        self.silences = Known()
        self._open: List[SlowCall] = []
        self._tallies: Dict[int, Tally] = {}

    def judge(self, calls: Sequence[SlowCall], late: Sequence[Late]) -> None:
        """What is new of both."""
        for each in late:
            self.silences.add(each)
        if late:
            since_ns = min(each.start_ns for each in late) - SLACK_NS
            self._open = [call for call in self._open if call.start_ns + call.duration_ns <= since_ns or not self._counts(call)]
        self._open += [call for call in calls if call.pid not in self._excused and not self._counts(call)]
        del self._open[:-MOST_CALLS]

    def _counts(self, call: SlowCall) -> bool:
        """Whether the call was going on, on the CPU of a silence, while that lasted; then it is counted."""
        overlaps = self.silences.touch(call.cpu, call.start_ns, call.start_ns + call.duration_ns + SLACK_NS)
        if overlaps:
            self._tallies[call.pid] = self._tallies.get(call.pid, Tally()).and_one(call.duration_ns)
        return overlaps

    def excuse(self, pid: int) -> None:
        """Suspect this process no more."""
        self._excused.add(pid)
        self._tallies.pop(pid, None)
        self._open = [call for call in self._open if call.pid != pid]

    def named(self) -> Optional[Suspect]:
        """The process with the most time in such calls, two of them at the least."""
        several = {pid: tally for pid, tally in self._tallies.items() if tally.calls >= CALLS_TO_SUSPECT}
        if not several:
            return None
        pid = max(several, key=lambda each: (several[each].total_ns, each))
        calls, _, longest_ns = several[pid]
        return Suspect(pid, f"{calls} of its system calls kept the CPU for {longest_ns / 1e6:.0f} ms at most while probes waited")
