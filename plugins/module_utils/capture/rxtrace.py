# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running trace: bpftrace with the program that works on this host, read as it grows.

bpftrace writes to a file and the file is looked at ten times a second: a pipe would wake us up for each packet.
"""

import binascii
import os
import re
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, callbudget, rxprogram
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import monotonic_ns
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled, Sightings, order
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import Heartbeat, Parser, SlowCall, Watched
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text_or_none

MOST_BYTES = 48 << 20
READ_BYTES = 1 << 20
MOST_ROWS = 400000
# Of a map: probes of a turn, threads.
LEAST_KEYS, MOST_KEYS = 1 << 11, 1 << 17
TURN_S = rxprogram.TURN_MS / 1000
NETNS = "/proc/self/ns/net"
BTF = "/sys/kernel/btf/vmlinux"
# What is tried, best first: where the packets are seen, and whether slow calls are watched as well.
ATTEMPTS = (("tracepoint", True), ("tracepoint", False), ("kprobe", True), ("kprobe", False))
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

    def __init__(self, plan: Dict[str, Any], seconds: float, workdir: str, most_bytes: int = MOST_BYTES) -> None:
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
        self._until, self._most_bytes = time.monotonic() + seconds, min(most_bytes, MOST_BYTES)
        self.bytes_written = 0
        # All that were started, the last of which may run.
        self.tools: List[bounded.Tool] = []
        self._turn: List[Handled] = []
        self._sightings = Sightings()
        self._stopped_ns: Optional[int] = None
        self.rows_omitted = 0
        self.rows_lost = 0
        self.rows_refused = 0
        self.budget = callbudget.Budget(TURN_S)
        self._loud: Dict[int, int] = {}
        self._passed_over: List[str] = []
        self._over_budget = False
        self._begun_anew = 0
        self._calls_until_ns: Optional[int] = None
        self._keys = map_keys(plan["flows"], threads_here())

    def start(self) -> bool:
        """Start the next program that may work. False, with `reason`, if none is left."""
        try:
            return self._start()
        except OSError as error:  # as of a file system that is full
            self._tool, self.reason = None, f"bpftrace: {error.strerror or error}"
            return False

    def _start(self) -> bool:
        self.reason = unavailable()
        if self.reason or not self._attempts:
            self.reason = self.reason or "; ".join(self._refusals)
            return False
        self._source, self._calls = self._attempts.pop(0)
        netns = os.stat(NETNS).st_ino
        slow_ms = self._plan["slow_call_ms"] if self._calls else 0
        btf = os.path.exists(BTF)
        text = rxprogram.program(
            self._source, self._plan["token"], self._plan["flows"], netns, slow_ms, self._mark, btf, self._pids_passed_over()
        )
        program, output = (os.path.join(self._workdir, name) for name in ("rx.bt", "rx.out"))
        with open(program, "w") as file:
            file.write(text)
        limits = [f"BPFTRACE_STRLEN={rxprogram.NAME_BYTES}", f"BPFTRACE_MAP_KEYS_MAX={self._keys}"]
        argv = [str(bounded.find("env")), *limits, str(bounded.find("bpftrace")), "-B", "line", program]
        self._tool = bounded.Tool(argv, max(1.0, self._until - time.monotonic()), self._most_bytes, output, to_stdout=True)
        self.tools.append(self._tool)
        self._tail = Tail(output)
        return True

    def poll(self) -> Tuple[List[Handled], List[SlowCall]]:
        """What came since the last look; never waits. A program that the host refuses makes room for the next one."""
        if self._tool is None or self._tail is None:
            return [], []
        running = self._tool.poll()
        rows, calls = self._read(self._tail)
        if self._over_budget and self._calls_until_ns is None:
            self._calls_until_ns = monotonic_ns()
            self._tool.end()
        if not running and self._stopped_ns is None:
            self._ended()
        return rows, calls

    @property
    def live(self) -> bool:
        """Whether it still tells, or may yet tell, of what is handled."""
        return self._tool is not None and self._stopped_ns is None

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
                self._weigh(found)
            elif isinstance(found, Heartbeat):
                self.ready = True
                self.rows_refused += found.refused
                rows += self._turned(found.at_ns)
        return rows, calls

    def _weigh(self, found: Watched) -> None:
        """See what looking at each system call costs the host."""
        if found.pid is not None:
            self._loud[found.pid] = found.calls
            return
        loud, self._loud = self._loud, {}
        if self.budget.turn(found.calls, loud):
            self._over_budget = True
            self._passed_over = [
                f"{text_or_none(f'/proc/{each.pid}/comm') or '?'} (pid {each.pid}, {each.per_s} a second)"
                for each in self.budget.passed_over
            ]

    def _turned(self, until_ns: int) -> List[Handled]:
        """The rows of this turn, put in order (they come in none), each probe once."""
        turn, self._turn = sorted(self._turn, key=order), []
        if len(turn) >= self._keys:
            self.rows_lost += beyond(turn, min(until_ns, rxprogram.filled_until(turn[-1].at_ns)))
        rows = list(filter(self._sightings.is_first, turn))
        kept = rows[: max(0, MOST_ROWS - len(self.rows))]
        self.rows += kept
        self.rows_omitted += len(rows) - len(kept)
        return rows

    def _ended(self) -> None:
        assert self._tool is not None
        said = complaint(self._complaints()) or "ended without a word"
        if self._over_budget:
            self.bytes_written += self._tool.size()
            self._over_budget, self._calls_until_ns = False, None
            self._begun_anew += 1
            self._attempts = [(self._source, self.budget.exceeded is None)]
            self.start()
            return
        if self.ready:
            full = self._tool.size() > bounded.SOFT_SHARE * self._most_bytes
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
        return rows + self._turned(self._stopped_ns), calls

    def _pids_passed_over(self) -> List[int]:
        return [each.pid for each in self.budget.passed_over]

    def problems(self) -> List[str]:
        """What was not seen for want of room or of time, in sentences."""
        found = []
        if self.rows_omitted:
            found.append(f"{self.rows_omitted} probes that were handled after the first {MOST_ROWS} were not looked at")
        if self.rows_lost:
            found.append(f"about {self.rows_lost} probes that were handled went unseen: more than {self._keys} in {TURN_S} s")
        if self.rows_refused:
            found.append(
                f"{self.rows_refused} TCP segments to probed ports were not looked at: more than {rxprogram.TCP_ROWS} in {TURN_S} s"
            )
        if self._begun_anew:
            found.append(
                f"the trace of packets was begun anew {self._begun_anew} times, and saw none meanwhile: system calls cost too much to watch"
            )
        if self._calls and threads_here() > self._keys:
            found.append(f"slow system calls were watched of {self._keys} threads, this host has {threads_here()}")
        if self._passed_over and self.budget.exceeded is None:
            found.append(f"for the cost of it, slow system calls were not watched of {', '.join(self._passed_over)}")
        return found

    def capabilities(self) -> Dict[str, Dict[str, Any]]:
        """The rows rx_trace and slow_calls of `capabilities`. What is available has a `how` even where it ended early."""
        reason = self.reason or (None if self.ready else "bpftrace did not get ready in the window")
        calls = self.budget.exceeded or (reason if reason or self._calls else "; ".join(self._refusals))
        watched = self.ready and self._calls and self.budget.exceeded is None
        return {
            "rx_trace": sockets.capability(self.ready, self._source if self.ready else None, reason),
            "slow_calls": sockets.capability(watched, "bpf" if watched else None, calls),
        }


def beyond(rows: Sequence[Handled], until_ns: int) -> int:
    """How many rows a map has most likely refused that these have filled: as many a second as they were until then."""
    first, last = rows[0].at_ns, rows[-1].at_ns
    return max(1, (until_ns - last) * len(rows) // max(1, last - first))


def map_keys(flows: Sequence[Dict[str, Any]], threads: int) -> int:
    """Room in the program's maps: for twice the probes of a turn that are due, and twice the threads there are."""
    due = sum(1000.0 / flow["interval_ms"] for flow in flows) * TURN_S + rxprogram.TCP_ROWS
    wanted = int(2 * max(due, threads))
    return min(MOST_KEYS, max(LEAST_KEYS, 1 << wanted.bit_length()))


def threads_here() -> int:
    """How many threads the host has (proc_loadavg(5)); 0 where that can't be read."""
    found = re.search(r"\d+/(\d+)", text_or_none("/proc/loadavg") or "")
    return int(found.group(1)) if found else 0


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
