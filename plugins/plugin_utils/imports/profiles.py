# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ran on a CPU before a thread for packets took it: out of `perf script` text, or of stacks collapsed a line a sample, in time order.

Recordings of others have no clock in common with the probes. So nothing here is joined by time: a hand-over to ksoftirqd/N or a napi thread
is a place in the recording where a stall may have ended.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from statistics import median_low
from typing import NamedTuple

from ansible_collections.fleet.stall.plugins.module_utils.profile import perfscript, runs
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import IDLE, USER, Counts, Sample
from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.packetlog import cpu_of
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.symbols import ENTRY, normalise
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Task

# The rate of the article, where a recording does not tell its own
PERIOD_NS = round(1e9 / 999)
LOOK_BACK_NS = 1000 * MS
LOOKED_AT = 2000
HAND_OVERS_LIMIT = 5000
STACKS_LIMIT = 50_000
FOLDED_LIMIT = 200_000
# Share of samples that take turns from which on they are of several CPUs
TURNS = 0.2
_PERIOD_NS = (10_000, 100 * MS)

_FOLDED = re.compile(r"(\S[^;\t]{0,80});(\S.*?)(?: (\d{1,6}))?\s{0,8}", re.ASCII)
_IDS = re.compile(r"(.{1,64})-(?:(\d{1,10}|\?)/)?(\d{1,10})\Z", re.ASCII)
_BREAK = re.compile(r"-{2,}\s{0,8}")
_KERNEL = re.compile(r"_\[k\]$")


@dataclass(frozen=True, slots=True)
class HandOver:
    """``before``: the runs on that CPU in the second before, in their order."""

    cpu: int
    start_ns: int
    thread: Task
    before: tuple[runs.Run, ...]


@dataclass(slots=True)
class Profile:
    """``cpus``: those with samples; -1: the recording does not say. ``counts``: (comm, folded stack) -> samples, all of it.

    ``totals``: why that is all that there is, and no hand-over; empty where the samples are in the order of time. ``timeless``: they have
    no times, and count as equally far apart.
    """

    hand_overs: list[HandOver] = field(default_factory=list)
    cpus: set[int] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: int = 0
    skipped: int = 0
    omitted: int = 0
    period_ns: int = PERIOD_NS
    totals: str = ""
    timeless: bool = False


def recognises_folded(line: str) -> bool:
    return line.count(";") >= 2 and _FOLDED.fullmatch(line) is not None


def recognises_script(line: str) -> bool:
    return perfscript.HEADER.match(line) is not None or bool(re.match(r"\s+[0-9a-f]{6,16} \S.* \(.*\)\s*$", line, re.ASCII))


def read_script(lines: Iterable[str], hz: float | None = None) -> Profile:
    """Of `perf script` text. Never raises."""
    counts, turns = Counts(), _Turns()
    profile = _read(turns.noting(perfscript.read(lines, counts)), hz)
    profile.skipped = counts.skipped
    numbers = {cpu for comm, _ in profile.counts if (cpu := cpu_of(comm)) is not None}
    if profile.cpus == {-1} and (len(numbers) != 1 or turns.are_of_several):
        profile.totals, profile.hand_overs = "its samples do not say of which CPU they are (perf script -F +cpu)", []
    elif profile.timeless and len(profile.cpus) > 1:
        profile.totals, profile.hand_overs = "its samples do not say when they were taken (perf script -F +time)", []
    return profile


