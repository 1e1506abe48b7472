# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a process's slow system calls kept the CPU: those that ran, at the times that it ran, and not those that waited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, SLACK_NS

# Calls that sleep for as long as they are asked to: their length says nothing unless it is known that they ran
# fmt: off
WAITING = frozenset((
    "accept", "accept4", "clock_nanosleep", "epoll_pwait", "epoll_pwait2", "epoll_wait", "flock", "futex", "futex_wait",
    "futex_waitv", "io_getevents", "io_uring_enter", "msgrcv", "nanosleep", "pause", "poll", "ppoll", "pselect6", "recvmmsg",
    "restart_syscall", "rt_sigsuspend", "rt_sigtimedwait", "select", "semop", "semtimedop", "sigsuspend", "wait4", "waitid",
))
# fmt: on
# A call ran if it was on the CPU for so much of its length
RAN = 0.5
KEPT = 3


def of_process(
    capture: Mapping[str, Any], pids: Sequence[int], intervals: Iterable[tuple[int, int]], kernel_call: str | None = None
) -> list[dict[str, Any]]:
    """The calls of a process that overlap when it kept the CPU, by the time they took together; a call without a start counts as well.

    :param pids: of the process, or of several of one name
    :param intervals: when the process kept the CPU, the captured host's clock
    :param kernel_call: the system call that its stacks show, which is preferred
    :return: ``[{call, path, buffer, count, duration_ms (longest), on_cpu_ms, how}]``
    """
    times = list(intervals)
    grouped: dict[tuple[str, str | None], list[Mapping[str, Any]]] = defaultdict(list)
    buffers: dict[str, Any] = {}
    for row in _rows(capture):
        if row.get("pid") not in pids and row.get("tid") not in pids:
            continue
        if row.get("buffer") is not None:
            buffers.setdefault(str(row.get("call")), row["buffer"])
        if _ran(row) and _meets(row, times):
            path = row.get("path")
            grouped[str(row.get("call")), path if isinstance(path, str) else None].append(row)
    found = [_together(call, path, rows, buffers) for (call, path), rows in grouped.items()]
    return [row for _, row in sorted(found, key=lambda item: (item[1]["call"] != kernel_call, -item[0], item[1]["call"]))][:KEPT]


def _together(call: str, path: str | None, rows: Sequence[Mapping[str, Any]], buffers: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    longest = max(rows, key=_length)
    on_cpu = longest.get("on_cpu_ms")
    own = next((row["buffer"] for row in rows if row.get("buffer") is not None), None)
    return sum(map(_length, rows)), {
        "call": call,
        "path": path,
        "buffer": own if own is not None else buffers.get(call),
        "count": len(rows),
        "duration_ms": _length(longest),
        "on_cpu_ms": float(on_cpu) if isinstance(on_cpu, (int, float)) else None,
        "how": str(longest.get("how") or ""),
    }


def longest(capture: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """The longest calls that were seen, whoever made them and whether they ran or waited, to be shown."""
    rows = sorted(_rows(capture), key=_length, reverse=True)[:limit]
    return [
        {
            "comm": str(row.get("comm") or ""),
            "pid": row.get("pid") if isinstance(row.get("pid"), int) else None,
            "call": str(row.get("call") or ""),
            "path": row["path"] if isinstance(row.get("path"), str) else None,
            "duration_ms": _length(row),
            "on_cpu_ms": float(row["on_cpu_ms"]) if isinstance(row.get("on_cpu_ms"), (int, float)) else None,
            "how": str(row.get("how") or ""),
        }
        for row in rows
    ]


def _rows(capture: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = capture.get("slow_calls")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _length(row: Mapping[str, Any]) -> float:
    value = row.get("duration_ms")
    return float(value) if isinstance(value, (int, float)) and value >= 0 else 0.0


def _ran(row: Mapping[str, Any]) -> bool:
    on_cpu = row.get("on_cpu_ms")
    if isinstance(on_cpu, (int, float)):
        return bool(on_cpu >= RAN * _length(row))
    return str(row.get("call")) not in WAITING


def _meets(row: Mapping[str, Any], times: list[tuple[int, int]]) -> bool:
    start = row.get("start_ns")
    if not isinstance(start, int) or not times:
        return True
    end = start + round(_length(row) * MS)
    return any(min(end, last) - max(start, first) >= min(end - start, last - first) // 2 - SLACK_NS for first, last in times) and any(
        min(end, last) > max(start, first) - SLACK_NS for first, last in times
    )
