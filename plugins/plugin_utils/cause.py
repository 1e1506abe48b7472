# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One cause of the catalogue, its patterns ready to be used."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.symbols import normalise_stack
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

OPERATIONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
_WORDS = {">=": "{} or more", ">": "more than {}", "<=": "{} or less", "<": "less than {}", "==": "{}"}

Trigger = Mapping[str, re.Pattern[str]]


@dataclass(frozen=True, slots=True)
class Measure:
    """A fact and the limit that it is held against; `means` what it is, in words. An `average` below its limit speaks against nothing."""

    fact: str
    op: str
    value: float
    means: str
    decisive: bool = False
    average: bool = False

    def holds(self, value: float) -> bool:
        return OPERATIONS[self.op](value, self.value)

    def limit(self) -> str:
        return _WORDS[self.op].format(number(self.value))


@dataclass(frozen=True, slots=True)
class Pattern:
    """Functions that a stack has in this order, others in between."""

    frames: tuple[re.Pattern[str] | str, ...]
    text: str

    @classmethod
    def of(cls, names: list[str]) -> Pattern:
        spelled = normalise_stack(";".join(names))
        return cls(tuple(re.compile(fnmatch.translate(name)) if "*" in name else name for name in spelled), ", ".join(names))

    def matches(self, stack: tuple[str, ...]) -> bool:
        frames = iter(stack)
        return all(any(frame == wanted if isinstance(wanted, str) else wanted.match(frame) for frame in frames) for wanted in self.frames)


@dataclass(frozen=True, slots=True)
class Cause:
    """A file of the catalogue (docs/causes.schema.json)."""

    id: str
    title: str
    symptom: bool
    classes: tuple[str, ...]
    only_if: Mapping[str, Trigger]
    frames: tuple[Pattern, ...]
    not_frames: tuple[Pattern, ...]
    masked: bool
    counters: tuple[Measure, ...]
    log: tuple[re.Pattern[str], ...]
    trigger: tuple[Trigger, ...]
    kernel: Mapping[str, str]
    test: Measure | None
    seen: str
    mitigation: str | None
    fix: str | None
    remedies: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    sources: tuple[str, ...]
    unconfirmed: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Cause:
        """:param row: a file's content that fits the schema"""
        test = row.get("test")
        return cls(
            id=row["id"],
            title=row["title"],
            symptom=row.get("kind") == "symptom",
            classes=tuple(row["class"]),
            only_if={kind: _trigger(fields) for kind, fields in row.get("only_if", {}).items()},
            frames=tuple(Pattern.of(names) for names in row.get("frames", [])),
            not_frames=tuple(Pattern.of([name]) for name in row.get("not_frames", [])),
            masked=row.get("masked", False),
            counters=tuple(Measure(**counter) for counter in row.get("counters", [])),
            log=tuple(re.compile(pattern) for pattern in row.get("log", [])),
            trigger=tuple(_trigger(fields) for fields in row.get("trigger", [])),
            kernel=row.get("kernel", {}),
            test=Measure(test["fact"], test["op"], test["value"], test["name"]) if test else None,
            seen=row["seen"],
            mitigation=row["mitigation"],
            fix=row["fix"],
            remedies=tuple(row["remedies"]),
            settings=row.get("settings", {}),
            sources=tuple(row["sources"]),
            unconfirmed=row.get("unconfirmed", False),
        )

    def has(self, stack: tuple[str, ...]) -> Pattern | None:
        """The first alternative that the stack has."""
        if any(pattern.matches(stack) for pattern in self.not_frames):
            return None
        return next((pattern for pattern in self.frames if pattern.matches(stack)), None)


def _trigger(fields: Mapping[str, str]) -> Trigger:
    return {name: re.compile(pattern) for name, pattern in fields.items()}
