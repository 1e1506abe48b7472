# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running trace: bpftrace with the program that works on this host, read as it grows.

bpftrace writes to a file and the file is looked at ten times a second: a pipe would wake us up for each packet.
"""

import binascii
import os
import time
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, rxprogram
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import monotonic_ns
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled, order
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import Heartbeat, Parser, SlowCall, Watched

MOST_BYTES = 48 << 20
READ_BYTES = 1 << 20
MOST_ROWS = 400000
# Of a map: probes in half a second, threads in system calls.
MOST_KEYS = 16384
NETNS = "/proc/self/ns/net"
BTF = "/sys/kernel/btf/vmlinux"
# What is tried, best first: where the packets are seen, and whether slow calls are watched as well.
ATTEMPTS = (("tracepoint", True), ("tracepoint", False), ("kprobe", True), ("kprobe", False))
# What looking at one system call costs the thread that makes it.
CALL_S = 0.5e-6
# More calls a second than that are not looked at: 5 % of a CPU on a small host, 1 % of all CPUs on a large one.
MOST_CALLS_PER_S = 100000
MOST_CALLS_PER_CPU_S = 20000
# So many half seconds in a row.
BUSY_TURNS = 2
HARMLESS = "RLIMIT_MEMLOCK"
COMPLAINTS_BYTES = 4000


class Tail:
    """The whole lines that a growing file has got since the last look."""

    def __init__(self, path: str) -> None:
        self._path, self._offset, self._rest = path, 0, b""

    def lines(self) -> List[str]:
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES) or b""
        except OSError:
            return []
        self._offset += len(data)
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        return whole.decode("utf-8", "replace").split("\n") if whole else []


class RxTrace:
    """`start` once, `poll` often, `finish` once. Times are CLOCK_MONOTONIC, in ns. `reason`: why there is none, None if there is."""

    def __init__(self, plan: Dict[str, Any], seconds: float, workdir: str) -> None:
        self.rows: List[Handled] = []
        self.ready = False
        self.reason: Optional[str] = "bpftrace was not started"
        self._plan, self._seconds, self._workdir = plan, seconds, workdir
        self._mark = binascii.hexlify(os.urandom(4)).decode("ascii")
        self._parser = Parser(plan["flows"], self._mark)
        self._attempts = list(ATTEMPTS)
        self._refusals: List[str] = []
        self._source, self._calls = "", False
        self._tool: Optional[bounded.Tool] = None
        self._tail: Optional[Tail] = None
        self._until = time.monotonic() + seconds
        self.bytes_written = 0
        # All that were started, the last of which may run.
        self.tools: List[bounded.Tool] = []
        self._turn: List[Handled] = []
        self._stopped_ns: Optional[int] = None
        self.rows_omitted = 0
        self.calls_watched = 0
        self._busy_turns = 0
        self._calls_until_ns: Optional[int] = None
        self._calls_reason: Optional[str] = None

    def start(self) -> bool:
        """Start the next program that may work. False, with `reason`, if none is left."""
        self.reason = unavailable()
        if self.reason or not self._attempts:
            self.reason = self.reason or "; ".join(self._refusals)
            return False
        self._source, self._calls = self._attempts.pop(0)
        netns = os.stat(NETNS).st_ino
        slow_ms = self._plan["slow_call_ms"] if self._calls else 0
        btf = os.path.exists(BTF)
        text = rxprogram.program(self._source, self._plan["token"], self._plan["flows"], netns, slow_ms, self._mark, btf)
        program, output = (os.path.join(self._workdir, name) for name in ("rx.bt", "rx.out"))
        with open(program, "w") as file:
            file.write(text)
        limits = [f"BPFTRACE_STRLEN={rxprogram.NAME_BYTES}", f"BPFTRACE_MAP_KEYS_MAX={MOST_KEYS}"]
        argv = [str(bounded.find("env")), *limits, str(bounded.find("bpftrace")), "-B", "line", program]
        try:
            self._tool = bounded.Tool(argv, max(1.0, self._until - time.monotonic()), MOST_BYTES, output, to_stdout=True)
        except OSError as error:
            self.reason = f"bpftrace: {error.strerror or error}"
            return False
        self.tools.append(self._tool)
        self._tail = Tail(output)
        return True

    def poll(self) -> Tuple[List[Handled], List[SlowCall]]:
        """What came since the last look; never waits. A program that the host refuses makes room for the next one."""
        if self._tool is None or self._tail is None:
            return [], []
        running = self._tool.poll()
        rows, calls = self._read(self._tail)
        if self._busy_turns >= BUSY_TURNS and self._calls_until_ns is None:
            self._calls_until_ns = monotonic_ns()
            self._tool.end()
        if not running and self._stopped_ns is None:
            self._ended()
        return rows, calls

    def _read(self, tail: Tail) -> Tuple[List[Handled], List[SlowCall]]:
        rows: List[Handled] = []
        calls: List[SlowCall] = []
        for line in tail.lines():
            found = self._parser.parse(line)
            if isinstance(found, Handled):
                self._turn.append(found)
            elif isinstance(found, SlowCall):
                if self._calls_until_ns is None or found.start_ns + found.duration_ns < self._calls_until_ns:
                    calls.append(found)
            elif isinstance(found, Watched):
                self._weigh(found.calls)
            elif isinstance(found, Heartbeat):
                self.ready = True
                rows += self._turned()
        return rows, calls

    def _weigh(self, calls: int) -> None:
        """See what looking at each system call costs the host."""
        self.calls_watched += calls
        rate = calls * 1000 // rxprogram.HEARTBEAT_MS
        most = most_calls_per_s(os.cpu_count() or 1)
        self._busy_turns = self._busy_turns + 1 if rate > most else 0
        if self._busy_turns == BUSY_TURNS and self._calls_reason is None:
            self._calls_reason = (
                f"not watched to the end: the host makes {rate} system calls a second, and to look at each would cost it "
                f"{rate * CALL_S * 100:.0f} % of a CPU (limit {most} a second)"
            )

    def _turned(self) -> List[Handled]:
        """The rows of the last half second, put in order; they come in none."""
        rows, self._turn = sorted(self._turn, key=order), []
        kept = rows[: max(0, MOST_ROWS - len(self.rows))]
        self.rows += kept
        self.rows_omitted += len(rows) - len(kept)
        return rows

    def _ended(self) -> None:
        assert self._tool is not None
        said = complaint(self._complaints()) or "ended without a word"
        if self._calls and self._calls_until_ns is not None:
            self.bytes_written += self._tool.size()
            self._attempts = [(self._source, False)]
            self.start()
            return
        if self.ready:
            full = self._tool.size() > bounded.SOFT_SHARE * MOST_BYTES
            self.reason = f"bpftrace ended before the window did: {'its file was full' if full else said}"
            self._tool = None
            return
        self._refusals.append(f"bpftrace with {self._source}{' and slow calls' if self._calls else ''}: {said}")
        self.start()

    def _complaints(self) -> str:
        assert self._tool is not None
        try:
            with open(self._tool.output + ".err", "rb") as file:
                return file.read(COMPLAINTS_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def finish(self) -> Tuple[List[Handled], List[SlowCall]]:
        """End it; what came since the last poll."""
        if self._tool is None or self._tail is None:
            return [], []
        self._stopped_ns = monotonic_ns()
        self._calls_until_ns = self._calls_until_ns or self._stopped_ns
        self._tool.finish()
        self.bytes_written += self._tool.size()
        rows: List[Handled] = []
        calls: List[SlowCall] = []
        for _ in range(MOST_BYTES // READ_BYTES + 1):
            more = self._read(self._tail)
            rows += more[0]
            calls += more[1]
        self._tool.discard()
        return rows + self._turned(), calls

    def capabilities(self) -> Dict[str, Dict[str, Any]]:
        """The rows rx_trace and slow_calls of `capabilities`. What is available has a `how` even where it ended early."""
        reason = self.reason or (None if self.ready else "bpftrace did not get ready in the window")
        calls = self._calls_reason or (reason if reason or self._calls else "; ".join(self._refusals))
        watched = self.ready and self._calls and self._calls_reason is None
        return {
            "rx_trace": sockets.capability(self.ready, self._source if self.ready else None, reason),
            "slow_calls": sockets.capability(watched, "bpf" if watched else None, calls),
        }


def most_calls_per_s(cpus: int) -> int:
    return max(MOST_CALLS_PER_S, MOST_CALLS_PER_CPU_S * cpus)


def unavailable() -> Optional[str]:
    """Why bpftrace can't be used here, with the remedy; None if it may work."""
    if bounded.find("bpftrace") is None:
        return "bpftrace is not installed: install the package bpftrace"
    if os.geteuid() != 0:
        return "tracing is for root: capture as root (stall_become)"
    return None


def complaint(text: str) -> str:
    """The first thing that bpftrace took for an error, without the one about locked memory that it always prints in a container."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and HARMLESS not in line]
    return next((line for line in lines if "ERROR" in line.upper()), lines[0] if lines else "")[:300]