class _Turns:
    """Whether tasks take turns sample by sample, as those of several CPUs do where nothing parts them, and those of one hardly ever."""

    def __init__(self) -> None:
        self.busy = self.back = 0

    @property
    def are_of_several(self) -> bool:
        return self.back > TURNS * self.busy

    def noting(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        last = before = -1
        for sample in samples:
            if sample.tid != 0:
                self.busy += 1
                self.back += sample.tid == before != last
            before, last = last, sample.tid
            yield sample


def read_folded(lines: Iterable[str], hz: float | None = None) -> Profile:
    """Of lines `comm;frame;..;frame`, one a sample. The CPU is that of the one ksoftirqd/N in it. Never raises.

    Stacks with counts, as stackcollapse-perf.pl adds them up and sorts them, have lost the order: the alphabet has put them side by side.
    """
    counts = Counts()
    period_ns = round(1e9 / hz) if hz else PERIOD_NS
    unfolded = _unfold(lines, period_ns, counts)
    rows = list(islice(unfolded, FOLDED_LIMIT))
    omitted = sum(1 for _ in unfolded)
    if totals := _why_totals(rows):
        profile = Profile(period_ns=period_ns, totals=totals)
        for row in rows:
            profile.counts[row.sample.comm, ";".join(row.sample.frames)] += row.samples
            profile.samples += row.samples
    else:
        cpus = {cpu for row in rows if (cpu := cpu_of(row.sample.comm)) is not None}
        cpu = cpus.pop() if len(cpus) == 1 else -1
        profile = _read((row.sample._replace(cpu=cpu) for row in rows), 1e9 / period_ns)
    profile.skipped, profile.omitted = counts.skipped, profile.omitted + omitted
    return profile


class _Row(NamedTuple):
    stack: str
    samples: int
    sample: Sample


def _why_totals(rows: list[_Row]) -> str:
    if any(row.samples > 1 for row in rows):
        return "its stacks have counts"
    if len(rows) > 1 and all(row.stack < following.stack for row, following in pairwise(rows)):
        return "its stacks are sorted, each once"
    return ""


def _unfold(lines: Iterable[str], period_ns: int, counts: Counts) -> Iterator[_Row]:
    at = 0
    for line in lines:
        if _BREAK.fullmatch(line):
            at += 10 * LOOK_BACK_NS  # of grep: what stands beyond it was not next to this
            continue
        row = _FOLDED.fullmatch(line) if ";" in line else None
        if row is None:
            counts.skipped += bool(line.strip())
            continue
        comm, pid, tid = row[1], -1, -1
        if named := _IDS.match(comm):
            comm, tid = named[1], int(named[3])
            pid = int(named[2]) if named[2] and named[2] != "?" else tid
        frames = tuple(frame for frame in row[2].split(";") if frame)
        at += period_ns
        sample = Sample(at, -1, pid, tid, comm, frames if _in_kernel(comm, frames) else (USER,))
        yield _Row(f"{row[1]};{row[2]}", int(row[3] or 1), sample)


def _in_kernel(comm: str, frames: tuple[str, ...]) -> bool:
    """Whether a stack without addresses ends in the kernel."""
    if comm.startswith(IDLE) or classes.is_packet_thread(comm):
        return True
    return any(_KERNEL.search(frame) or normalise(frame) == ENTRY for frame in frames) or classes.syscall(";".join(frames)) is not None


def _read(samples: Iterable[Sample], hz: float | None) -> Profile:
    profile = Profile()
    first = list(islice(samples, LOOKED_AT))
    profile.period_ns = round(1e9 / hz) if hz else _period_ns(first)
    recent: dict[int, deque[runs.Run]] = defaultdict(deque)
    for run in runs.stream(_counted(chain(first, samples), profile), profile.period_ns):
        before = recent[run.cpu]
        while before and before[0].end_ns < run.start_ns - LOOK_BACK_NS:
            before.popleft()
        if classes.is_packet_thread(run.comm):
            task = Task(run.comm, run.pid, run.tid)
            if len(profile.hand_overs) < HAND_OVERS_LIMIT:
                profile.hand_overs.append(HandOver(run.cpu, run.start_ns, task, tuple(before)))
            else:
                profile.omitted += 1
        before.append(run)
    return profile


def _counted(samples: Iterable[Sample], profile: Profile) -> Iterator[Sample]:
    """With the idle task under one name, and time as the number of the sample where the recording has none."""
    without_time = 0
    for sample in samples:
        profile.samples += 1
        profile.cpus.add(sample.cpu)
        comm = IDLE if sample.comm.startswith(f"{IDLE}/") else sample.comm
        if sample.time_ns == 0:
            without_time, profile.timeless = without_time + profile.period_ns, True
            sample = sample._replace(time_ns=without_time)
        key = (comm, ";".join(sample.frames))
        if key in profile.counts or len(profile.counts) < STACKS_LIMIT:
            profile.counts[key] += 1
        yield sample if comm == sample.comm else sample._replace(comm=comm)


def _period_ns(samples: list[Sample]) -> int:
    last: dict[int, int] = {}
    steps = []
    for sample in samples:
        step = sample.time_ns - last.get(sample.cpu, sample.time_ns)
        last[sample.cpu] = sample.time_ns
        if _PERIOD_NS[0] <= step <= _PERIOD_NS[1]:
            steps.append(step)
    return median_low(steps) if steps else PERIOD_NS
