# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A case: what is known of a host's stalls that belong together, made safe to use, since most of it was measured on the host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from ansible_collections.fleet.stall.plugins.plugin_utils.cause import Measure
from ansible_collections.fleet.stall.plugins.plugin_utils.symbols import normalise_stack

LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Case:
    """The case of docs/ARCHITECTURE.md. Stacks are (canonical frames, weight); `trigger` has the handler of the packets as a field, too."""

    kind: str | None
    stacks: tuple[tuple[tuple[str, ...], float], ...]
    quiet: tuple[tuple[tuple[str, ...], float], ...]
    stacks_s: float | None
    quiet_s: float | None
    trigger: Mapping[str, str]
    on_rx_cpu: bool | None
    handler: str
    cpu: str
    facts: Mapping[str, float]
    kernel: tuple[int, int, int] | None
    preemption: str
    log: tuple[str, ...]
    log_before: tuple[str, ...]

    @classmethod
    def of(cls, case: Mapping[str, Any]) -> Case:
        trigger = case.get("trigger")
        handler = case.get("handler")
        handler = str((handler.get("comm") if isinstance(handler, Mapping) else handler) or "")[:LONGEST_TEXT]
        numbers = case.get("facts")
        cpu = case.get("cpu")
        return cls(
            kind=case["class"] if isinstance(case.get("class"), str) else None,
            stacks=_stacks(case.get("stacks")),
            quiet=_stacks(case.get("quiet")),
            stacks_s=_positive(case.get("stacks_s")),
            quiet_s=_positive(case.get("quiet_s")),
            trigger={**(_texts(trigger) if isinstance(trigger, Mapping) else {}), "handler": handler},
            on_rx_cpu=case["on_rx_cpu"] if isinstance(case.get("on_rx_cpu"), bool) else None,
            handler=handler,
            cpu="" if cpu is None else str(cpu),
            facts={name: float(n) for name, n in numbers.items() if is_number(n)} if isinstance(numbers, Mapping) else {},
            kernel=version(case.get("kernel")),
            preemption=str(case.get("preemption") or ""),
            log=_lines(case.get("log")),
            log_before=_lines(case.get("log_before")),
        )

    def value(self, measure: Measure) -> float | None:
        """What was measured: for a group with those above it, which throttle it too, one that holds if there is one."""
        found = [self.facts[name] for name in self._names(measure.fact) if name in self.facts]
        return next((value for value in found if measure.holds(value)), found[0] if found else None)

    def _names(self, fact: str) -> list[str]:
        if "{cpu}" in fact:
            return [fact.replace("{cpu}", self.cpu)] if self.cpu else []
        if "{handler}" in fact:
            return [fact.replace("{handler}", self.handler)] if self.handler else []
        if "{cgroup}" in fact:
            path = self.trigger.get("cgroup", "").rstrip("/")
            above = [path[:end] for end in range(len(path), 0, -1) if end == len(path) or path[end] == "/"]
            return [fact.replace("{cgroup}", group) for group in above]
        return [fact]


def version(release: object) -> tuple[int, int, int] | None:
    """(4, 9, 0) of ``4.9.0-8-amd64``; None for what begins with no version."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", release) if isinstance(release, str) else None
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _positive(value: Any) -> float | None:
    return float(value) if is_number(value) and value > 0 else None


def _lines(value: Any) -> tuple[str, ...]:
    return tuple(line[:LONGEST_TEXT] for line in _rows(value) if isinstance(line, str))


def _rows(value: Any) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, (list, tuple)) else ()


def _stacks(rows: Any) -> tuple[tuple[tuple[str, ...], float], ...]:
    found = []
    for row in _rows(rows):
        if isinstance(row, (list, tuple)) and len(row) == 2 and isinstance(row[0], str) and (weight := _positive(row[1])):
            found.append((normalise_stack(row[0]), weight))
    return tuple(found)


def _texts(trigger: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value)[:LONGEST_TEXT].lower().removeprefix("sched_") if name == "policy" else str(value)[:LONGEST_TEXT]
        for name, value in trigger.items()
        if isinstance(name, str) and value is not None
    }
