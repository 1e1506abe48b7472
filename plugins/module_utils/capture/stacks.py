# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the flight recorder wrote down, as runs and folded stacks. Times as recorded (CLOCK_MONOTONIC, ns)."""

import math
import time
from typing import Any, Collection, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile import perfdata, runs
from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, ProfileError, Sample

Span = Tuple[int, int]
MOST_SAMPLES = 300000
# Some are lost whenever perf writes its ring down.
LOST_SHARE = 0.01
BEFORE_NS, AFTER_NS = 50000000, 20000000
SHORTEST_NS = 3000000
MOST_NEAR, MOST_ELSEWHERE = 1500, 100


class Recording(NamedTuple):
    """`spans`: one for each file, in which all CPUs have samples. `problems`: sentences."""

    samples: List[Sample]
    spans: List[Span]
    cpus: List[int]
    problems: List[str]


def read(paths: Sequence[str], at_fault: Collection[int] = (), until: float = math.inf) -> Recording:
    """The samples of the files, oldest first: of all together no more than MOST_SAMPLES, those of the CPUs at fault before the others'.

    No file is begun after `until`, in seconds of time.monotonic().
    """
    if not paths:
        return Recording([], [], [], [])
    symbols = Symbols.load()
    problems = [] if symbols.available else [f"the stacks have no names: {symbols.reason}"]
    samples: List[Sample] = []
    spans: List[Span] = []
    lost = in_part = 0
    for place, path in enumerate(paths):
        if time.monotonic() >= until:
            problems.append(f"of {len(paths)} recordings the last {len(paths) - place} were not read: there was no time")
            break
        counts = Counts()
        room = (MOST_SAMPLES - len(samples)) // (len(paths) - place)
        try:
            with open(path, "rb") as file:
                taken, whole = _within(perfdata.read(file, symbols if symbols.available else None, counts), room, at_fault)
        except (OSError, ProfileError) as error:
            problems.append(f"a recording of perf can't be read: {error}")
            continue
        lost += counts.lost
        in_part += not whole
        taken.sort(key=_time)
        samples += taken
        spans += covered(taken)
    if in_part:
        which = f"the CPUs whose probes waited ({', '.join(map(str, sorted(at_fault)))})" if at_fault else "the first samples"
        problems.append(
            f"of {len(paths)} recordings {in_part} held more samples than there is room for ({MOST_SAMPLES}): only {which} were read"
        )
    if lost > LOST_SHARE * len(samples):
        problems.append(f"perf lost {lost} samples, {len(samples)} are there")
    samples.sort(key=_time)
    return Recording(samples, spans, sorted({sample.cpu for sample in samples}), problems)


def _within(samples: Iterable[Sample], room: int, cpus: Collection[int]) -> Tuple[List[Sample], bool]:
    """As many as there is room for, and whether these are all. Where they get too many, those of other CPUs are let go first."""
    kept: List[Sample] = []
    whole = True
    for sample in samples:
        if whole and len(kept) >= room:
            whole = False
            kept = [each for each in kept if each.cpu in cpus] if cpus else kept
        if len(kept) >= room:
            break
        if whole or sample.cpu in cpus:
            kept.append(sample)
    return kept, whole


def _time(sample: Sample) -> int:
    return sample.time_ns


def covered(samples: Sequence[Sample]) -> List[Span]:
    """From when to when all CPUs of one file (samples oldest first) have samples: their rings may reach back differently far."""
    first: Dict[int, int] = {}
    last: Dict[int, int] = {}
    for sample in samples:
        first.setdefault(sample.cpu, sample.time_ns)
        last[sample.cpu] = sample.time_ns
    if not first or max(first.values()) >= min(last.values()):
        return []
    return [(max(first.values()), min(last.values()))]


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

    def touch(self, start: int, end: int) -> bool:
        low, high = 0, len(self._spans)
        while low < high:
            middle = (low + high) // 2
            if self._spans[middle][1] < start:
                low = middle + 1
            else:
                high = middle
        return low < len(self._spans) and self._spans[low][0] <= end

    def total(self) -> int:
        return sum(end - start for start, end in self._spans)

    def within(self, others: Iterable[Span]) -> "Windows":
        """The part of these windows that is in the others."""
        both = [(max(a, c), min(b, d)) for a, b in self._spans for c, d in joined(others, 0) if max(a, c) < min(b, d)]
        return Windows(both)


def around(gaps: Sequence[Dict[str, Any]], before: int = BEFORE_NS, after: int = AFTER_NS) -> List[Span]:
    return [(gap["start_ns"] - before, gap["end_ns"] + after) for gap in gaps]


def timed(recording: Recording, gaps: Sequence[Dict[str, Any]], period_ns: int) -> Tuple[List[runs.Run], Optional[List[runs.Hole]]]:
    """(runs, holes) worth keeping: all runs of 3 ms or longer near gaps and those that end a hole, the longest elsewhere; by start.

    A hole between two files is none. None for the holes where the CPUs' idling was not sampled, so that they can't be told.
    """
    found = runs.collapse(recording.samples, period_ns)
    near = Windows(around(gaps))
    idled = any(sample.pid == 0 for sample in recording.samples)
    holes = [hole for hole in runs.holes(recording.samples, period_ns) if near.touch(hole[1], hole[2]) and _in_one(recording.spans, hole)]
    ends = {(hole[0], hole[2]) for hole in holes}
    kept = [run for run in found if (run.cpu, run.start_ns) in ends]
    rest = [run for run in found if (run.cpu, run.start_ns) not in ends]
    by_length = sorted(rest, key=lambda run: run.start_ns - run.end_ns)
    kept += [run for run in by_length if run.end_ns - run.start_ns >= SHORTEST_NS and near.touch(run.start_ns, run.end_ns)][:MOST_NEAR]
    kept += [run for run in by_length if not near.touch(run.start_ns, run.end_ns) and not runs.idle(run)][:MOST_ELSEWHERE]
    return sorted(kept, key=lambda run: (run.start_ns, run.cpu)), (holes if idled else None)


def _in_one(spans: Sequence[Span], hole: runs.Hole) -> bool:
    return any(start <= hole[1] and hole[2] <= end for start, end in spans)


def folded(recording: Recording, gaps: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """{gaps {(comm, stack): samples}, quiet {..}, gaps_s, quiet_s}, on the CPUs that have gaps (all, where there are none), without idling.

    In a gap, from its start to its end on its CPU, and well away from any gap. The seconds are of one CPU each.
    """
    cpus = {gap["cpu"] for gap in gaps} or set(recording.cpus)
    inside = {cpu: Windows((gap["start_ns"], gap["end_ns"]) for gap in gaps if gap["cpu"] == cpu) for cpu in cpus}
    near = Windows(around(gaps))
    spans = joined(recording.spans, 0)
    busy = [sample for sample in recording.samples if sample.cpu in cpus and sample.pid != 0]
    during = [sample for sample in busy if inside[sample.cpu].touch(sample.time_ns, sample.time_ns)]
    quiet = [sample for sample in busy if not near.touch(sample.time_ns, sample.time_ns)]
    recorded_ns = sum(end - start for start, end in spans)
    return {
        "gaps": runs.folded(during),
        "quiet": runs.folded(quiet),
        "gaps_s": round(sum(window.within(spans).total() for window in inside.values()) / 1e9, 3),
        "quiet_s": round((recorded_ns - near.within(spans).total()) * len(cpus) / 1e9, 3),
    }
