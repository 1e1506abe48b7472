# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the flight recorder wrote down, as runs and folded stacks. Times as recorded (CLOCK_MONOTONIC, ns)."""

import math
import time
from bisect import bisect_right
from heapq import heappush, heappushpop
from typing import Any, Collection, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile import perfdata, runs
from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, ProfileError, Sample

Span = Tuple[int, int]
# comm, frames
Stack = Tuple[str, Tuple[str, ...]]
# cpu, start_ns, end_ns
Hole = Tuple[int, int, int]
# Some are lost whenever perf writes its ring down.
LOST_SHARE = 0.01
BEFORE_NS, AFTER_NS = 50000000, 20000000
SHORTEST_NS = 3000000
MOST_NEAR, MOST_ELSEWHERE = 1500, 100
# Different stacks that are counted; those that matter are met early and often.
MOST_FOLDED = 20000


class Recording(NamedTuple):
    """What the samples tell.

    `runs` worth keeping, by start: all of 3 ms or longer near gaps, those that end a hole, and the longest elsewhere.
    `holes` near gaps, by start; a hole between two files is none. None where the CPUs' idling was not sampled, so that they can't be told.
    `folded`: see Folding. `spans`: one for each file, in which all CPUs have samples. `cpus`: which have samples. `problems`: sentences.
    """

    runs: List[runs.Run]
    holes: Optional[List[Hole]]
    folded: Dict[str, Any]
    spans: List[Span]
    cpus: List[int]
    problems: List[str]


def read(
    paths: Sequence[str], gaps: Sequence[Dict[str, Any]], period_ns: int, at_fault: Collection[int] = (), until: float = math.inf
) -> Recording:
    """The recording in the files (oldest first), in bounded memory: where there is no room, of the CPUs at fault alone.

    No file is begun after `until`, in seconds of time.monotonic().
    """
    spans: List[Span] = []
    problems: List[str] = []
    return told(_samples(paths, at_fault, until, spans, problems), gaps, period_ns, spans)._replace(problems=problems)


def _samples(paths: Sequence[str], at_fault: Collection[int], until: float, spans: List[Span], problems: List[str]) -> Iterator[Sample]:
    """Those of all files, and at the end of each what there is to say."""
    if not paths:
        return
    symbols = Symbols.load()
    if not symbols.available:
        problems.append(f"the stacks have no names: {symbols.reason}")
    there = lost = in_part = 0
    for place, path in enumerate(paths):
        if time.monotonic() >= until:
            problems.append(f"of {len(paths)} recordings the last {len(paths) - place} were not read: there was no time")
            break
        counts = Counts()
        try:
            with open(path, "rb") as file:
                yield from covered(perfdata.in_time_order(file, symbols if symbols.available else None, counts, at_fault), spans)
        except (OSError, ProfileError) as error:
            problems.append(f"a recording of perf can't be read: {error}")
        there += counts.samples - counts.unordered
        lost += counts.lost + counts.unordered
        in_part += counts.crowded
    if in_part:
        problems.append(
            f"of {len(paths)} recordings {in_part} held more samples than there is room for ({perfdata.QUEUE_LIMIT}): only "
            f"the CPUs whose probes waited ({', '.join(map(str, sorted(at_fault)))}) were read"
        )
    if lost > LOST_SHARE * there:
        problems.append(f"perf lost {lost} samples, {there} are there")


def covered(samples: Iterable[Sample], spans: List[Span]) -> Iterator[Sample]:
    """The samples of one file (oldest first), and into `spans` from when to when all its CPUs have some: their rings may reach back
    differently far."""
    first: Dict[int, int] = {}
    last: Dict[int, int] = {}
    try:
        for sample in samples:
            if sample.cpu not in last:
                first[sample.cpu] = sample.time_ns
            last[sample.cpu] = sample.time_ns
            yield sample
    finally:
        if first and max(first.values()) < min(last.values()):
            spans.append((max(first.values()), min(last.values())))


def told(samples: Iterable[Sample], gaps: Sequence[Dict[str, Any]], period_ns: int, spans: List[Span]) -> Recording:
    """In one pass over the samples, those of each CPU oldest first. `spans` need not be complete before the samples are read."""
    near = Windows(around(gaps))
    folding = Folding(gaps, near)
    chosen = _Chosen(near)
    holes: runs.Holes = {}
    after_holes: List[runs.Run] = []
    cpus: Set[int] = set()
    idled = False
    for run in runs.stream(folding.passed(samples), period_ns, holes):
        cpus.add(run.cpu)
        idled = idled or run.pid == 0
        begun = holes.get((run.cpu, run.start_ns))
        if begun is not None and near.touch(begun, run.start_ns):
            after_holes.append(run)
        else:
            chosen.add(run)
    found = [(cpu, start, end) for (cpu, end), start in holes.items() if near.touch(start, end) and _in_one(spans, start, end)]
    ends = {(hole[0], hole[2]) for hole in found}
    kept = [run for run in after_holes if (run.cpu, run.start_ns) in ends]
    for run in after_holes:
        if (run.cpu, run.start_ns) not in ends:
            chosen.add(run)
    ordered = sorted(kept + chosen.kept(), key=lambda run: (run.start_ns, run.cpu))
    by_start = sorted(found, key=lambda hole: (hole[1], hole[0]))
    return Recording(ordered, by_start if idled else None, folding.result(cpus, spans), spans, sorted(cpus), [])


