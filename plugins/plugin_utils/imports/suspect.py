# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who kept the CPU, out of logs without a common clock: the packet log by the probes' numbers, samples and calls by CPU and task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median_high
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import SURE_EVENTS, Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import packetlog
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.blockers import Blocker, blockers
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.logs import PACKETS, SCRIPT, STACKS, STRACE, Log
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.packetlog import Handled
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.profiles import Profile
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.sawtooth import Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.straces import SlowCall
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.ways import View
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Task

# The packet log is of the same time as a log of probes if it shows so much of the stalls' backlogs as one
FITS = 0.7
CALLS_KEPT = 6


@dataclass(frozen=True, slots=True)
class Joined:
    """A log of probes with the packet log that was made at the same time. ``handled``: stall -> what the packet log has of it."""

    view: View
    log: str
    handled: dict[Stall, Handled]

    @property
    def cpu(self) -> int | None:
        return _most(one.cpu for one in self.handled.values())


@dataclass(slots=True)
class Suspicion:
    """``culprit`` None: nobody is tied to the stalls. ``on_rx_cpu``, ``quiet``: as in a case. ``handlers``: task, CPU and packets.

    ``missing``: what narrows it, in sentences; ``calls``: slow ones of all logs;
    ``stalls``: that the probes measured.
    """

    joined: Joined | None = None
    culprit: Culprit | None = None
    on_rx_cpu: bool | None = None
    quiet: tuple[tuple[str, float], ...] = ()
    handlers: list[tuple[Task, int | None, int]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    calls: list[SlowCall] = field(default_factory=list)
    stalls: int = 0


def look(views: Sequence[View], logs: Sequence[Log]) -> Suspicion:
    """:param views: the logs of probes to the host; :param logs: all other logs of it"""
    found = Suspicion(joined=join(views, [log for log in logs if log.kind == PACKETS]))
    found.handlers = sorted((row for log in logs if log.kind == PACKETS for row in log.content.handlers()), key=lambda row: -row[2])
    straces = [log for log in logs if log.kind == STRACE]
    found.calls = [call for log in straces for call in log.content.ran]
    lengths = [stall.duration_ms for view in views for stall in view.stalls]
    found.stalls = len(lengths)
    if not lengths:
        found.missing.append("no stall is in these logs, so that nobody is looked for")
        return found
    if found.joined is None:
        why = "no packet log shows the backlog of a stall" if any(log.kind == PACKETS for log in logs) else "no packet log"
        found.missing.append(f"not known: who handled the delayed probes, and on which CPU ({why})")
    before = _before(found)
    seen = _sampled(found, [log for log in logs if log.kind in (SCRIPT, STACKS)], lengths, straces)
    if not straces:
        found.missing.append("not known: which system call it was, and on which file (no strace)")
    task = _agreed(found, before, seen)
    calls = _calls(task, straces, found, min(lengths))
    if task is None:
        return found
    found.culprit = _culprit(task, found, before, seen if seen and _same(task, seen.task) else None, calls)
    return found


def join(views: Iterable[View], packet_logs: Sequence[Log]) -> Joined | None:
    """The log of probes whose stalls a packet log shows as backlogs that one task handled; None: no log was made at the same time."""
    best: Joined | None = None
    for view in views:
        for log in packet_logs:
            handled = {stall: one for stall in view.stalls if (one := packetlog.of_stall(log.content, stall))}
            handled = {stall: one for stall, one in handled.items() if one.backlog >= FITS * stall.backlog}
            if not any(one.backlog > 1 for one in handled.values()) or 2 * len(handled) < _within(view, log):
                continue
            if best is None or len(handled) > len(best.handled):
                best = Joined(view, log.name, handled)
    return best


def _within(view: View, log: Log) -> int:
    """Stalls whose first probe is in the packet log at all."""
    return sum(stall.number in log.content.where for stall in view.stalls)


def _before(found: Suspicion) -> tuple[Task, int] | None:
    """Who handled the last packets before most backlogs, on the same CPU as far as that is known, and before how many."""
    if found.joined is None:
        return None
    rows = list(found.joined.handled.values())
    elsewhere = [one.before for one in rows if one.before and one.same_cpu is False]
    if elsewhere:
        found.missing.append(
            f"{printable(elsewhere[0].comm, 40)} handled probes just before {len(elsewhere)} of {len(rows)} stalls, but on another CPU"
        )
    counts = Counter(one.before for one in rows if one.before and one.same_cpu is not False)
    counts = Counter({task: n for task, n in counts.items() if not packetlog.is_idle(task) and not classes.is_packet_thread(task.comm)})
    if not counts:
        return None
    task, count = counts.most_common(1)[0]
    return (task, count) if 2 * count >= len(rows) else None


def _calls(task: Task | None, straces: Sequence[Log], found: Suspicion, stall_ms: float) -> list[SlowCall]:
    """Slow calls of the task that are as long as a stall. A log that does not say whose they are is its own if there is no other."""
    known = [log for log in straces if not log.content.is_anonymous]
    anonymous = [log for log in straces if log.content.is_anonymous]
    own = [call for log in known for call in log.content.of(task.pid, task.tid)] if task else []
    names = and_more([printable(log.name, 80) for log in anonymous], 3)
    if task and not own and len(straces) == len(anonymous) == 1:
        found.missing.append(f"{names} does not say whose calls they are (pid in about.yml): taken for those of {printable(task.comm, 40)}")
        own = anonymous[0].content.ran
    elif anonymous:
        found.missing.append(f"not known: whose calls are in {names} (pid in about.yml)")
    return [call for call in own if call.duration_ms >= EXPLAINED * stall_ms]


def _sampled(found: Suspicion, profiles: Sequence[Log], lengths: Sequence[float], straces: Sequence[Log]) -> Blocker | None:
    """The task that the CPU samples show before hand-overs; one that was on another CPU than the probes is told and left out."""
    in_order = [log.content for log in profiles if not log.content.totals]
    if not in_order:
        why = "stacks without their order" if profiles else "no CPU samples"
        found.missing.append(f"not known: what ran on the CPU meanwhile ({why})")
        return None
    cpu = found.joined.cpu if found.joined else None
    seen = [one for profile in in_order for one in _blockers(profile, lengths, cpu)]
    if not seen:
        found.missing.append("the CPU samples show no task that had a CPU for as long as a stall before a thread for packets took over")
        return None
    best = max(seen, key=lambda one: (one.cpu == cpu, one.hand_overs)) if cpu is not None else _tied(seen, found, lengths, straces)
    if best is None:
        return None
    if cpu is not None and best.cpu >= 0 and best.cpu != cpu:
        found.missing.append(
            f"{printable(best.task.comm, 40)} was sampled on CPU {best.cpu}, and the probes were handled on CPU {cpu}: "
            "it kept none of them waiting"
        )
        found.on_rx_cpu = False
        return None
    return best


def _blockers(profile: Profile, lengths: Sequence[float], cpu: int | None) -> list[Blocker]:
    """By the shortest stall; whoever kept a CPU for as long as most of them goes first, as a short one may be no more than a pause."""
    found = blockers(profile, min(lengths), cpu)
    long = {_who(one) for one in blockers(profile, median_high(lengths), cpu)}
    return [one for one in found if _who(one) in long] or found


def _tied(seen: Sequence[Blocker], found: Suspicion, lengths: Sequence[float], straces: Sequence[Log]) -> Blocker | None:
    """Where nothing tells which CPU handled the probes, and tasks kept several: the one with slow calls of that length, else the one that
    did so about as often as there were stalls; None where that is not one alone."""
    if len({one.cpu for one in seen}) == 1:
        return max(seen, key=lambda one: one.hand_overs)
    calling = [one for one in seen if any(_is_long(log, one.task, min(lengths)) for log in straces)]
    as_often = [one for one in seen if len(lengths) <= 2 * one.hand_overs <= 4 * len(lengths)]
    for few in (calling, as_often):
        if len({_who(one) for one in few}) == 1:
            return max(few, key=lambda one: one.hand_overs)
    shown = and_more(sorted(f"{printable(one.task.comm, 40)} on CPU {one.cpu}" for one in seen), 4)
    found.missing.append(f"not known: which CPU handled the probes, and the samples show several tasks before hand-overs: {shown}")
    return None


def _is_long(log: Log, task: Task, stall_ms: float) -> bool:
    return any(call.duration_ms >= EXPLAINED * stall_ms for call in log.content.of(task.pid, task.tid))


def _who(one: Blocker) -> tuple[str, int]:
    return one.task.comm, one.task.pid


def _agreed(found: Suspicion, before: tuple[Task, int] | None, seen: Blocker | None) -> Task | None:
    """Whom the logs point at; where the samples and the packet log differ, the samples show what ran."""
    if seen is None:
        return before[0] if before else None
    found.on_rx_cpu = True if found.joined and found.joined.cpu == seen.cpu else None
    found.quiet = seen.quiet
    if before and _same(before[0], seen.task):
        found.on_rx_cpu = True
        return before[0]
    if before:
        found.missing.append(
            f"{printable(before[0].comm, 40)} handled the last probes before the stalls, "
            f"yet the samples show {printable(seen.task.comm, 40)} there"
        )
    return seen.task


def _same(one: Task, other: Task) -> bool:
    """Collapsed stacks may have the name alone; a thread may have a name of its own."""
    return one.comm == other.comm if other.pid < 0 or one.pid < 0 else one.pid == other.pid


def _culprit(task: Task, found: Suspicion, before: tuple[Task, int] | None, seen: Blocker | None, calls: list[SlowCall]) -> Culprit | None:
    if seen is None and not calls:
        found.missing.append(
            f"{printable(task.comm, 40)} (pid {task.pid}) handled the last probes before the stalls; no log tells what it did meanwhile"
        )
        return None
    entered = next((name for stack, _ in seen.stacks if (name := classes.syscall(stack))), None) if seen else None
    grouped = _grouped(calls, entered)
    handled = list(found.joined.handled.values()) if found.joined else []
    agree = bool(seen and before and _same(before[0], seen.task))
    klass = seen.klass if seen else "T" if handled and all(one.by_thread for one in handled) else None
    cpu = found.joined.cpu if found.joined else seen.cpu if seen and seen.cpu >= 0 else None
    if seen is None and before:
        found.on_rx_cpu = True
    return Culprit(
        comm=task.comm,
        pid=task.pid if task.pid >= 0 else None,
        tid=task.tid if task.tid >= 0 else None,
        klass=klass,
        events=_explained(handled, before, seen, agree, found.on_rx_cpu),
        share=seen.share if seen else None,
        cpus=[cpu] if cpu is not None else [],
        held_ms=seen.held_ms if seen else 0.0,
        longest_ms=seen.longest_ms if seen else max((call.duration_ms for call in calls), default=0.0),
        policy=None,
        vector=None,
        stacks=list(seen.stacks[:8]) if seen else [],
        calls=grouped,
        confidence="medium" if agree or (seen and found.on_rx_cpu and seen.hand_overs >= SURE_EVENTS and not before) else "low",
        usual=False,
        because=_because(found, before, seen, calls),
        syscall=grouped[0]["call"] if grouped else entered,
        path=next((row["path"] for row in grouped if row["path"]), None),
        buffer=next((row["buffer"] for row in grouped if row["buffer"]), None),
    )


def _explained(
    handled: Sequence[Handled], before: tuple[Task, int] | None, seen: Blocker | None, agree: bool, on_rx_cpu: bool | None
) -> int:
    """Stalls: those of the packet log that begin in its context; else, without a clock in common, no more than the samples show of such."""
    if seen is None:
        return 0
    if before:
        return before[1] if agree else 0
    return min(len(handled), seen.hand_overs) if on_rx_cpu else 0


def _because(found: Suspicion, before: tuple[Task, int] | None, seen: Blocker | None, calls: list[SlowCall]) -> list[str]:
    said = []
    if before and found.joined:
        said.append(f"the last probes before {before[1]} of {len(found.joined.handled)} stalls were handled in its context")
    if seen:
        share = f"{100 * seen.share:.0f}% of the length of a stall"
        said.append(f"the samples show it on that CPU for {share} before {seen.hand_overs} of {seen.of} hand-overs to a thread for packets")
    if calls:
        what = next((call.contents for call in calls if call.contents), None)
        said.append(
            f"{len(calls)} slow calls of its own, up to {max(call.duration_ms for call in calls):.0f} ms"
            + ("" if not what else f", on {what}" if what.startswith("/") else f"; what they read begins as {what} does")
        )
    return said


def _grouped(calls: Iterable[SlowCall], preferred: str | None) -> list[dict[str, Any]]:
    """As of a culprit in findings.json, by the time they took together: files of one name (those of several cgroups) count together."""
    groups: dict[tuple[str, str], list[SlowCall]] = defaultdict(list)
    for call in calls:
        groups[call.name, (call.contents or "").rpartition("/")[2]].append(call)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] != preferred, -sum(call.duration_ms for call in item[1])))
    return [
        {
            "call": name,
            "path": max(rows, key=lambda call: call.duration_ms).contents,
            "buffer": next((call.buffer for call in rows if call.buffer), None),
            "count": len(rows),
            "duration_ms": max(call.duration_ms for call in rows),
            "on_cpu_ms": None,
            "how": "strace",
        }
        for (name, _file), rows in ordered[:CALLS_KEPT]
    ]


def _most(values: Iterable[int | None]) -> int | None:
    counts = Counter(value for value in values if value is not None)
    return counts.most_common(1)[0][0] if counts else None
