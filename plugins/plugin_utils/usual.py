# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what kept the CPU in stalls does the same as much while nothing stalls: then it was merely there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.due import Due
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Seen, Xray

# What runs this much as often while nothing stalls is there anyway
AS_QUIET = 0.7
# Had so many probes been due on its CPU in a run, one of them would have been late
PROBES_DUE = 2
_USER = "[user]"


@dataclass(frozen=True, slots=True)
class Signature:
    """What to look for elsewhere. ``kernel``: only what it does in the kernel counts, and there in this system call alone: a program that
    is busy with its own work meanwhile keeps no packet waiting by that. ``pids``: of one process, or several of one name. ``work``: what a
    worker of the kernel does, whichever it is."""

    comm: str
    pids: tuple[int, ...]
    cpus: tuple[int, ...]
    vector: str | None
    kernel: bool
    syscall: str | None
    work: str | None = None


def often(who: Signature, capture: Mapping[str, Any], xray: Xray, due: Due) -> tuple[bool, str | None]:
    """Whether it is sampled about as often elsewhere as around stalls, and the sentence with both rates.

    Of several CPUs that tells nothing where probes came to now one, now the other: elsewhere may be where none was due.
    """
    if len(who.cpus) > 1 and not due.is_steady(who.cpus):
        return False, None
    around, quiet = _rates(who, capture, xray)
    if not around or quiet is None:
        return False, None
    return quiet >= AS_QUIET * around, f"it is in {around:.0f} samples a second around stalls and in {quiet:.0f} elsewhere"


def runs_apart(
    who: Signature, xray: Xray, least_ns: float, stalls: Sequence[tuple[int, int]], probed: tuple[int, int], due: Due
) -> tuple[int, str | None]:
    """How many runs of it of such a length met no stall though probes were due there, and the sentence that says so.

    :param stalls: start and end of each, with what clocks may differ by; the captured host's clock
    :param probed: from when to when probes were sent: what ran at other times says nothing
    """
    if who.vector or not who.pids:
        return 0, None
    apart = [
        run
        for run in _runs(who, xray)
        if run.end_ns - run.start_ns >= least_ns
        and (not who.kernel or run.kernel >= classes.MOSTLY)
        and probed[0] <= run.start_ns
        and run.end_ns <= probed[1]
        and not any(start < run.end_ns and run.start_ns < end for start, end in stalls)
        and _would_have_stalled(run, who, due)
    ]
    return len(apart), f"{len(apart)} runs of it there that were as long met no stall" if apart else None


def _would_have_stalled(run: Seen, who: Signature, due: Due) -> bool:
    came = due.within(run.cpu, run.start_ns, run.end_ns)
    return len(who.cpus) == 1 if came is None else came >= PROBES_DUE


def _runs(who: Signature, xray: Xray) -> list[Seen]:
    if who.work:
        return [run for run in xray.runs_on(who.cpus) if run.stacks and classes.work(run.stacks[0][0]) == who.work]
    if len(who.pids) == 1:
        return xray.runs_of(who.pids[0], who.cpus)
    return xray.runs_named(who.comm, who.cpus)


def _rates(who: Signature, capture: Mapping[str, Any], xray: Xray) -> tuple[float, float | None]:
    """Samples a second that show it, around stalls and elsewhere; None: nothing else was sampled."""
    folded = capture.get("folded")
    if not isinstance(folded, Mapping):
        return 0.0, None
    rates: list[float | None] = []
    for part in ("gaps", "quiet"):
        seconds, rows = folded.get(f"{part}_s"), folded.get(part)
        if not isinstance(seconds, (int, float)) or seconds <= 0 or not isinstance(rows, list):
            rates.append(None)
            continue
        rates.append(sum(_count(row, who, xray) for row in rows) / seconds)
    return rates[0] or 0.0, rates[1]


def _count(row: Any, who: Signature, xray: Xray) -> int:
    if not isinstance(row, (list, tuple)) or len(row) != 3 or not isinstance(row[2], int):
        return 0
    stack = xray.stack(row[1]) or ""
    vector = classes.vector(stack)
    if who.vector:
        return row[2] if vector == who.vector else 0
    if who.work:
        return row[2] if classes.work(stack) == who.work else 0
    if row[0] != who.comm or vector is not None:
        return 0
    return row[2] if not who.kernel or (not stack.endswith(_USER) and classes.syscall(stack) == who.syscall) else 0
