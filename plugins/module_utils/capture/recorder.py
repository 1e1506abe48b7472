# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flight recorder: perf samples all CPUs into a ring in memory, and a signal has it write the ring down.

So a stall is looked at after it has ended, and what came before it is still there. Without the overwriting ring of perf 4.7 and later
it is a plain recording of bounded size.
"""

import contextlib
import math
import os
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded
from ansible_collections.fleet.stall.plugins.module_utils.counters import source

# Writing the ring down is what costs (perf reads /proc/kallsyms twice for it), so the ring is large and holds several stalls.
RING_BYTES = 4 << 20
RINGS_BYTES = 32 << 20
# There is to be room for so many at the least.
LEAST_LOOKS = 4
# Of a sample with a deep kernel stack.
SAMPLE_BYTES = 350
PAGE = os.sysconf("SC_PAGE_SIZE")
FILE_BYTES = 60 << 20
# When a stall has been in the ring for this share of what it holds, the ring is written down: what led to the stall is still there.
HELD_SHARE = 0.5
# While perf writes the ring down it does not sample, so not more often than this.
BETWEEN_S = 0.4
# Looks without a stall, as control; one more at the end.
QUIET_LOOKS = 3
QUIET_SHARE = 0.5
# On more CPUs than this, those at fault are watched alone once they are known.
FEW_CPUS = 4
GAPS_TO_KNOW = 3
# Each start over costs a moment without samples. The last one takes all CPUs again.
MOST_WIDENINGS = 3
READY_S = 1.0
MODERN = ("--kernel-callchains", "--synth=task")
WAYS: Tuple[Tuple[str, Tuple[str, ...]], ...] = (
    ("flight recorder", MODERN),
    ("flight recorder", ()),
    ("plain", ()),
)


class Recorder:
    """`start` once, `poll` often, `finish` once. `reason`: why there is none, None if there is."""

    def __init__(self, hz: int, seconds: float, bytes_limit: int, workdir: str) -> None:
        self.hz, self.bytes_limit = hz, bytes_limit
        self.reason: Optional[str] = "perf was not started"
        self.ready = False
        # Set where nobody tells of stalls while they last: then all of the window is recorded, as far as there is room.
        self.alone = False
        self.cpus: List[int] = []
        self._online: List[int] = []
        self.bytes_written = 0
        # All that were started, the last of which may run.
        self.tools: List[bounded.Tool] = []
        self._workdir = workdir
        self._until = time.monotonic() + seconds
        self._quiet_every = seconds / QUIET_LOOKS
        self._ways = list(WAYS)
        self._how, self._options = "", ()  # type: Tuple[str, Tuple[str, ...]]
        self._tool: Optional[bounded.Tool] = None
        self._started = self._looked = 0.0
        self._quiet_bytes, self._narrowed, self._widenings = 0, False, 0
        self._wanted: Optional[float] = None
        self._generation = 0
        self._refusals: List[str] = []

    def start(self) -> bool:
        """Begin to record. False, with `reason`, if it can't be done here."""
        self.reason = unavailable()
        if self.reason or not self._ways:
            self.reason = self.reason or "; ".join(self._refusals)
            return False
        self._how, self._options = self._ways.pop(0)
        try:
            self._online = self._online or source.online_cpus()
        except source.Unavailable as error:
            self.reason = f"perf can't be told which CPUs to sample: {error}"
            return False
        self.cpus = self.cpus or self._online
        return self._launch()

    def _launch(self) -> bool:
        self._generation += 1
        self._started = self._looked = time.monotonic()
        prefix = os.path.join(self._workdir, f"perf.{self._generation}")
        argv = [str(bounded.find("perf"))] + arguments(self.hz, self.cpus, self._how, self._options, self.bytes_limit, prefix)
        # Not perf's own --max-size: the perf that a plain recording is for does not know it
        most_bytes = min(self.bytes_limit, FILE_BYTES) if self._how == "plain" else FILE_BYTES
        try:
            self._tool = bounded.Tool(argv, max(1.0, self._until - self._started), most_bytes, prefix)
        except OSError as error:
            self._tool, self.reason = None, f"perf: {error.strerror or error}"
            return False
        self.tools.append(self._tool)
        return True

    def want(self) -> None:
        """A stall has just ended: keep what led to it."""
        self._wanted = self._wanted or time.monotonic()

    def poll(self) -> None:
        """See that it runs, and look where that was asked for or is due. Never waits."""
        if self._tool is None:
            return
        now = time.monotonic()
        if not self._tool.poll():
            self._ended(now)
            return
        if now - self._started < READY_S:  # a signal now would kill it
            return
        self.ready = True
        if self._how == "plain" or now - self._looked < BETWEEN_S:
            return
        written = self._written()
        if written >= self.bytes_limit:
            return
        if self._wanted is not None:
            if now - self._wanted >= HELD_SHARE * ring_s(self.hz, len(self.cpus), self.bytes_limit) - BETWEEN_S:
                self._look(now)
        elif self.alone and now - self._looked >= self._covering_s(now, written):
            self._look(now)
        elif not self.alone and now - self._looked >= self._quiet_every and self._quiet_bytes < QUIET_SHARE * self.bytes_limit:
            self._quiet_bytes += written // max(1, len(self.files()))
            self._look(now)

    def _covering_s(self, now: float, written: int) -> float:
        """How long until the next look where the files are to hold all of the window: before the ring is full, if there is room."""
        files, cpus = len(self.files()), len(self.cpus)
        each = written // files if files else cpus * ring_pages(cpus, self.bytes_limit) * PAGE
        reach_s = ring_s(self.hz, cpus, self.bytes_limit) - BETWEEN_S
        return covering_s(reach_s, self._until - now, self.bytes_limit - written, each)

    def _look(self, now: float) -> None:
        assert self._tool is not None
        self._tool.nudge()
        self._looked, self._wanted = now, None

    def _ended(self, now: float) -> None:
        assert self._tool is not None
        full = self._tool.size() >= bounded.SOFT_SHARE * self._tool.max_bytes
        said = "its file was full" if full else self._tool.complaint() or "it ended without a word"
        self._tool = None
        if not self.ready and not self.files():
            self._refusals.append(f"perf ({self._how}): {said}")
            self.start()
        else:
            self.reason = f"perf ended before the window did: {said}"

    def narrow(self, cpus: Sequence[int]) -> None:
        """Watch these CPUs alone from now on, if there are many others. `cpus`: all that were ever at fault; one that is new is added."""
        if self._tool is None or self._how == "plain":
            return
        wanted = sorted(set(cpus))
        if not self._narrowed:
            if len(self.cpus) <= max(FEW_CPUS, len(wanted)):
                return
            self._narrowed = True
        elif set(wanted) <= set(self.cpus) or self._widenings >= MOST_WIDENINGS:
            return
        else:
            self._widenings += 1
            wanted = self._online if self._widenings == MOST_WIDENINGS else sorted({*wanted, *self.cpus})
        self._tool.finish()
        self.cpus = wanted
        self._launch()

    def files(self) -> List[str]:
        """What was written down, oldest first."""
        return [path for _time, path, _size in self._found()]

    def _found(self) -> List[Tuple[float, str, int]]:
        found = []
        for entry in os.scandir(self._workdir):
            if entry.name.startswith("perf.") and not entry.name.endswith(".err"):
                with contextlib.suppress(FileNotFoundError):  # perf gives a file another name once it is whole
                    status = os.stat(entry.path)
                    found.append((status.st_mtime, entry.path, status.st_size))
        return sorted(found)

    def _written(self) -> int:
        self.bytes_written = sum(size for _time, _path, size in self._found())
        return self.bytes_written

    def finish(self) -> List[str]:
        """End it, and say which files there are. The ring is written down once more at the end."""
        if self._tool is not None:
            self._tool.finish()
        self._written()
        return self.files()

    def capability(self) -> Dict[str, Any]:
        how = f"{self._how}, cpu-clock at {self.hz} Hz"
        return sockets.capability(
            self.ready, how if self.ready else None, self.reason or (None if self.ready else "perf did not get ready")
        )


