# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The join: what the prober saw as a stall, what the host saw of its packets meanwhile, and what its CPU ran.

A stall [first delayed send, drain] is put on the captured host's clock. The gap in the host's own handling of probes names the CPU, the
task that handled the backlog and the moment it began to. What ran on that CPU from the stall's start to that moment is what kept it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.gaps import Gap, Span, read_gaps, read_heard
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import SLACK_NS, Event, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Look, Part, Task, Xray

# From this share of a stall on, a task explains it; from the lower one on, it is named beside others
EXPLAINED, NAMED = 0.7, 0.3
# A gap is the host's view of a stall if it covers so much of it
COVERS = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """What one process, or one softirq vector, ran on the CPU within a stall.

    Times are the captured host's; ``ns``: for how long, ``share``: that of the stall, 0 to 1. ``stacks``: (folded stack, nanoseconds),
    longest first; ``how``: ``runs``, or ``hole``: seen only as the CPU was sampled again.
    """

    task: Task
    cpu: int
    ns: int
    share: float
    intervals: tuple[tuple[int, int], ...]
    stacks: tuple[tuple[str, float], ...]
    kernel: float
    policy: str | None
    klass: str | None
    vector: str | None = None
    how: str = "runs"

    @property
    def work(self) -> str | None:
        """What it did for a work queue of the kernel, which any of its workers may do the next time."""
        return classes.work(self.stacks[0][0]) if self.stacks and not self.vector else None

    @property
    def key(self) -> tuple[str, object]:
        """What is the same culprit: the process, the work that a worker did, or the softirq whatever task it interrupted."""
        if self.vector:
            return "softirq", self.vector
        return ("work", self.work) if self.work else ("pid", self.task.pid)


@dataclass(frozen=True, slots=True)
class Explained:
    """One stall and what the capture says of it.

    ``blocker``: what kept the CPU, None unless its share reaches EXPLAINED; ``share``: that of the longest run; ``runs``: all that was
    seen on that CPU meanwhile, idle time and the handler's own work aside, longest first; ``own``: stacks of the handler's own work, if
    that filled it. ``moved``: its handler waited for ``cpu`` and drained the backlog on another. ``before``: who handled the last probe
    before the silence. ``start_ns``, ``drain_ns``: the stall up to the first packet that was handled again, the captured host's clock.
    ``note``: why nothing is named: ``outside`` (the capture), ``traced`` (of the capture's own making: application.py), ``on_time`` (the
    host handled its packets), ``no_cpu``, ``no_samples``, ``idle``, ``handler`` (it was at work itself), ``hole``, ``stolen`` (by the
    hypervisor) or ``firmware`` (taken.py), ``several``, ``little`` (is known); else None.
    """

    stall: Stall
    start_ns: int
    drain_ns: int
    cpu: int | None = None
    handler: Task | None = None
    backlog: int = 0
    blocker: Run | None = None
    share: float = 0.0
    klass: str | None = None
    gap: Mapping | None = None
    before: Task | None = None
    runs: tuple[Run, ...] = field(default=())
    own: tuple[tuple[str, float], ...] = ()
    hole_ns: int = 0
    moved: bool = False
    note: str | None = None

    @property
    def counts(self) -> bool:
        """Whether the capture can say something of it."""
        return self.note not in ("outside", "traced")


def explain(
    stalls: Sequence[Stall],
    capture: Mapping,
    offset_ns: int,
    window: tuple[int, int] | None = None,
    is_tied: bool = True,
) -> list[Explained]:
    """Explain each stall by the capture; what is missing or makes no sense there narrows the answer and raises nothing.

    :param stalls: of flows to the captured host, times in the fleet's common base
    :param capture: its capture.json
    :param offset_ns: nanoseconds that the host's clock is ahead of the base
    :param window: start and end of what was captured, the host's clock; by default what the capture states
    :param is_tied: whether offset_ns was measured; if not, that probes were handled at the time of a stall says nothing
    """
    xray, gaps, usual = Xray(capture), read_gaps(capture), _handlers(capture)
    first, last = window or _window(capture)
    heard = read_heard(capture) if is_tied else {}
    found = []
    for stall in stalls:
        start, end = stall.start_ns + offset_ns, stall.end_ns + offset_ns
        known = Explained(stall, start, max(end, start + 1))
        if end < first or start > last:
            found.append(replace(known, note="outside"))
            continue
        gap = _gap_of(stall, start, end, gaps)
        if gap:
            found.append(_or_moved(_judged(_seen(known, gap), xray), xray, usual))
        elif _was_heard(stall, heard, offset_ns):
            found.append(replace(known, note="on_time"))
        else:
            found.append(_without_trace(known, xray, usual))
    return found


