# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of `capture` in a row of the findings, as docs/findings.schema.json has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import rows
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained

TIMELINES = 6
STACKS = 5
BLOCKER_FRAMES = 64
INTERVALS = 20


def failed(role: str, capture: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of a host that gave no capture; not captured is not the same as nothing found."""
    reason = str((capture or {}).get("reason") or "no result came from it")
    remedy = (capture or {}).get("remedy")
    return {
        "role": role,
        "status": "not_captured",
        "class": None,
        "confidence": None,
        "explained": {"events": 0, "of": 0},
        "sentence": f"It was not captured: {reason}{f'; {remedy}' if remedy else ''}.",
        "culprits": [],
        "handlers": [],
        "timeline": [],
        "missing": [f"the capture: {reason}"],
        "packets": None,
        "cost": None,
        "observer_effect": None,
        "connections": [],
        "memory_cgroups": None,
        "slow_calls": [],
    }


def culprit_row(culprit: Culprit) -> dict[str, Any]:
    return {
        "comm": culprit.comm,
        "pid": culprit.pid,
        "tid": culprit.tid,
        "unit": culprit.unit,
        "container": culprit.container,
        "cgroup": culprit.cgroup,
        "policy": culprit.policy,
        "softirq": culprit.vector,
        "syscall": culprit.syscall,
        "path": culprit.path,
        "buffer": culprit.buffer,
        "cpu": culprit.cpus[0] if culprit.cpus else None,
        "cpus": culprit.cpus,
        "class": culprit.klass,
        "events": culprit.events,
        "share": culprit.share,
        "held_ms": round(culprit.held_ms, 3),
        "longest_ms": round(culprit.longest_ms, 3),
        "usual": culprit.usual,
        "confidence": culprit.confidence,
        "because": culprit.because,
        "stack": culprit.stacks[0][0].split(";")[:BLOCKER_FRAMES] if culprit.stacks else [],
        "stacks": [[stack, round(ms, 3)] for stack, ms in culprit.stacks[:STACKS]],
        "calls": culprit.calls,
    }


def trigger_row(culprit: Culprit) -> dict[str, Any]:
    return {
        "comm": culprit.comm,
        "pid": culprit.pid,
        "unit": culprit.unit,
        "container": culprit.container,
        "syscall": culprit.syscall,
        "path": culprit.path,
        "cpu": culprit.cpus[0] if culprit.cpus else None,
    }


def timeline(explained: Sequence[Explained], offset: int) -> list[dict[str, Any]]:
    """A few stalls to look at, the longest, in time order; milliseconds from the first delayed probe."""
    shown = sorted(explained, key=lambda one: (one.blocker is None, one.start_ns - one.drain_ns))[:TIMELINES]
    return [_shown(one, offset) for one in sorted(shown, key=lambda one: one.start_ns)]


def _shown(one: Explained, offset: int) -> dict[str, Any]:
    gap_start = one.gap.get("start_ns") if one.gap else None
    return {
        "start": rows.utc(one.start_ns - offset),
        "duration_ms": round(one.stall.length_ns / MS, 3),
        "drain_ms": round((one.drain_ns - one.start_ns) / MS, 3),
        "silent_ms": round((gap_start - one.start_ns) / MS, 3) if isinstance(gap_start, int) else None,
        "cpu": one.cpu,
        "handled_by": one.handler.comm if one.handler else None,
        "backlog": one.backlog,
        "before": one.before.comm if one.before else None,
        "note": one.note,
        "runs": [
            {
                "comm": run.task.comm if not run.vector else f"softirq {run.vector}",
                "pid": run.task.pid,
                "share": round(run.share, 3),
                "intervals_ms": [
                    [round((start - one.start_ns) / MS, 3), round((end - one.start_ns) / MS, 3)] for start, end in run.intervals[:INTERVALS]
                ],
            }
            for run in one.runs[:3]
        ],
    }


def rows_of(capture: Mapping[str, Any], part: str, keys: Sequence[str], limit: int) -> list[dict[str, Any]]:
    found = capture.get(part)
    return [{key: row.get(key) for key in keys} for row in (found or [])[:limit] if isinstance(row, Mapping)]


def cost(capture: Mapping[str, Any]) -> dict[str, Any] | None:
    cost = capture.get("cost")
    return (
        {key: cost.get(key) for key in ("cpu_s", "setup_cpu_s", "rss_kb", "wall_s", "bytes_written")} if isinstance(cost, Mapping) else None
    )


def memory_cgroups(capture: Mapping[str, Any]) -> dict[str, Any] | None:
    found = capture.get("memory_cgroups")
    return {key: found.get(key) for key in ("live", "dying", "read_ms", "read_path", "reason")} if isinstance(found, Mapping) else None