def arguments(hz: int, cpus: Sequence[int], how: str, options: Sequence[str], bytes_limit: int, prefix: str) -> List[str]:
    """What perf is called with. cpu-clock also tells when a CPU was not sampled at all, which events of the PMU do not."""
    words = ["record", "-q", "-e", "cpu-clock", "-F", str(hz), "-g", "-k", "CLOCK_MONOTONIC", "-C", ",".join(map(str, cpus))]
    words += ["-B", "-N", *options, "-o", prefix]
    if how == "plain":
        return words
    return [*words, "--overwrite", "--switch-output=signal", "-m", str(ring_pages(len(cpus), bytes_limit))]


def ring_pages(cpus: int, bytes_limit: int) -> int:
    """Pages of each CPU's ring: a power of two, and all rings together bounded: several of them are to go into the files."""
    rings = min(RINGS_BYTES, bytes_limit // LEAST_LOOKS)
    most = max(8, min(RING_BYTES, rings // max(1, cpus)) // PAGE)
    return 1 << (most.bit_length() - 1)


def ring_s(hz: int, cpus: int, bytes_limit: int) -> float:
    """How far a CPU's ring reaches back when that CPU is busy in deep stacks; further, when it is not."""
    return ring_pages(cpus, bytes_limit) * PAGE / (hz * SAMPLE_BYTES)


def covering_s(reach_s: float, left_s: float, room: int, each: int) -> float:
    """The time between looks: as long as a ring reaches back; longer where so many files of `each` bytes have no room."""
    looks = room // max(1, each) - 1  # one more is made at the end
    return max(BETWEEN_S, reach_s, left_s / looks) if looks > 0 else math.inf


def unavailable() -> Optional[str]:
    """Why perf can't be used here, with the remedy; None if it may work."""
    if bounded.find("perf") is None:
        return "perf is not installed: install the package linux-perf (or linux-tools, perf)"
    if os.geteuid() != 0:
        return "sampling all CPUs is for root: capture as root (stall_become)"
    return None
