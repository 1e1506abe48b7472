# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs: which task had a CPU, in which system call, from when to when."""

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.entries import Entries
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import IDLE, USER, Sample

INTERRUPTION = 2
HOLE_PERIODS = 5
STACKS = 20
STACKS_IN_MIND = 1000
HANDLERS = ("ksoftirqd/", "napi/", "irq/")

# cpu, end_ns -> start_ns
Holes = Dict[Tuple[int, int], int]
Frames = Tuple[str, ...]


class Run(NamedTuple):
    """Consecutive samples on one CPU of one task in one system call or other entry into the kernel; that a task calls again is not seen.

    `samples` x period is its time on the CPU. `kernel`: share of the samples in the kernel. `stacks`: most samples first, at most 20.
    """

    start_ns: int
    end_ns: int
    cpu: int
    pid: int
    tid: int
    comm: str
    samples: int
    kernel: float
    stacks: List[Tuple[str, int]]


def stream(samples: Iterable[Sample], period_ns: int, holes: Optional[Holes] = None) -> Iterator[Run]:
    """Each run when it is over, in bounded memory. The samples of each CPU must come in time order.

    A run begins half a period before its first sample and ends half a period after its last. What does not end it: one or two samples
    of another task, which get a run of their own, or of another entry of the same task, which count to it. What ends it at once: five
    periods without a sample, and what shows that the CPU was free for packets: the idle task, or a thread that handles them.

    `holes` gets each of those times without a sample (interrupts off, or a CPU that did not run) before the run at its end is yielded, and
    in the end loses those of CPUs without a sample of the idle task: where idling is not sampled (a counter of cycles stands still, some
    virtual CPUs get no timer then), a hole tells nothing. So record with the event cpu-clock.
    """
    cpus: Dict[int, _Cpu] = {}
    entry = Entries().entry
    too_long = HOLE_PERIODS * period_ns
    for sample in samples:
        cpu = cpus.get(sample.cpu)
        if cpu is None:
            cpu = cpus[sample.cpu] = _Cpu(period_ns)
        elif not 0 <= sample.time_ns - cpu.last_ns <= too_long:
            if holes is not None and sample.time_ns > cpu.last_ns:
                holes[sample.cpu, sample.time_ns - period_ns // 2] = cpu.last_ns + period_ns // 2
            yield from cpu.close()
        cpu.last_ns = sample.time_ns
        label = entry(sample.frames, sample.comm)
        if not cpu.goes_on(sample, label):
            yield from cpu.add(sample, label)
    for cpu in cpus.values():
        yield from cpu.close()
    if holes is not None:
        for place in [place for place in holes if not cpus[place[0]].shows_idle]:
            del holes[place]


def idle(run: Run) -> bool:
    """Whether the CPU had nothing to do: the idle task, and no interrupt or softirq on top of it for most of the time."""
    if run.comm != IDLE:
        return False
    entry = Entries().entry
    counted = sum(count for _stack, count in run.stacks)
    busy = sum(count for stack, count in run.stacks if entry(tuple(stack.split(";")), run.comm) != Entries.IDLE)
    return busy * 2 <= counted


class _Open:
    """A run that may go on."""

    __slots__ = ("first", "last_ns", "label", "samples", "kernel", "stacks")

    def __init__(self, sample: Sample, label: str) -> None:
        self.first = sample
        self.label = label
        self.samples = self.kernel = 0
        self.stacks: Dict[Frames, int] = {}
        self.add(sample)

    def add(self, sample: Sample) -> None:
        frames = sample.frames
        self.last_ns = sample.time_ns
        self.samples += 1
        if frames and frames[-1] != USER:
            self.kernel += 1
        if frames in self.stacks:
            self.stacks[frames] += 1
        elif len(self.stacks) < STACKS_IN_MIND:
            self.stacks[frames] = 1

    def same_task(self, sample: Sample) -> bool:
        return sample.tid == self.first.tid and sample.pid == self.first.pid and sample.comm == self.first.comm

    def closed(self, period_ns: int) -> Run:
        stacks = sorted(self.stacks.items(), key=lambda item: (-item[1], item[0]))[:STACKS]
        return Run(
            self.first.time_ns - period_ns // 2,
            self.last_ns + period_ns // 2,
            self.first.cpu,
            self.first.pid,
            self.first.tid,
            self.first.comm,
            self.samples,
            round(self.kernel / self.samples, 3),
            [(";".join(frames), count) for frames, count in stacks],
        )


class _Cpu:
    def __init__(self, period_ns: int) -> None:
        self.last_ns = 0
        self.shows_idle = False
        self._period_ns = period_ns
        self._run: Optional[_Open] = None
        self._others: List[Tuple[Sample, str]] = []  # since the last sample of the run: an interruption, or its end

    def goes_on(self, sample: Sample, label: str) -> bool:
        """The short way for most samples: takes one of the run that is on, if it is."""
        run = self._run
        if run is None or self._others or run.label != label or not run.same_task(sample):
            return False
        run.add(sample)
        return True

    def add(self, sample: Sample, label: str) -> Iterator[Run]:
        run = self._run
        if label == Entries.IDLE:
            self.shows_idle = True
        if run is None:
            self._run = _Open(sample, label)
            return
        if run.label == label and run.same_task(sample):
            if self._others:
                yield from self._interrupted(run)
            run.add(sample)
            return
        self._others.append((sample, label))
        if len(self._others) > INTERRUPTION or _frees(sample, label):
            others, self._others = self._others, []
            yield run.closed(self._period_ns)
            self._run = None
            for other, its_label in others:
                yield from self.add(other, its_label)

    def _interrupted(self, run: _Open) -> Iterator[Run]:
        """The run goes on after a short interruption."""
        others, self._others = self._others, []
        short: Optional[_Open] = None
        for sample, label in others:
            if run.same_task(sample):
                run.add(sample)
            elif short is not None and short.same_task(sample):
                short.add(sample)
            else:
                if short is not None:
                    yield short.closed(self._period_ns)
                short = _Open(sample, label)
        if short is not None:
            yield short.closed(self._period_ns)

    def close(self) -> Iterator[Run]:
        """No more samples follow, or not soon."""
        while self._run is not None:
            run, others = self._run, self._others
            self._run, self._others = None, []
            yield run.closed(self._period_ns)
            for other, label in others:
                yield from self.add(other, label)


def _frees(sample: Sample, label: str) -> bool:
    return label == Entries.IDLE or sample.comm.startswith(HANDLERS)
