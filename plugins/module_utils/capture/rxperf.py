# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last resort without bpftrace: perf's view of the packets, which tells who handled one but not which, and perf trace's slow calls.

perf trace has a clock of its own. A call of ours whose time is known, a wait for a signal that does not come, tells how far it is off.
"""

import os
import re
import signal
import time
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, identity, recorder, syscalls
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import monotonic_ns
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import SlowCall
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text_or_none
from ansible_collections.fleet.stall.plugins.module_utils.profile import perfdata
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import ProfileError
from ansible_collections.fleet.stall.plugins.module_utils.wire import ECHO_SIZE

EVENT = "net:netif_receive_skb"
IP_HEADER = {4: 20, 6: 40}
SYN_SIZES = (20, 40)  # without options, as a prober sends it; with those of Linux
MOST_BYTES = 32 << 20
READY_S = 1.0
# What perf trace may take of a CPU, as seen over so long after it has started: it is told of each call one by one.
CALLS_SHARE, WEIGHED_S = 0.05, 2.0
# Calls that wait for others as a rule, and would be all that is to be seen.
WAITS = (
    "futex,epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll,select,pselect6,nanosleep,clock_nanosleep,wait4,waitid,pause,io_getevents,"
    "rt_sigsuspend,accept,accept4,connect,recvfrom,recvmsg,vfork"
)
# Frequent, and always short. Each call that is left is told to perf one by one, which is what perf trace costs.
SHORT = "rt_sigprocmask,rt_sigaction,rt_sigreturn,sched_yield,clock_gettime,gettimeofday,getpid,gettid,getppid,getuid,geteuid"
PEERS = ("pipe:", "socket:", "anon_inode:", "/dev/pts/", "/dev/tty")
# Each mark is of a length of its own, since not each of them need be seen.
MARK_CALL, MARK_NS, MARK_STEP_NS = "rt_sigtimedwait", 20000000, 20000000
CALL = re.compile(r"^\s*(\d+\.\d+) \(\s*(\d+\.\d+) ms\): (.+)/(\d+) (\w+)\((.*)$")
DESCRIPTOR = re.compile(r"fd: (\d+)(?:<([^>]*)>)?")


# When it was made (CLOCK_MONOTONIC) and how long it was, both in ns.
Mark = Tuple[int, int]


class PerfTrace:
    """As rxtrace.RxTrace; all that it has seen comes at the end. `why`: the reason why it is not bpftrace that traces."""

    def __init__(self, plan: Dict[str, Any], seconds: float, workdir: str, why: str, most_bytes: int = MOST_BYTES) -> None:
        self.rows: List[Handled] = []
        self.ready = False
        self.reason: Optional[str] = None
        self.bytes_written = 0
        self._plan, self._workdir, self._why = plan, workdir, why
        self._until, self._most_bytes = time.monotonic() + seconds, min(most_bytes, MOST_BYTES)
        self._started = time.monotonic()
        self._tools: Dict[str, bounded.Tool] = {}
        self._marks: List[Mark] = []
        # When perf trace's CPU time was first looked at, and how much it was.
        self._weighed: Optional[Tuple[float, float]] = None
        self._calls_reason: Optional[str] = None
        self._packets_reason: Optional[str] = None

    def start(self) -> bool:
        self.reason = recorder.unavailable()
        perf, sizes = bounded.find("perf"), lengths(self._plan["flows"])
        if self.reason or perf is None or not sizes:
            self.reason = self.reason or "the plan has no flows"
            return False
        filtered = " || ".join(f"len == {size}" for size in sorted(sizes))
        packets, calls = (os.path.join(self._workdir, name) for name in ("packets.data", "calls.out"))
        argv = ["record", "-q", "-e", EVENT, "--filter", filtered, "-a", "-k", "CLOCK_MONOTONIC", "-B", "-N", "-o", packets]
        traced = ["trace", "-a", "-T", "--duration", f"{self._plan['slow_call_ms']:g}", "-e", f"!{WAITS},{SHORT}"]
        for name, words, output in (("packets", argv, packets), ("calls", traced, calls)):
            try:  # perf's own --max-size is younger (5.5) than the perf of hosts without a bpftrace that works
                self._tools[name] = bounded.Tool([perf, *words], max(1.0, self._until - time.monotonic()), self._most_bytes // 2, output)
            except OSError as error:
                self.reason = f"perf: {error.strerror or error}"
        return bool(self._tools)

    # What it sees is known at the end only.
    live = False

    @property
    def tools(self) -> List[bounded.Tool]:
        return list(self._tools.values())

    def poll(self) -> Tuple[List[Handled], List[SlowCall]]:
        """Nothing yet; never waits but for the moment that tells perf trace's clock."""
        self._see_ends()
        if not self.ready and time.monotonic() - self._started >= READY_S:
            self.ready = True
            self._mark()
        if self.ready and self._calls_reason is None:
            self._weigh(time.monotonic())
        return [], []

    def _see_ends(self) -> None:
        """What has ended by itself did so before its time."""
        for tool in self._tools.values():
            tool.poll()
        calls = self._tools.get("calls")
        if calls is not None and calls.ended is not None and self._calls_reason is None:
            self._calls_reason = f"not watched to the end: perf trace {ending(calls)}"
        packets = self._tools.get("packets")
        if packets is not None and packets.ended is not None and self._packets_reason is None:
            self._packets_reason = f"the trace of packets does not reach the end of the window: perf record {ending(packets)}"

    def _weigh(self, now: float) -> None:
        """End perf trace where the host makes so many system calls that watching them costs too much."""
        tool = self._tools.get("calls")
        if tool is None or tool.ended is not None:
            return
        spent = tool.cpu_s()
        if self._weighed is None:
            self._weighed = (now, spent)
        since, before = self._weighed
        if now - since < WEIGHED_S:
            return
        self._calls_reason = too_dear((spent - before) / (now - since))
        self._weighed = (now, spent)
        if self._calls_reason:
            tool.end()

    def _mark(self) -> None:
        length = int(1.5e6 * self._plan["slow_call_ms"]) + MARK_NS + MARK_STEP_NS * len(self._marks)
        self._marks.append((monotonic_ns(), length))
        signal.sigtimedwait([signal.SIGUSR1], length / 1e9)

    def finish(self) -> Tuple[List[Handled], List[SlowCall]]:
        """End it; all rows and calls."""
        if not self._tools:
            return [], []
        self._mark()
        self._see_ends()
        for tool in self._tools.values():
            tool.finish()
        self.bytes_written = sum(tool.size() for tool in self._tools.values())
        self.rows = self._read_packets()
        return self.rows, self._read_calls()

    def _read_packets(self) -> List[Handled]:
        tool = self._tools.get("packets")
        if tool is None:
            return []
        try:
            with open(tool.output, "rb") as file:
                samples = list(perfdata.read(file, None))
        except (OSError, ProfileError) as error:
            self.ready, self.reason = False, f"perf record -e {EVENT}: {tool.complaint() or error}"
            return []
        return [Handled(each.time_ns, each.cpu, each.pid, each.tid, each.comm, None, None) for each in samples]

    def _read_calls(self) -> List[SlowCall]:
        tool = self._tools.get("calls")
        if tool is None:
            return []
        try:
            # It prints on standard error, unbuffered; a file of its own it would leave behind half written.
            with open(tool.output + ".err", encoding="utf-8", errors="replace") as lines:
                found = slow_calls(lines, os.getpid(), self._marks)
        except OSError as error:
            self._calls_reason = self._calls_reason or f"perf trace: {error.strerror or error}"
            return []
        if found is None:
            self._calls_reason = self._calls_reason or "perf trace did not show the calls of ours that tell its clock"
        return found or []

    def problems(self) -> List[str]:
        """What narrows that which was traced, in sentences."""
        return [self._packets_reason] if self._packets_reason else []

    def capabilities(self) -> Dict[str, Dict[str, Any]]:
        seen = self.ready and "packets" in self._tools
        calls = self.ready and "calls" in self._tools and self._calls_reason is None
        why = self._why if not self.reason else f"{self._why}; {self.reason}"
        return {
            "rx_trace": sockets.capability(seen, "perf" if seen else None, why),
            "slow_calls": sockets.capability(calls, "perf_trace" if calls else None, "; ".join(filter(None, (why, self._calls_reason)))),
        }