def _in_one(spans: Sequence[Span], start: int, end: int) -> bool:
    return any(begun <= start and end <= ended for begun, ended in spans)


class _Longest:
    """Of the runs it is given the longest, of two that are as long the earlier."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: List[Tuple[int, int, int, runs.Run]] = []

    def takes(self, length_ns: int) -> bool:
        return len(self._heap) < self._most or length_ns >= self._heap[0][0]

    def add(self, run: runs.Run) -> None:
        row = run.end_ns - run.start_ns, -run.start_ns, -run.cpu, run
        if len(self._heap) < self._most:
            heappush(self._heap, row)
        else:
            heappushpop(self._heap, row)

    def kept(self) -> List[runs.Run]:
        return [row[-1] for row in self._heap]


class _Chosen:
    """The runs worth keeping, whatever holes there are."""

    def __init__(self, near: "Windows") -> None:
        self._near = near
        self._close, self._elsewhere = _Longest(MOST_NEAR), _Longest(MOST_ELSEWHERE)

    def add(self, run: runs.Run) -> None:
        length = run.end_ns - run.start_ns
        if self._near.touch(run.start_ns, run.end_ns):
            if length >= SHORTEST_NS:
                self._close.add(run)
        elif self._elsewhere.takes(length) and not runs.idle(run):
            self._elsewhere.add(run)

    def kept(self) -> List[runs.Run]:
        return self._close.kept() + self._elsewhere.kept()


def joined(spans: Iterable[Span], apart_ns: int) -> List[Span]:
    """Spans that are not further apart as one."""
    found: List[Span] = []
    for start, end in sorted(spans):
        if found and start - found[-1][1] <= apart_ns:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


class Windows:
    """Spans of time, for asking whether something is in one of them."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = joined(spans, 0)
        self._starts = [start for start, _end in self._spans]

    def touch(self, start: int, end: int) -> bool:
        before = bisect_right(self._starts, end)
        return before > 0 and self._spans[before - 1][1] >= start

    def total(self) -> int:
        return sum(end - start for start, end in self._spans)

    def within(self, others: Iterable[Span]) -> "Windows":
        """The part of these windows that is in the others."""
        both = [(max(a, c), min(b, d)) for a, b in self._spans for c, d in joined(others, 0) if max(a, c) < min(b, d)]
        return Windows(both)


def around(gaps: Sequence[Dict[str, Any]], before: int = BEFORE_NS, after: int = AFTER_NS) -> List[Span]:
    return [(gap["start_ns"] - before, gap["end_ns"] + after) for gap in gaps]


class Folding:
    """Counts samples by stack as they pass: in a gap (from its start to its end, on its CPU), and well away from any gap.

    On the CPUs that have gaps (all, where there are none), without idling.
    """

    def __init__(self, gaps: Sequence[Dict[str, Any]], near: Windows) -> None:
        self._near = near
        cpus = {gap["cpu"] for gap in gaps}
        self._inside = {cpu: Windows((gap["start_ns"], gap["end_ns"]) for gap in gaps if gap["cpu"] == cpu) for cpu in cpus}
        self._during: Dict[Stack, int] = {}
        self._quiet: Dict[Stack, int] = {}

    def passed(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        nowhere, inside, near = Windows(()), self._inside, self._near
        for sample in samples:
            time_ns, cpu, pid, _tid, comm, frames = sample
            if pid != 0 and (not inside or cpu in inside):
                if inside.get(cpu, nowhere).touch(time_ns, time_ns):
                    _count(self._during, (comm, frames))
                elif not near.touch(time_ns, time_ns):
                    _count(self._quiet, (comm, frames))
            yield sample

    def result(self, recorded_cpus: Collection[int], spans: Sequence[Span]) -> Dict[str, Any]:
        """{gaps {(comm, "root;..;leaf"): samples}, quiet {..}, gaps_s, quiet_s}: the seconds are of one CPU each."""
        whole = joined(spans, 0)
        recorded_ns = sum(end - start for start, end in whole)
        quiet_ns = (recorded_ns - self._near.within(whole).total()) * len(self._inside or recorded_cpus)
        return {
            "gaps": {(comm, ";".join(frames)): count for (comm, frames), count in self._during.items()},
            "quiet": {(comm, ";".join(frames)): count for (comm, frames), count in self._quiet.items()},
            "gaps_s": round(sum(window.within(whole).total() for window in self._inside.values()) / 1e9, 3),
            "quiet_s": round(quiet_ns / 1e9, 3),
        }


def _count(counts: Dict[Stack, int], stack: Stack) -> None:
    if stack in counts:
        counts[stack] += 1
    elif len(counts) < MOST_FOLDED:
        counts[stack] = 1
