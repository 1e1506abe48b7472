# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a captured host as a person would say it, and what was missing for a better one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import MOST_ROWS
from ansible_collections.fleet.stall.plugins.plugin_utils import application, classes
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained

# What is not known without a capability of the host
LACKS = {
    "rx_trace": "who handled the delayed probes, and on which CPU",
    "recorder": "what ran on the CPU meanwhile",
    "slow_calls": "which system call it was, and on which file",
    "strace": "what the system call read or wrote",
    "connections": "how real connections fare",
    "memory_stat": "how long a read of memory.stat takes",
}
NOTES = {
    "outside": "{} of {} stalls lie outside what was captured",
    "traced": "in {} of {} stalls the service was late while strace slowed it down: they are the capture's own, and do not count",
    "no_cpu": "for {} of {} stalls no trace names the CPU, and no single one stands out by what it ran",
    "no_samples": "for {} of {} stalls the recorder has no samples of the CPU at that time",
    "idle": "in {} of {} stalls the CPU that handled the probes was idle: another CPU, or something before the kernel, held them",
    "hole": "in {} of {} stalls the CPU was not sampled, and it is not known what ended that: interrupts off, or a CPU that did not run",
    "little": "in {} of {} stalls no task that was seen had the CPU for long",
}

ON_TIME = (
    "in {} of {} stalls the trace shows its packets handled on time, so that only the answers can have been late: "
    "its sending side, the way back, or who asked"
)


def verdict(culprits: Sequence[Culprit], explained: Sequence[Explained], causes: Sequence[Mapping[str, Any]], klass: str | None) -> str:
    """Of a suspect whose stalls were looked into."""
    looked = [one for one in explained if one.counts]
    if not looked:
        return _nothing_to_look_at(explained)
    if not culprits:
        return _nobody(looked, klass)
    said = _of_culprit(culprits[0], looked) + (f" {culprits[0].control}." if culprits[0].control else "")
    others = [_short(culprit, looked) for culprit in culprits[1:4]]
    said += f" Also: {'; '.join(others)}." if others else ""
    return f"{said} {known(causes)}"


def known(causes: Sequence[Mapping[str, Any]]) -> str:
    """The causes that match best."""
    if not causes:
        return "No known cause matches."
    best = [cause for cause in causes if cause["confidence"] == causes[0]["confidence"]][:2]
    shown = [f"{printable(cause.get('title') or cause['id'], 160)} ({cause['id']}), {cause['confidence']}" for cause in best]
    return f"Known cause: {'; or '.join(shown)}."


def untied(culprit: Culprit, causes: Sequence[Mapping[str, Any]]) -> str:
    """Of a suspect that no trace of packets ties to the stalls."""
    call = f", in {doing(culprit)}," if culprit.syscall else ""
    because = "; ".join(culprit.because)
    return f"No trace of packets ties it to the stalls, yet {name(culprit)}{call} is the likely one: {because}. {known(causes)}"


def _nothing_to_look_at(explained: Sequence[Explained]) -> str:
    if not explained:
        return "No stall was seen while it was captured."
    if all(one.note == "traced" for one in explained):
        return "While it was captured its service was late only as strace slowed it down, which says nothing."
    return "Its stalls lie outside what was captured."


def _of_culprit(culprit: Culprit, looked: Sequence[Explained]) -> str:
    of = len(looked)
    who = name(culprit)
    if culprit.out_of_quota:
        within = f"{who} is in it" if culprit.pid is not None else "who of it used that up was not seen"
        packets = (
            "The host handled its packets on time and the application was late"
            if application.was_on_time([one for one in looked if application.is_late(one)])
            else "The application was late, and no trace shows how its packets were handled"
        )
        said = f"{packets}: {'; '.join(culprit.because)}; {within}."
        return f"{said} That explains {culprit.events} of {of} stalls." if culprit.events else said
    if culprit.share is None:
        call = f", which spends up to {culprit.longest_ms:.0f} ms in {doing(culprit)}" if culprit.calls else ""
        return f"{handled(culprit, looked)}{who}{call}, is the likely one: {'; '.join(culprit.because)}."
    held = f"{who} had kept that CPU for {culprit.longest_ms:.0f} ms{_in(culprit)}"
    if not culprit.events:
        return f"{handled(culprit, looked)}{held}, with others: it alone explains none of {of} stalls."
    if culprit.usual:
        return f"{handled(culprit, looked)}{held}; but it runs there as much while nothing stalls, so it is hardly the cause."
    return f"{handled(culprit, looked)}{held}; it explains {culprit.events} of {of} stalls."


def handled(culprit: Culprit, looked: Sequence[Explained]) -> str:
    """The handler, the CPU and the backlog of the culprit's longest stall."""
    own = [one for one in looked if culprit.ran(one.blocker)]
    own = own or [one for one in looked if one.cpu in culprit.cpus]
    worst = max(own, key=lambda one: one.drain_ns - one.start_ns, default=None)
    if worst is None or worst.handler is None or not worst.backlog:
        return f"On CPU {and_more([str(cpu) for cpu in culprit.cpus], 4)}: " if culprit.cpus else ""
    probes = f"{'at least ' * (worst.backlog >= MOST_ROWS)}{worst.backlog} probe{'s' * (worst.backlog != 1)}"
    where = f", moved off CPU {worst.cpu}," if worst.moved else f" on CPU {worst.cpu}"
    return (
        f"{printable(worst.handler.comm, 40)}{where} drained {probes} after "
        if culprit.share is not None
        else (f"{printable(worst.handler.comm, 40)} on CPU {worst.cpu} drained {probes}; ")
    )


