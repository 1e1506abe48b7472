# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what kept the CPU in a suspect's stalls does the same on a clear host, where nothing stalls by it: then it is less sure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.capture.stacks import AFTER_NS, BEFORE_NS, MOST_ELSEWHERE, Windows
from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Seen, Xray

# So many probes have to be due on a CPU in a run: else that nothing stalled by it says nothing
PROBES_DUE = 3
LOWER = {"high": "medium", "medium": "low", "low": "low"}


@dataclass(frozen=True, slots=True)
class Control:
    """``stalls``, ``probed`` (from when to when): the control's clock; ``handled``: CPU -> probes a second that it handled.

    ``left_out_ns``: no run that was longer was left out, -1 if none was.
    """

    host: str
    xray: Xray
    handled: Mapping[int, float]
    stalls: Sequence[tuple[int, int]]
    probed: tuple[int, int]
    left_out_ns: float


def of(host: str, capture: Mapping[str, Any], stalls: Sequence[tuple[int, int]], probed: tuple[int, int]) -> Control | None:
    """None where the capture lacks what a comparison needs: samples, and who handled the probes. Raises on what makes no sense.

    :param stalls: start and end of each, the captured host's clock, with what clocks may differ by
    """
    xray = Xray(capture)
    seconds = (capture.get("clock") or {}).get("observed_s")
    packets: Counter[int] = Counter()
    for row in capture.get("handlers") or []:
        packets[row["cpu"]] += row["packets"]
    if capture.get("status") != "measured" or not xray.recorded or not packets or not seconds:
        return None
    return Control(host, xray, {cpu: count / seconds for cpu, count in packets.items()}, stalls, probed, _left_out_ns(capture, xray))


def _left_out_ns(capture: Mapping[str, Any], xray: Xray) -> float:
    """How long a run may have been that was left out: far from its gaps and in a result that got too large, the longest alone are kept."""
    kept = xray.runs_on(xray.cpus)
    if not (capture.get("omitted") or {}).get("runs"):
        near = Windows((gap["start_ns"] - BEFORE_NS, gap["end_ns"] + AFTER_NS) for gap in capture.get("gaps") or [])
        kept = [run for run in kept if not near.touch(run.start_ns, run.end_ns)]
        if len(kept) < MOST_ELSEWHERE:
            return -1
    return min((run.end_ns - run.start_ns for run in kept), default=math.inf)


def compare(culprit: Culprit, control: Control) -> None:
    """Say in the culprit's evidence whether the control has it as well, and take one step off its confidence if so.

    Not of one that explains no stall or was not sampled in them: it has no length to look for.
    """
    if not culprit.explains or culprit.share is None or culprit.klass == "I":
        return
    least_ns = EXPLAINED * culprit.held_ms / culprit.events * MS
    cpus = [cpu for cpu, a_second in control.handled.items() if cpu in control.xray.sampled and a_second * least_ns / 1e9 >= PROBES_DUE]
    if not cpus:
        return
    is_alike = _alike(culprit)
    long = [run for run in control.xray.runs_on(cpus) if run.end_ns - run.start_ns >= least_ns]
    apart = [run for run in long if _met_none(run, control) and is_alike(run)]
    host = printable(control.host, 80)
    if apart:
        runs = f"{len(apart)} run{'s' * (len(apart) != 1)}"
        culprit.control = f"{host}, the control, has the same: {runs} as long met no stall there, so that it is less sure"
        culprit.confidence = LOWER[culprit.confidence]
    elif least_ns <= control.left_out_ns:
        culprit.control = f"whether {host}, the control, does the same is not known: of its runs the longest alone were kept"
    else:
        sampled_s = sum(end - start for start, end in control.xray.recorded) / 1e9
        culprit.control = f"{host}, the control, was not seen to do so in {sampled_s:.0f} s of samples"
    culprit.because.append(culprit.control)


def _met_none(run: Seen, control: Control) -> bool:
    within = control.probed[0] <= run.start_ns and run.end_ns <= control.probed[1]
    return within and not any(start < run.end_ns and run.start_ns < end for start, end in control.stalls)


def _alike(culprit: Culprit) -> Callable[[Seen], bool]:
    """Whether a run does what the culprit does: the softirq; else a task of its name, in its system call, or where its stacks end."""
    if culprit.vector:
        return lambda run: _mostly(run, lambda stack: classes.vector(stack) == culprit.vector)
    if culprit.work:
        return lambda run: _mostly(run, lambda stack: classes.work(stack) == culprit.work)
    call = next((name for stack, _ in culprit.stacks if (name := classes.syscall(stack))), None)
    leaves = {leaf for stack, _ in culprit.stacks for leaf in classes.frames(stack)[-1:]}
    is_real_time = classes.is_real_time(culprit.policy)

    def does(run: Seen) -> bool:
        if run.task.comm != culprit.comm or (is_real_time and not classes.is_real_time(run.policy)):
            return False  # A task without such a priority lets go of the CPU when another is to run
        if call and culprit.klass != "Q":
            return _mostly(run, lambda stack: classes.syscall(stack) == call)
        return _mostly(run, lambda stack: bool(leaves.intersection(classes.frames(stack)[-1:])))

    return does


def _mostly(run: Seen, is_so: Callable[[str], bool]) -> bool:
    samples = sum(count for _, count in run.stacks)
    return samples > 0 and sum(count for stack, count in run.stacks if is_so(stack)) >= classes.MOSTLY * samples