def too_dear(share: float) -> Optional[str]:
    """Why perf trace is ended that takes this share of a CPU, or None."""
    if share <= CALLS_SHARE:
        return None
    return f"not watched to the end: perf trace took {100 * share:.0f} % of a CPU (limit {100 * CALLS_SHARE:.0f} %)"


def lengths(flows: Sequence[Dict[str, Any]]) -> Set[int]:
    """How long the probes of these flows are from the network header on."""
    found = set()
    for flow in flows:
        sizes = (ECHO_SIZE,) if flow["protocol"] == "icmp" else SYN_SIZES
        found |= {IP_HEADER[flow["family"]] + size for size in sizes}
    return found


def ending(tool: bounded.Tool) -> str:
    """How a perf ended before its time: by its bounds, or in its words, unless the last of them is a call like all others."""
    if tool.is_full():
        return f"was ended, its file was full ({tool.max_bytes >> 20} MB)"
    said = tool.complaint()
    if not said or parse(said):
        said = "without a word" if tool.code is None else f"with code {tool.code}"
    return f"ended: {said}"


def slow_calls(lines: Iterable[str], own: int, marks: Sequence[Mark]) -> Optional[List[SlowCall]]:
    """The calls that perf trace -T printed, but those that wait for a peer, with their times on the clock of `marks`.

    `marks`: when process `own` made its calls of MARK_CALL, and how long each was. Without one of them in the text nothing is known
    about the times: None.
    """
    parsed = [found for found in map(parse, lines) if found]
    offset = clock_offset([call for call in parsed if call.tid == own and call.call == MARK_CALL], marks)
    if offset is None:
        return None
    return [
        rightly_named(call._replace(start_ns=call.start_ns + offset, pid=_process_of(call.tid)), identity.is_32_bit(call.tid))
        for call in parsed
        if call.call != MARK_CALL and not (call.path or "").startswith(PEERS)
    ]