def _window(capture: Mapping) -> tuple[int, int]:
    clock = capture.get("clock")
    start, end = (clock.get("started_ns"), clock.get("ended_ns")) if isinstance(clock, Mapping) else (None, None)
    return (start if isinstance(start, int) else 0, end if isinstance(end, int) else 2**63)


def _was_heard(stall: Stall, heard: Mapping[int, Sequence[Span]], offset_ns: int) -> bool:
    """Whether the host is seen to have handled the stalled probes as they came. That it shows no silence would not do: the trace may have
    been blind, or a flow so slow that a stall is no silence."""
    seen = [_began_in_time(event, heard[event.flow], offset_ns) for event in stall.events if heard.get(event.flow)]
    return bool(seen) and sum(seen) >= EXPLAINED * len(seen)


def _began_in_time(event: Event, spans: Sequence[Span], offset_ns: int) -> bool:
    """Whether the flow was handled from half an interval before its first delayed probe to half-way through the stall."""
    start, slack = event.start_ns + offset_ns, min(SLACK_NS, (event.start_ns - event.possible_ns) // 2)
    return any(first <= start + event.length_ns // 2 and last >= start - slack for first, last in spans)


def _gap_of(stall: Stall, start: int, end: int, gaps: Sequence[Gap]) -> Gap | None:
    """The host's view of the stall: a silence that covers it by half, on flows that saw it where the trace knows them."""
    flows = {event.flow for event in stall.events}
    best, most = None, 0
    for gap in gaps:
        shared = min(end + SLACK_NS, gap.drain_ns + SLACK_NS) - max(start, gap.silent_ns)
        if gap.flows and flows and not gap.flows & flows:
            continue
        if shared > most and shared >= COVERS * max(1, end - start) and abs(gap.drain_ns - end) <= max(SLACK_NS, (end - start) // 2):
            best, most = gap, shared
    return best


def _seen(known: Explained, gap: Gap) -> Explained:
    drain = gap.drain_ns if known.start_ns < gap.drain_ns <= known.drain_ns + SLACK_NS else known.drain_ns
    return replace(known, drain_ns=drain, cpu=gap.cpu, handler=gap.handler, backlog=gap.backlog, gap=gap.raw, before=gap.before)


def _judged(one: Explained, xray: Xray) -> Explained:
    """What ran on the CPU until the backlog was handled."""
    if one.cpu is None:
        return replace(one, note="no_cpu")
    length = one.drain_ns - one.start_ns
    look = xray.look(one.cpu, one.start_ns, one.drain_ns, one.handler)
    runs = tuple(_run(part, one, length) for part in look.parts)
    hole = _hole(look, one, xray, length)
    if hole:
        runs = tuple(sorted((hole, *(run for run in runs if run.key != hole.key)), key=lambda run: -run.share))
    one = replace(one, runs=runs, share=runs[0].share if runs else 0.0, hole_ns=look.hole_ns)
    if runs and runs[0].share >= EXPLAINED:
        return replace(one, blocker=runs[0], klass=runs[0].klass)
    if look.own_ns >= EXPLAINED * length:
        own = tuple(sorted(look.own_stacks.items(), key=lambda item: -item[1]))
        return replace(one, own=own, klass="SI" if any(classes.is_receiving(stack) for stack, _ in own) else None, note="handler")
    if sum(run.share for run in runs if run.share >= NAMED) >= EXPLAINED:
        return replace(one, note="several")
    return replace(one, note=_why_not(look, length, xray, one))


def _why_not(look: Look, length: int, xray: Xray, one: Explained) -> str:
    if look.idle_ns >= COVERS * length:
        return "idle"
    if look.hole_ns >= COVERS * length:
        return "hole"
    sampled = one.cpu in xray.cpus and 2 * xray.covered_ns(one.start_ns, one.drain_ns) >= length
    return "little" if sampled or look.parts or look.own_ns else "no_samples"


def _run(part: Part, one: Explained, length: int) -> Run:
    kernel = part.kernel_ns / part.ns if part.ns else 0.0
    stacks = tuple(sorted(part.by_stack.items(), key=lambda item: (-item[1], item[0])))
    handler, task = one.handler, part.task
    own_drain = handler is not None and handler.tid == task.tid and one.backlog > 1
    waited = handler is not None and classes.is_packet_thread(handler.comm)
    return Run(
        task=task,
        cpu=one.cpu if one.cpu is not None else 0,
        ns=part.ns,
        share=min(1.0, part.ns / length),
        intervals=tuple(part.intervals),
        stacks=stacks,
        kernel=min(1.0, kernel),
        policy=part.policy,
        klass="SI" if part.vector else classes.of_task(stacks, kernel, part.policy, own_drain, waited),
        vector=part.vector,
    )


def _hole(look: Look, one: Explained, xray: Xray, length: int) -> Run | None:
    """Interrupts off: the CPU was not sampled, and then a task where they are turned on again."""
    if one.cpu is None or look.hole_ns < NAMED * length:
        return None
    longest = max(look.holes, key=lambda hole: hole[1] - hole[0])
    ended = xray.after_hole(one.cpu, longest)
    if ended is None:
        return None
    beside = next((part.ns for part in look.parts if part.vector is None and part.task.pid == ended.task.pid), 0)
    others = sum(part.ns for part in look.parts) - beside + look.idle_ns + look.own_ns
    kept = min(look.hole_ns + beside, max(0, length - others))
    samples = sum(count for _, count in ended.stacks)
    stacks = tuple((stack, kept * count / samples) for stack, count in ended.stacks)
    return Run(ended.task, one.cpu, kept, min(1.0, kept / length), tuple(look.holes), stacks, 1.0, ended.policy, "I", how="hole")


def _without_trace(one: Explained, xray: Xray, usual: Mapping[int, Task]) -> Explained:
    """No gap names the CPU: one (that handles probes) where a single task ran all through the stall and let go as it ended."""
    found = [
        judged for cpu in xray.cpus if (cpu in usual or not usual) and (judged := _kept_until_the_drain(one, cpu, usual.get(cpu), xray))
    ]
    if len(found) == 1:
        return found[0]
    return replace(one, note="no_cpu" if xray.cpus else "no_samples")


def _or_moved(one: Explained, xray: Xray, usual: Mapping[int, Task]) -> Explained:
    """A thread that waited for a busy CPU and was moved to an idle one drains there: look where it handles packets otherwise."""
    if one.note != "idle" or one.handler is None or not classes.is_packet_thread(one.handler.comm):
        return one  # What interrupts, does so on the CPU where it is handled; and the idle task of each CPU has the same id
    others = [cpu for cpu, task in usual.items() if cpu != one.cpu and task.tid == one.handler.tid]
    found = [judged for cpu in others if (judged := _kept_until_the_drain(one, cpu, one.handler, xray))]
    return replace(found[0], moved=True) if len(found) == 1 else one


def _kept_until_the_drain(one: Explained, cpu: int, handler: Task | None, xray: Xray) -> Explained | None:
    judged = _judged(replace(one, cpu=cpu, handler=handler, note=None), xray)
    return judged if judged.blocker and abs(_let_go(judged, xray) - one.drain_ns) <= SLACK_NS else None


def _handlers(capture: Mapping) -> dict[int, Task]:
    """Who handled most probes of each CPU."""
    rows = capture.get("handlers")
    found: dict[int, tuple[int, Task]] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, Mapping) or not all(isinstance(row.get(key), int) for key in ("cpu", "pid", "tid", "packets")):
            continue
        if row["cpu"] not in found or row["packets"] > found[row["cpu"]][0]:
            found[row["cpu"]] = (row["packets"], Task(str(row.get("comm")), row["pid"], row["tid"]))
    return {cpu: task for cpu, (_, task) in found.items()}


def _let_go(one: Explained, xray: Xray) -> int:
    blocker = one.blocker
    if blocker is None or blocker.how == "hole" or blocker.vector:
        return one.drain_ns
    runs = [
        run.end_ns for run in xray.runs_of(blocker.task.pid, [blocker.cpu]) if run.start_ns < one.drain_ns and run.end_ns > one.start_ns
    ]
    return max(runs, default=one.drain_ns)