def name(culprit: Culprit) -> str:
    """Who it is, with process id, unit and container."""
    if culprit.vector:
        return f"the softirq {printable(culprit.vector, 60)}"
    parts = [f"pid {culprit.pid}"] if culprit.pid is not None else [f"{len(culprit.pids)} processes"] if culprit.pids else []
    parts += [printable(culprit.unit, 80)] if culprit.unit else []
    parts += [f"container {printable(culprit.container, 12)}"] if culprit.container else []
    return printable(culprit.comm, 40) + (f" ({', '.join(parts)})" if parts else "")


def doing(culprit: Culprit) -> str:
    """The system call, with its file, or the first bytes of what it read."""
    if not culprit.syscall:
        return ""
    call = f"{printable(culprit.syscall, 40)}()"
    if culprit.path:
        return f"{call} of {printable(culprit.path, 160)}"
    return f'{call} of "{printable(culprit.buffer, 40)}"' if culprit.buffer else call


def _in(culprit: Culprit) -> str:
    if culprit.syscall and culprit.klass in ("T", "SI", "I"):
        return f" in {doing(culprit)}"
    policy = printable(culprit.policy or "", 20).lower().removeprefix("sched_")
    if culprit.klass == "Q":
        return f" in user mode{', at real-time priority (' + policy + ')' if classes.is_real_time(policy) else ''}"
    if culprit.work:
        return f" in {printable(culprit.work, 60)} of a work queue"
    return " with interrupts off" if culprit.klass == "I" else " in the kernel" if culprit.klass == "T" else ""


def _short(culprit: Culprit, looked: Sequence[Explained]) -> str:
    share = f"{culprit.events} of {len(looked)} stalls" if culprit.events else "none of the stalls alone"
    return f"{name(culprit)}{_in(culprit)}, {share}"


def _nobody(looked: Sequence[Explained], klass: str | None) -> str:
    of = len(looked)
    if klass == "X":
        count = sum(one.klass == "X" for one in looked)
        if any(one.note == "firmware" for one in looked):
            return f"In {count} of {of} stalls no CPU ran, and no hypervisor had taken them: the firmware may have."
        return f"In {count} of {of} stalls the CPU did not run: the hypervisor had taken it. Nothing on this host is to blame."
    if klass == "R":
        on_time = sum(one.note == "on_time" for one in looked)
        return f"The host handled its packets on time in {on_time} of {of} stalls: only the application was late."
    notes = Counter(one.note for one in looked if one.note)
    said = "What kept its packets is not known"
    if notes:
        note, count = notes.most_common(1)[0]
        said += f": {NOTES[note].format(count, of)}" if note in NOTES else _handler_at_work(looked) if note == "handler" else ""
        said += f": {ON_TIME.format(count, of)}" if note == "on_time" else ""
    return f"{said}.{_raw(looked)}"


def _handler_at_work(looked: Sequence[Explained]) -> str:
    one = next(one for one in looked if one.note == "handler")
    leaf = classes.frames(one.own[0][0])[-1:] if one.own else []
    is_thread = one.handler is not None and classes.is_packet_thread(one.handler.comm)
    who = (
        f"{printable(one.handler.comm, 40)} was at work itself"
        if one.handler and is_thread
        else "the receiving of packets itself took the CPU"
    )
    return f": {who}" + (f", in {printable(leaf[0], 60)}" if leaf else "")


def _raw(looked: Sequence[Explained]) -> str:
    """The longest run that was seen, as it is."""
    seen = [(one, one.runs[0]) for one in looked if one.runs]
    if not seen:
        return ""
    one, run = max(seen, key=lambda pair: pair[1].share)
    leaf = classes.frames(run.stacks[0][0])[-1:] if run.stacks else []
    at = f" in {printable(leaf[0], 60)}" if leaf else ""
    who = f"{printable(run.task.comm, 40)} (pid {run.task.pid})"
    return f" The most that was seen: {who}{at} for {100 * run.share:.0f}% of a stall of {one.stall.length_ns / MS:.0f} ms."


def missing(capture: Mapping[str, Any], explained: Sequence[Explained], is_tied: bool, has_counters: bool) -> list[str]:
    """What narrows the verdict, in sentences."""
    said = []
    capabilities = capture.get("capabilities")
    for key, effect in LACKS.items():
        stated = capabilities.get(key) if isinstance(capabilities, Mapping) else None
        if isinstance(stated, Mapping) and not stated.get("available"):
            said.append(f"not known: {effect} ({printable(stated.get('reason') or 'no reason is known', 200)})")
    how = _how(capture)
    reason = capabilities["rx_trace"].get("reason") if how and isinstance(capabilities, Mapping) else None
    if reason and how != "perf":
        said.append(f"the trace of packets did not see all of the window ({printable(reason, 200)})")
    if how == "perf":
        said.append("the trace has no sequence numbers: its packets are matched with the stalls by time alone")
    counts = Counter(one.note for one in explained)
    said += [sentence.format(counts[note], len(explained)) for note, sentence in NOTES.items() if counts[note]]
    if capture.get("gaps_omitted"):
        said.append(f"{capture['gaps_omitted']} gaps of its own were left out of the capture's result, for its size")
    if not is_tied:
        said.append("no probe ties its clock to the others': its own view is matched with the stalls by its clock as it is")
    if not has_counters:
        said.append("no counters of the host for the time of the capture: causes are matched without them")
    return said + [printable(warning) for warning in capture.get("warnings") or []]


def _how(capture: Mapping[str, Any]) -> str | None:
    capabilities = capture.get("capabilities")
    trace = capabilities.get("rx_trace") if isinstance(capabilities, Mapping) else None
    return trace.get("how") if isinstance(trace, Mapping) and trace.get("available") else None
