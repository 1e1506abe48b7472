# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A captured host's own view of a stall: probes that it handled after a silence, by whom, and who handled the last one before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Task

# Fewer than this after its end are no backlog: the end of a gap is then that of the backlog
LEAST_BACKLOG = 2

# From when to when, in nanoseconds
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Handled:
    at_ns: int
    cpu: int
    task: Task
    flow: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """``silent_ns`` to ``drain_ns``: probes were due on that CPU and not handled; ``backlog``: those handled then, by ``handler`` mostly.

    ``flows``: of the backlog, as far as the trace knows them. Times are the captured host's.
    """

    silent_ns: int
    drain_ns: int
    cpu: int
    handler: Task | None
    before: Task | None
    backlog: int
    flows: frozenset[int]
    raw: Mapping[str, Any]


def read_gaps(capture: Mapping[str, Any]) -> list[Gap]:
    """The gaps of capture.json, by time; what makes no sense is left out."""
    rows = capture.get("gaps")
    found = [gap for row in (rows if isinstance(rows, list) else []) if (gap := _gap(row))]
    return sorted(found, key=lambda gap: (gap.silent_ns, gap.cpu))


def read_heard(capture: Mapping[str, Any]) -> dict[int, list[Span]]:
    """Flow -> when its probes were handled at their pace, the captured host's clock; what makes no sense is left out."""
    stated = capture.get("heard")
    found: dict[int, list[Span]] = {}
    for flow, rows in stated.items() if isinstance(stated, Mapping) else ():
        spans = [(row[0], row[1]) for row in rows if _is_span(row)] if isinstance(rows, list) else []
        if str(flow).isdecimal() and spans:
            found[int(flow)] = spans
    return found


def _is_span(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and all(isinstance(value, int) for value in row)


def _gap(row: Any) -> Gap | None:
    try:
        start, end, cpu = row["start_ns"], row["end_ns"], row["cpu"]
        handled = sorted((one for entry in row["handled"] if (one := _handled(entry)) and one.cpu == cpu), key=lambda one: one.at_ns)
        if not all(isinstance(value, int) and value >= 0 for value in (start, end, cpu)) or end <= start:
            return None
    except (KeyError, TypeError):
        return None
    silent, drain = _silence(start, end, [one.at_ns for one in handled])
    backlog = [one for one in handled if one.at_ns >= drain]
    before = [one for one in handled if one.at_ns < drain]
    tasks = Counter(one.task for one in backlog)
    return Gap(
        silent,
        drain,
        cpu,
        max(tasks, key=lambda task: (tasks[task], -task.tid)) if tasks else None,
        before[-1].task if before else None,
        len(backlog),
        frozenset(one.flow for one in backlog if one.flow is not None),
        row,
    )


def _silence(start: int, end: int, times: list[int]) -> tuple[int, int]:
    """When probes were due, and when the first was handled: the gap's ends if a backlog comes out of its end, else the longest pause."""
    if not times or sum(at >= end for at in times) >= LEAST_BACKLOG:
        return start, end
    points = [start, *times] if start < times[0] else times
    return max(pairwise(points), key=lambda pair: pair[1] - pair[0], default=(start, times[0]))


def _handled(entry: Any) -> Handled | None:
    try:
        at, cpu, pid, tid, comm, flow = entry[:6]
    except (TypeError, ValueError):
        return None
    if not all(isinstance(value, int) for value in (at, cpu, pid, tid)):
        return None
    return Handled(at, cpu, Task(str(comm), pid, tid), flow if isinstance(flow, int) else None)
