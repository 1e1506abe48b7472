# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who while they are still there: paths of descriptors, identities, and the one process that is worth an strace."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.fleet.stall.plugins.module_utils.capture import identity
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Late
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import SlowCall, path_of

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
        known = self.processes.get(pid)
        if known is None:
            known = identity.describe(pid)
            if len(self.processes) < MOST_PROCESSES:
                self.processes[pid] = known
        return known


class Suspect(NamedTuple):
    pid: int
    why: str


def suspect(calls: Sequence[SlowCall], late: Sequence[Late], excused: Sequence[int]) -> Optional[Suspect]:
    """The process with the most time in slow calls that overlap gaps on their CPU, two of them at the least; never one of `excused`."""
    totals: Dict[int, List[int]] = {}
    for call in calls:
        if call.pid not in excused and call.pid > 1 and any(overlaps(call, gap) for gap in late):
            totals.setdefault(call.pid, []).append(call.duration_ns)
    several = {pid: lengths for pid, lengths in totals.items() if len(lengths) >= CALLS_TO_SUSPECT}
    if not several:
        return None
    pid = max(several, key=lambda each: (sum(several[each]), each))
    lengths = several[pid]
    return Suspect(pid, f"{len(lengths)} of its system calls kept the CPU for {max(lengths) / 1e6:.0f} ms at most while probes waited")


def overlaps(call: SlowCall, gap: Late) -> bool:
    """Whether a call was going on, on the gap's CPU, while the gap was."""
    same_cpu = call.cpu is None or call.cpu == gap.cpu
    return same_cpu and call.start_ns < gap.end_ns and call.start_ns + call.duration_ns > gap.start_ns - SLACK_NS
