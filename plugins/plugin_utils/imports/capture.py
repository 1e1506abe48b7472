# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `capture` part of a host's row, as findings.json has it, out of foreign logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import capture_row, sentences
from ansible_collections.fleet.stall.plugins.plugin_utils import stalls_join as joined_stalls
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.straces import SlowCall
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.suspect import Suspicion
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.timing import Facts
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained

SLOW_CALLS = 6


def part(found: Suspicion, causes: Sequence[Mapping[str, Any]], facts: Facts, kernel: str | None) -> dict[str, Any]:
    """What the logs of the host itself gave."""
    culprit = found.culprit
    explained = _explained(found)
    return {
        "role": "import",
        "status": "measured",
        "class": culprit.klass if culprit else None,
        "confidence": culprit.confidence if culprit else None,
        "explained": {"events": culprit.events if culprit else 0, "of": len(explained)},
        "sentence": _sentence(found, explained, causes),
        "culprits": [capture_row.culprit_row(culprit)] if culprit else [],
        "handlers": _handlers(found),
        "timeline": [],
        "missing": [*found.missing, *_not_in(facts, kernel)],
        "cost": None,
        "observer_effect": None,
        "connections": [],
        "memory_cgroups": _memory_cgroups(facts),
        "slow_calls": _slow_calls(found),
    }


def trigger(culprit: Culprit | None) -> dict[str, Any] | None:
    return capture_row.trigger_row(culprit) if culprit else None


def _sentence(found: Suspicion, explained: Sequence[Explained], causes: Sequence[Mapping[str, Any]]) -> str:
    if found.culprit is None:
        return _nobody(found, explained)
    if found.joined is None:
        return sentences.untied(found.culprit, causes)
    return sentences.verdict([found.culprit], explained, causes, found.culprit.klass)


def _slow_calls(found: Suspicion) -> list[dict[str, Any]]:
    """The longest of each kind, whoever made them."""
    longest: dict[tuple[Any, ...], SlowCall] = {}
    for call in sorted(found.calls, key=lambda call: -call.duration_ms):
        longest.setdefault((call.tid, call.name, call.contents), call)
    rows = list(longest.values())[:SLOW_CALLS]
    return [
        {
            "comm": call.comm or "",
            "pid": call.tid,
            "call": call.name,
            "path": call.contents,
            "duration_ms": call.duration_ms,
            "on_cpu_ms": None,
            "how": "strace",
        }
        for call in rows
    ]


def _explained(found: Suspicion) -> list[Explained]:
    """The stalls that the packet log has, for the sentence."""
    if found.joined is None:
        return []
    return [
        Explained(
            joined_stalls.Stall(stall.start_ns, stall.end_ns, []),
            stall.start_ns,
            max(stall.end_ns, stall.start_ns + 1),
            cpu=handled.cpu,
            handler=handled.handler,
            backlog=handled.backlog,
            before=handled.before,
        )
        for stall, handled in found.joined.handled.items()
    ]


def _nobody(found: Suspicion, explained: Sequence[Explained]) -> str:
    if not found.stalls:
        return "No stall is in these logs, so that nobody is looked for."
    if not explained:
        return "What kept its packets is not known: these logs do not show who handled them."
    worst = max(explained, key=lambda one: one.drain_ns - one.start_ns)
    handler = printable(worst.handler.comm if worst.handler else "", 40)
    where = f" on CPU {worst.cpu}" if worst.cpu is not None else ""
    return f"{handler}{where} drained {worst.backlog} probes; what kept that CPU before is not known."


def _handlers(found: Suspicion) -> list[dict[str, Any]]:
    return [{"cpu": cpu, "pid": task.pid, "tid": task.tid, "comm": task.comm, "packets": count} for task, cpu, count in found.handlers[:8]]


def _memory_cgroups(facts: Facts) -> dict[str, Any] | None:
    if facts.live is None and facts.dying_found() is None and facts.read_ms is None:
        return None
    return {"live": facts.live, "dying": facts.dying_found(), "read_ms": facts.read_ms, "read_path": None, "reason": None}


def _not_in(facts: Facts, kernel: str | None) -> list[str]:
    """What the causes would ask for."""
    said = []
    if facts.read_ms is None:
        timed = f"; what was timed is {printable(facts.timed, 80)}" if facts.timed else ""
        said.append(f"not known: how long a read of memory.stat takes (no `time cat .../memory.stat`{timed})")
    if facts.dying_found() is None:
        counted = "" if facts.memory_cgroups is None else f"; the kernel counts {facts.memory_cgroups}, of which some have a directory"
        said.append(f"not known: how many memory cgroups are dying (memory_cgroups in about.yml{counted})")
    if kernel is None:
        said.append("not known: its kernel (kernel in about.yml, or stall_logs_kernel)")
    return said
