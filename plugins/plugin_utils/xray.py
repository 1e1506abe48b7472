# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorder's runs by CPU and time: who had a CPU in an interval, for how much of it, and where it was not sampled at all.

What came from the host and makes no sense is left out: a row, never the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, merge

# A task that is seen within so long of a hole's end is the one that ended it
AFTER_HOLE_NS = 3 * MS
IDLE_PID = 0


@dataclass(frozen=True, slots=True)
class Task:
    comm: str
    pid: int
    tid: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as it was recorded."""

    start_ns: int
    end_ns: int
    cpu: int
    task: Task
    policy: str | None
    kernel: float
    stacks: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Part:
    """What one process, or one softirq vector, had of the CPU in an interval."""

    vector: str | None
    by_task: dict[Task, int] = field(default_factory=lambda: defaultdict(int))
    by_stack: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    intervals: list[tuple[int, int]] = field(default_factory=list)
    kernel_ns: float = 0.0
    ns: int = 0
    policy: str | None = None

    @property
    def task(self) -> Task:
        return max(self.by_task, key=lambda task: (self.by_task[task], -task.tid))


@dataclass(slots=True)
class Look:
    """An interval of one CPU: ``parts`` by time, ``idle_ns``, ``own_ns`` of the handler at its own work, in whose name ever packets were
    received, ``holes`` without samples."""

    parts: list[Part]
    idle_ns: int
    own_ns: int
    own_stacks: dict[str, float]
    holes: list[tuple[int, int]]

    @property
    def hole_ns(self) -> int:
        return sum(end - start for start, end in self.holes)


class Xray:
    """The recorder's part of capture.json."""

    def __init__(self, capture: Mapping[str, Any]) -> None:
        table = capture.get("stacks")
        self._stacks = [stack if isinstance(stack, str) else "" for stack in table] if isinstance(table, list) else []
        self._runs: dict[int, list[Seen]] = defaultdict(list)
        for run in self._read_runs(capture.get("runs")):
            self._runs[run.cpu].append(run)
        for runs in self._runs.values():
            runs.sort(key=lambda run: (run.start_ns, run.end_ns, run.task.tid))
        self._holes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for cpu, start, end in _triples(capture.get("holes")):
            self._holes[cpu].append((start, end))
        self.sampled = _whole(capture.get("cpus"))
        self.cpus = sorted({*self.sampled, *self._runs})
        self.recorded = merge(_pairs(capture.get("recorded")))
        self.has_holes = isinstance(capture.get("holes"), list)

    def _read_runs(self, rows: Any) -> Iterable[Seen]:
        for row in rows if isinstance(rows, list) else []:
            try:
                stacks = tuple(
                    (self._stacks[index], count) for index, count in row["stacks"] if 0 <= index < len(self._stacks) and count > 0
                )
                run = Seen(
                    _int(row["start_ns"]),
                    _int(row["end_ns"]),
                    _int(row["cpu"]),
                    Task(str(row["comm"]), _int(row["pid"]), _int(row["tid"])),
                    row.get("policy") if isinstance(row.get("policy"), str) else None,
                    min(1.0, max(0.0, float(row.get("kernel") or 0.0))),
                    stacks,
                )
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
                continue
            if run.end_ns > run.start_ns and run.cpu >= 0:
                yield run

    def stack(self, index: Any) -> str | None:
        return self._stacks[index] if isinstance(index, int) and 0 <= index < len(self._stacks) else None

    def runs_of(self, pid: int, cpus: Iterable[int]) -> list[Seen]:
        """All recorded runs of a process on these CPUs, by start."""
        return sorted((run for cpu in cpus for run in self._runs.get(cpu, ()) if run.task.pid == pid), key=lambda run: run.start_ns)

    def runs_named(self, comm: str, cpus: Iterable[int]) -> list[Seen]:
        """The same of all processes of a name."""
        return sorted((run for cpu in cpus for run in self._runs.get(cpu, ()) if run.task.comm == comm), key=lambda run: run.start_ns)

    def runs_on(self, cpus: Iterable[int]) -> list[Seen]:
        """The same of all, by CPU."""
        return [run for cpu in cpus for run in self._runs.get(cpu, ())]

    def covered_ns(self, start: int, end: int) -> int:
        """How much of an interval the recorder has samples of."""
        return _overlap(self.recorded, start, end)

    def look(self, cpu: int, start: int, end: int, handler: Task | None) -> Look:
        """Who had a CPU between two moments. No nanosecond is counted twice, whatever the recording says."""
        found: dict[object, Part] = {}
        look = Look([], 0, 0, defaultdict(float), [])
        cursor = start
        for run in self._runs.get(cpu, ()):
            first, last = max(run.start_ns, cursor), min(run.end_ns, end)
            if last <= first:
                continue
            cursor = last
            self._add(run, first, last, handler, look, found)
        look.parts = sorted(found.values(), key=lambda part: (-part.ns, part.task.pid))
        look.holes = [(max(a, start), min(b, end)) for a, b in merge(self._holes.get(cpu, ())) if min(b, end) > max(a, start)]
        return look

    def _add(self, run: Seen, first: int, last: int, handler: Task | None, look: Look, found: dict[object, Part]) -> None:
        length = last - first
        samples = sum(count for _, count in run.stacks) or 1
        own = run.task.tid == handler.tid if handler else classes.is_packet_thread(run.task.comm)
        own = own and classes.is_packet_thread(run.task.comm)
        rest_ns, rest = length, []
        for stack, count in run.stacks:
            vector = classes.vector(stack)
            if vector is None and (own or not classes.is_receiving(stack)):
                rest.append((stack, length * count / samples))
                continue
            part_ns = min(rest_ns, length * count // samples)
            rest_ns -= part_ns
            if vector is None:  # Packets are received in the name of whatever task was there
                look.own_ns += part_ns
                look.own_stacks[stack] += part_ns
                continue
            _count(found.setdefault(("softirq", vector), Part(vector)), run, part_ns, part_ns, (first, last), [(stack, float(part_ns))])
        if rest_ns <= 0:
            return
        if run.task.pid == IDLE_PID:
            look.idle_ns += rest_ns
        elif own:
            look.own_ns += rest_ns
            for stack, weight in rest:
                look.own_stacks[stack] += weight
        else:
            _count(found.setdefault(("pid", run.task.pid), Part(None)), run, rest_ns, rest_ns * run.kernel, (first, last), rest)

    def after_hole(self, cpu: int, hole: tuple[int, int]) -> Seen | None:
        """The run that ended a hole, if it was seen where interrupts are turned on again."""
        for run in self._runs.get(cpu, ()):
            if (
                abs(run.start_ns - hole[1]) <= AFTER_HOLE_NS
                and run.task.pid != IDLE_PID
                and any(classes.is_unlock(stack) for stack, _ in run.stacks)
            ):
                return run
        return None


def _count(part: Part, run: Seen, ns: int, kernel_ns: float, interval: tuple[int, int], stacks: list[tuple[str, float]]) -> None:
    part.by_task[run.task] += ns
    part.ns += ns
    part.kernel_ns += kernel_ns
    part.intervals.append(interval)
    part.policy = part.policy or run.policy
    for stack, weight in stacks:
        part.by_stack[stack] += weight


def _overlap(intervals: Iterable[tuple[int, int]], start: int, end: int) -> int:
    return sum(max(0, min(b, end) - max(a, start)) for a, b in intervals)


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _whole(rows: Any) -> list[int]:
    return (
        [value for value in rows if isinstance(value, int) and not isinstance(value, bool) and value >= 0] if isinstance(rows, list) else []
    )


def _pairs(rows: Any) -> list[tuple[int, int]]:
    found = [_whole(row) for row in rows] if isinstance(rows, list) else []
    return [(row[0], row[1]) for row in found if len(row) == 2 and row[1] > row[0]]


def _triples(rows: Any) -> list[tuple[int, int, int]]:
    found = [_whole(row) for row in rows] if isinstance(rows, list) else []
    return [(row[0], row[1], row[2]) for row in found if len(row) == 3 and row[2] > row[1]]