def clock_offset(seen: Sequence[SlowCall], marks: Sequence[Mark]) -> Optional[int]:
    """Our clock minus the tracer's, by the mark that was seen with the length most like its own; None if there is none like it."""
    pairs = [(abs(call.duration_ns - length), at - call.start_ns) for call in seen for at, length in marks]
    unlike, offset = min(pairs, default=(MARK_STEP_NS, 0))
    return offset if unlike < MARK_STEP_NS // 2 else None


def parse(line: str) -> Optional[SlowCall]:
    """A line such as "3486264.182 (118.031 ms): reader/19080 read(fd: 4</proc/1/maps>, count: 65536) = 698"; None for others."""
    found = CALL.match(line)
    if not found:
        return None
    start_ms, duration_ms, comm, tid, call, arguments = found.groups()
    descriptor = DESCRIPTOR.match(arguments)
    fd, path = (int(descriptor.group(1)), descriptor.group(2)) if descriptor else (None, None)
    start_ns, duration_ns = round(float(start_ms) * 1e6), round(float(duration_ms) * 1e6)
    return SlowCall(start_ns, duration_ns, None, None, int(tid), int(tid), comm[:15], call, fd, (), "perf_trace", path)


def rightly_named(call: SlowCall, is_32_bit: bool) -> SlowCall:
    """perf trace names the calls of all programs by the table of 64-bit ones, and their arguments with them."""
    if not is_32_bit:
        return call
    name = syscalls.of_32_bit(call.call)
    return call._replace(call=name) if syscalls.takes_descriptor(name) else call._replace(call=name, fd=None, path=None)


def _process_of(tid: int) -> int:
    found = re.search(r"^Tgid:\s*(\d+)$", text_or_none(f"/proc/{tid}/status") or "", re.MULTILINE)
    return int(found.group(1)) if found else tid
