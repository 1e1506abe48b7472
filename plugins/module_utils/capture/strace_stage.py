# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""strace on one named process, last and for a short time: it alone shows what a slow read() read, and it is dear.

Each system call of the process stops it twice until strace has looked, whatever calls are asked for (measured elsewhere: 442 times
slower). So the bounds on time and size are hard (bounded.py), and the slowdown is measured: the rate of read and write calls, which the
kernel counts in /proc/PID/io, just before against during. The process can't stay stopped: strace uses PTRACE_SEIZE, and the kernel lets
go of all that a tracer holds when the tracer ends, however it ends (ptrace(2)). strace runs at ordinary priority: a lower one would hold
the process longer, a real-time one could starve others.
"""

import heapq
import os
import re
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, identity, syscalls
from ansible_collections.fleet.stall.plugins.module_utils.counters.cgroupfs import keyed_numbers
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text, text_or_none
from ansible_collections.fleet.stall.plugins.module_utils.profile import stracelog

SLOW_MS = 10.0
MOST_ROWS = 200
# What a rate without strace is taken from: this long, and at least so many calls.
SAMPLE_S = 0.4
LEAST_CALLS = 20
CAP_SYS_PTRACE = 19
YAMA = "/proc/sys/kernel/yama/ptrace_scope"
SELINUX = "/sys/fs/selinux/booleans/deny_ptrace"

# Calls that only wait; leaving them out saves file, not time.
WAITS = ("futex", "sched_yield", "nanosleep", "clock_nanosleep", "epoll_pwait")
OLD_WAITS = ("epoll_wait", "poll", "select")
WITHOUT_OLD_CALLS = ("aarch64", "riscv64", "loongarch64")

# A wait for someone else, as a rule: such rows come after those on files.
PEERS = ("socket:", "pipe:", "anon_inode:", "UNIX", "TCP", "UDP", "NETLINK")


# (calls so far, time): the first and the last
Readings = List[Tuple[int, float]]


class Process(NamedTuple):
    """What /proc says about a process that may be traced."""

    pid: int
    tgid: int
    comm: str
    state: str
    tracer: int
    kernel: bool
    ours: bool


def capability() -> Dict[str, Any]:
    """The row `strace` of `capabilities`: whether there is a strace and it may attach to processes of others."""
    path = bounded.find("strace")
    if path is None:
        return sockets.capability(False, None, "strace is not installed: install the package strace")
    refused = not_permitted(text_or_none(YAMA), _may_ptrace(), os.geteuid() == 0, text_or_none(SELINUX))
    return sockets.capability(refused is None, None if refused else path, refused)


def not_permitted(yama: Optional[str], privileged: bool, root: bool, selinux: Optional[str]) -> Optional[str]:
    """Why this process may not attach to others, with the remedy; None if it may. Contents of the files, None where there is none."""
    if yama == "3":
        return "kernel.yama.ptrace_scope is 3, nobody may attach: set it to 2 or lower in /etc/sysctl.d and reboot (3 can't be undone)"
    if (selinux or "").startswith("1"):
        return "SELinux denies ptrace: setsebool deny_ptrace off"
    if privileged:
        return None
    if root:
        return "root without CAP_SYS_PTRACE (a container): give it that capability, or capture on the host itself"
    if yama in ("1", "2"):
        return f"kernel.yama.ptrace_scope is {yama} and this user has no CAP_SYS_PTRACE: capture as root (stall_become)"
    return "this user has no CAP_SYS_PTRACE and may attach to its own processes only: capture as root (stall_become)"


def _may_ptrace() -> bool:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", text_or_none("/proc/self/status") or "", re.MULTILINE)
    return bool(found and int(found.group(1), 16) >> CAP_SYS_PTRACE & 1)


def examine(pid: int) -> Optional[Process]:
    """None if there is no such process (any more)."""
    try:
        fields = dict(re.findall(r"^(\w+):\s*(.*)$", text(f"/proc/{pid}/status"), re.MULTILINE))
        tgid = int(fields["Tgid"])
        kernel = identity.parse_stat(text(f"/proc/{tgid}/stat"))["kernel"]
        ours = tgid in (os.getpid(), os.getppid()) or os.getpgid(tgid) == os.getpgrp()
        return Process(pid, tgid, fields["Name"], fields["State"][0], int(fields["TracerPid"]), kernel, ours)
    except (Unavailable, OSError, KeyError, ValueError, IndexError):
        return None


def refusal(found: Optional[Process]) -> Optional[str]:
    """Why this process is not traced, None if it may be."""
    if found is None:
        return "the process has ended"
    who = f"{found.comm} (pid {found.pid})"
    if found.kernel:
        return f"{who} is a kernel thread, which makes no system calls"
    if found.tgid == 1:
        return f"{who} is the first process of the host, which is not traced"
    if found.ours:
        return f"{who} belongs to this capture"
    if found.tracer:
        return f"{who} is being traced by process {found.tracer}: end that first"
    if found.state in "TtZX":
        return f"{who} is {'stopped' if found.state in 'Tt' else 'dead'}"
    return None


class Stage:
    """`start` once, `poll` every some 50 ms, `finish` once. `reason`: why there is nothing, None if there is."""

    def __init__(self, seconds: float, max_bytes: int, workdir: str, slow_ms: float = SLOW_MS) -> None:
        self.seconds, self.max_bytes, self.slow_ms = seconds, max_bytes, slow_ms
        self.output = os.path.join(os.path.abspath(workdir), "strace.log")
        self.reason: Optional[str] = "strace was not called for"
        self._tool: Optional[bounded.Tool] = None
        self._process: Optional[Process] = None
        self._why = ""
        self._started = 0.0
        self._without: Readings = []
        self._with: Readings = []

    def start(self, pid: int, why: str) -> bool:
        """Choose the process. strace attaches from `poll` on, after the rate without it was taken. False, with `reason`, if it can't be."""
        if self._process is not None:
            self.reason = "strace runs on one process in a capture"
            return False
        found = examine(pid)
        self.reason = refusal(found) or capability()["reason"]
        if self.reason or self.seconds <= 0:
            self.reason = self.reason or "strace was switched off"
            return False
        self._process, self._why = found, why
        self._started = time.monotonic()
        self._count(self._without)
        return True

    def poll(self) -> bool:
        """Whether there is more to come. Never waits."""
        if self._process is None or (self._tool is None and self.reason):
            return False
        if self._tool is None:
            self._count(self._without)
            if time.monotonic() - self._started >= SAMPLE_S:
                self._attach(self._process)
            return self.reason is None
        running = self._tool.poll()
        if running and self._is_traced():
            readings = list(self._with)
            self._count(readings)
            if self._is_traced():  # else strace has let go meanwhile
                self._with = readings
        return running

    def finish(self) -> Optional[Dict[str, Any]]:
        """{strace, slow_calls} as in capture.json, or None, with `reason`, if nothing was traced. Waits at most some two seconds.

        `start_ns` of strace is of CLOCK_MONOTONIC, that of the calls of CLOCK_REALTIME.
        """
        if self._tool is None or self._process is None:
            self.reason = self.reason or "the capture ended before strace was attached"
            return None
        self.poll()
        self._tool.finish()
        calls, rows = self._read(self._process)
        ended = self._tool.ended or time.monotonic()
        size = self._tool.size()
        if not size and 0 < (self._tool.code or 0) < 128:
            self.reason = self._tool.complaint() or f"strace ended with code {self._tool.code} and without a word"
        self._tool.discard()
        if self.reason:
            return None
        return {
            "strace": {
                "pid": self._process.tgid,
                "comm": self._process.comm,
                "start_ns": int(self._tool.started * 1e9),
                "seconds": round(ended - self._tool.started, 3),
                "bytes": size,
                "calls": calls,
                "slowdown": slowdown(self._without, self._with),
                "why": self._why,
            },
            "slow_calls": rows,
        }

    def _attach(self, process: Process) -> None:
        left_out = WAITS if os.uname().machine in WITHOUT_OLD_CALLS else WAITS + OLD_WAITS
        argv = [bounded.find("strace") or "strace", "-f", "-q", "-y", "-T", "-ttt", "-s", "64", "-e", "trace=!" + ",".join(left_out)]
        argv += ["-o", self.output, "-p", str(process.tgid)]
        self.reason = refusal(examine(process.pid))
        if self.reason:
            return
        try:
            self._tool = bounded.Tool(argv, self.seconds, self.max_bytes, self.output)
        except OSError as error:
            self.reason = f"strace: {error.strerror or error}"

    def _count(self, readings: Readings) -> None:
        """Keep the first and the last reading of how many read and write calls there were; none where /proc does not show them."""
        assert self._process is not None
        numbers = keyed_numbers((text_or_none(f"/proc/{self._process.tgid}/io") or "").replace(":", ""))
        if "syscr" in numbers:
            readings[1:] = [(numbers["syscr"] + numbers.get("syscw", 0), time.monotonic())]

    def _is_traced(self) -> bool:
        assert self._process is not None
        found = examine(self._process.tgid)
        return found is not None and found.tracer != 0

    def _read(self, process: Process) -> Tuple[int, List[Dict[str, Any]]]:
        """How many calls there were, and the rows of the slow ones."""
        total = 0

        def slow() -> Iterator[Dict[str, Any]]:
            nonlocal total
            with open(self.output, encoding="utf-8", errors="replace") as lines:
                for call in stracelog.parse(lines):
                    total += 1
                    if call.at_s is not None and (call.seconds or 0.0) * 1000.0 >= self.slow_ms:
                        yield row_of(call, process)

        try:
            rows = heapq.nsmallest(MOST_ROWS, slow(), key=_least_likely)
        except OSError:
            return 0, []
        for row in rows:
            row["comm"] = text_or_none(f"/proc/{row['tid']}/comm") or process.comm
            if row["path"] is None and row["fd"] is not None:
                row["path"] = identity.fd_path(process.tgid, row["fd"])
        return total, rows


