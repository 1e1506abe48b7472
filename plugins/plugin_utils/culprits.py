# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One verdict for a host over its stalls: who kept the CPU in how many of them, and whether that is more than it does anyway."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import classes, slow_calls, unsampled, usual
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import (
    FEW_EVENTS,
    MOST_EVENTS,
    STACKS_KEPT,
    SURE_EVENTS,
    Culprit,
    identify,
    is_enough,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.due import Due
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, SLACK_NS
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED, NAMED, Explained, Run
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Xray

# Of these classes is what a task does in the kernel
IN_KERNEL = ("T", "SI", "I")


def judge(explained: Sequence[Explained], capture: Mapping[str, Any], probed: tuple[int, int] = (0, 2**63)) -> list[Culprit]:
    """The culprits of a host's stalls, worst first; none if nothing is known well enough.

    A culprit explains three stalls or more, or half of them where there were fewer; processes of one name count together where none of
    them does by itself (a program that a script starts each time). Tasks that only together filled the stalls are named
    with no stall explained.

    :param probed: from when to when probes were sent, the captured host's clock: what ran at other times says nothing
    """
    looked = [one for one in explained if one.counts]
    xray = Xray(capture)
    by_key: dict[object, list[tuple[Explained, Run]]] = defaultdict(list)
    for one in looked:
        if one.blocker:
            by_key[one.blocker.key].append((one, one.blocker))
    known = _Known(looked, xray, capture, probed)
    enough = [seen for seen in by_key.values() if is_enough(len(seen), len(looked))]
    enough += _by_name([seen for seen in by_key.values() if not is_enough(len(seen), len(looked))], len(looked))
    found = [_culprit(seen, known) for seen in enough]
    if not found:
        found = [_beside(seen, known) for seen in _together(looked)]
    if not found:
        found = unsampled.by_handling(looked, capture)
    if sum(culprit.events for culprit in found if culprit.confidence == "medium") >= MOST_EVENTS * len(looked):
        for culprit in found:
            if culprit.confidence == "medium" and culprit.events >= SURE_EVENTS and not culprit.moved:
                culprit.confidence = "high"
    for culprit in found:
        if culprit.confidence == "medium" and culprit.events < FEW_EVENTS * len(looked):
            culprit.confidence = "low"
    return sorted(found, key=lambda culprit: (culprit.usual, -culprit.events, -culprit.held_ms, culprit.comm))


@dataclass(frozen=True, slots=True)
class _Known:
    """What all culprits of a host are judged by."""

    looked: Sequence[Explained]
    xray: Xray
    capture: Mapping[str, Any]
    probed: tuple[int, int]


def _by_name(rest: Iterable[list[tuple[Explained, Run]]], of: int) -> list[list[tuple[Explained, Run]]]:
    found: dict[str, list[tuple[Explained, Run]]] = defaultdict(list)
    for seen in rest:
        for one, run in seen:
            if not run.vector:
                found[run.task.comm].append((one, run))
    return [seen for seen in found.values() if is_enough(len(seen), of)]


def _together(looked: Iterable[Explained]) -> list[list[tuple[Explained, Run]]]:
    """Tasks that filled stalls with others, each for a good part."""
    found: dict[object, list[tuple[Explained, Run]]] = defaultdict(list)
    several = [one for one in looked if one.note == "several"]
    for one in several:
        for run in one.runs:
            if run.share >= NAMED:
                found[run.key].append((one, run))
    return [seen for seen in found.values() if is_enough(len(seen), len(several))]


def _beside(seen: list[tuple[Explained, Run]], known: _Known) -> Culprit:
    culprit = _culprit(seen, known)
    culprit.because.insert(0, f"it filled {100 * (culprit.share or 0):.0f}% of {len(seen)} of {len(known.looked)} stalls, others the rest")
    culprit.events, culprit.confidence = 0, "low"
    return culprit


def _culprit(seen: list[tuple[Explained, Run]], known: _Known) -> Culprit:
    runs = [run for _, run in seen]
    worst = max(runs, key=lambda run: run.ns)
    pids = tuple(sorted({run.task.pid for run in runs})) if not worst.vector else ()
    stacks = _stacks(runs)
    intervals = [interval for run in runs for interval in run.intervals]
    in_kernel = not worst.vector and worst.klass != "Q"
    call = None if not in_kernel else next((name for stack, _ in stacks if (name := classes.syscall(stack))), None)
    calls = [] if not in_kernel or worst.how == "hole" else slow_calls.of_process(known.capture, pids, intervals, call)
    share = sum(run.share for run in runs) / len(runs)
    culprit = Culprit(
        comm=worst.task.comm,
        pid=None if len(pids) > 1 else worst.task.pid,
        tid=None if len(pids) > 1 else worst.task.tid,
        klass=_most(run.klass for run in runs),
        events=len(seen),
        share=round(min(1.0, share), 3),
        cpus=sorted({run.cpu for run in runs}),
        held_ms=sum(run.ns for run in runs) / MS,
        longest_ms=worst.ns / MS,
        policy=worst.policy,
        vector=worst.vector,
        stacks=stacks[:STACKS_KEPT],
        calls=calls,
        confidence="",
        usual=False,
        because=[],
        syscall=(calls[0]["call"] if calls else None) or call,
        pids=pids,
        work=worst.work,
        moved=2 * sum(one.moved for one, _ in seen) > len(seen),
    )
    is_traced = sum(one.gap is not None for one, _ in seen) >= MOST_EVENTS * len(seen)
    culprit.because.append(f"it kept CPU {_and(culprit.cpus)} for {100 * share:.0f}% of {len(seen)} of {len(known.looked)} stalls")
    if len(pids) > 1:
        who = f"workers of the kernel did, in {worst.work}" if worst.work else "processes of this name did, one after the other"
        culprit.because.append(f"{len(pids)} {who}")
    if culprit.moved:
        culprit.because.append("the thread that handles the probes there had to wait for it, and drained them on another CPU")
    elif is_traced:
        culprit.because.append("the trace shows that the delayed probes were handled there")
    culprit.usual = _is_usual(culprit, seen, known)
    culprit.confidence = _confidence(culprit, len(known.looked), is_traced)
    identify(culprit, known.capture)
    return culprit


def _confidence(culprit: Culprit, of: int, is_traced: bool) -> str:
    if culprit.usual or not is_traced or culprit.klass is None:
        return "low"
    if culprit.events < SURE_EVENTS:
        return "medium" if culprit.events == of else "low"
    return "high" if culprit.events >= MOST_EVENTS * of and not culprit.moved else "medium"


def _is_usual(culprit: Culprit, seen: list[tuple[Explained, Run]], known: _Known) -> bool:
    """Whether it runs as much, or as long at a time, on these CPUs while nothing stalls."""
    if all(run.how == "hole" for _, run in seen):
        return False  # It was not sampled in them, so that its samples elsewhere compare with nothing
    who = usual.Signature(
        comm=culprit.comm,
        pids=culprit.pids,
        cpus=tuple(culprit.cpus),
        vector=culprit.vector,
        kernel=culprit.klass in IN_KERNEL,
        syscall=next((name for stack, _ in culprit.stacks if (name := classes.syscall(stack))), None),
        work=culprit.work,
    )
    due = Due(known.capture)
    as_often, rates = usual.often(who, known.capture, known.xray, due)
    typical = EXPLAINED * median(run.ns for _, run in seen)
    stalls = [(one.start_ns - SLACK_NS, one.drain_ns + SLACK_NS) for one in known.looked]
    apart, met_none = usual.runs_apart(who, known.xray, typical, stalls, known.probed, due)
    culprit.because += [sentence for sentence in (rates, met_none) if sentence]
    return as_often or apart >= len(seen)


def _stacks(runs: Iterable[Run]) -> list[tuple[str, float]]:
    """All stacks of the runs by weight, in milliseconds."""
    found: dict[str, float] = defaultdict(float)
    for run in runs:
        for stack, ns in run.stacks:
            found[stack] += ns / MS
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _most(values: Iterable[str | None]) -> str | None:
    counts = Counter(value for value in values if value)
    return max(counts, key=lambda value: (counts[value], value)) if counts else None


def _and(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:4])) + (" and others" if len(numbers) > 4 else "")