def slowdown(without: Readings, traced: Readings) -> Optional[float]:
    """Rate of calls without strace / rate with it; None unless there were calls enough to tell both."""
    alone, slowed = rate(without), rate(traced)
    if alone is None or slowed is None or without[1][0] - without[0][0] < LEAST_CALLS:
        return None
    return round(alone / slowed, 2)


def rate(readings: Readings) -> Optional[float]:
    """Calls per second from the first reading to the last; None if there were none."""
    if len(readings) < 2 or readings[1][0] <= readings[0][0] or readings[1][1] <= readings[0][1]:
        return None
    return (readings[1][0] - readings[0][0]) / (readings[1][1] - readings[0][1])


def row_of(call: stracelog.Call, process: Process) -> Dict[str, Any]:
    """A row of `slow_calls` in capture.json. The path is strace's own (-y), as it was at the time of the call."""
    # A number alone may as well be a process id; -y marks the descriptors that are open
    fd = call.fd if call.path is not None or syscalls.takes_descriptor(call.name) else None
    path = call.path
    if fd is None and (call.buffer or "").startswith("/"):
        path = call.buffer  # of open, stat and the like
    return {
        "start_ns": round((call.at_s or 0.0) * 1e6) * 1000,  # strace tells microseconds; a float of ns is off by more
        "duration_ms": round((call.seconds or 0.0) * 1000.0, 3),
        "on_cpu_ms": None,
        "cpu": None,
        "pid": process.tgid,
        "tid": call.tid if call.tid is not None else process.tgid,
        "comm": process.comm,
        "call": call.name,
        "fd": fd,
        "path": path,
        "buffer": call.buffer,
        "how": "strace",
    }


def _least_likely(row: Dict[str, Any]) -> Any:
    return (row["path"] or "").startswith(PEERS), -row["duration_ms"]
