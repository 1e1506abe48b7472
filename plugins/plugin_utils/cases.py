# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's verdict as cases for the catalogue of causes, one a culprit, and what comes back as one list for the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import facts
from ansible_collections.fleet.stall.plugins.plugin_utils.case import is_number
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained

CONFIDENCE = ("confirmed", "probable", "suspected")
KEYS = ("id", "title", "class", "confidence", "evidence", "mitigation", "fix", "source", "remedies", "settings")
QUIET_STACKS = 500
Match = dict[str, Any]


def causes(
    culprits: Sequence[Culprit],
    explained: Sequence[Explained],
    klass: str | None,
    capture: Mapping[str, Any],
    observe: Mapping[str, Any],
    match: Callable[[dict[str, Any]], list[Match]],
) -> list[Match]:
    """Known causes, likeliest first, symptoms last; each once, for the culprit that it fits best.

    None is surer than its culprit. Without a culprit or a class nothing is matched.
    """
    cases = [(of_culprit(culprit, explained, capture, observe), culprit) for culprit in culprits if not culprit.usual]
    if culprits or not klass:
        return likeliest(cases, match)
    return likeliest([(of_class(klass, explained, capture, observe), None)], match)


def likeliest(cases: Sequence[tuple[dict[str, Any], Culprit | None]], match: Callable[[dict[str, Any]], list[Match]]) -> list[Match]:
    """The causes of all cases, each with its culprit if it has one."""
    found: dict[str, tuple[tuple[bool, int, int], Match]] = {}
    for position, (case, culprit) in enumerate(cases):
        surest = _surest(culprit) if culprit else 0
        for row in match(case):
            level = max(surest, CONFIDENCE.index(row["confidence"]))
            order = (bool(row.get("symptom")), level, position)
            if row["id"] not in found or order < found[row["id"]][0]:
                found[row["id"]] = order, {key: row.get(key) for key in KEYS} | {"confidence": CONFIDENCE[level]}
    return [row for _, row in sorted(found.values(), key=lambda item: item[0])]


def _surest(culprit: Culprit) -> int:
    """The best that a cause of it can be, by its place in CONFIDENCE: not much, where samples show that it alone explains no stall, or
    where a quota ran out and it is not known whether the late service is under it, or whether that was when it was late."""
    if culprit.confidence != "low":
        return CONFIDENCE.index("confirmed")
    is_guess = culprit.out_of_quota if culprit.klass == "R" else culprit.share is not None and not culprit.events
    return CONFIDENCE.index("suspected" if is_guess else "probable")


def remedies(causes_: Sequence[Match]) -> list[dict[str, Any]]:
    """What the causes name, by name, with the causes that it is for; nothing is planned or done by that."""
    wanted: dict[str, list[str]] = {}
    for cause in causes_:
        for name in cause.get("remedies") or []:
            wanted.setdefault(str(name), []).append(cause["id"])
    return [{"name": name, "causes": ids} for name, ids in wanted.items()]


def of_culprit(culprit: Culprit, explained: Sequence[Explained], capture: Mapping[str, Any], observe: Mapping[str, Any]) -> dict[str, Any]:
    """The case of one culprit (docs/ARCHITECTURE.md)."""
    own = [one for one in explained if culprit.ran(one.blocker)]
    own = own or [one for one in explained if one.cpu in culprit.cpus or (culprit.klass == one.klass == "R")]
    is_traced = any(one.gap is not None for one in own)
    common = _common(own, capture, observe)
    if culprit.klass == "R":
        common["facts"] = {name: value for name, value in common["facts"].items() if _is_of(culprit, name)}
    return {
        **common,
        "class": culprit.klass,
        "stacks": [[stack, ms] for stack, ms in culprit.stacks],
        "trigger": {
            "comm": culprit.comm,
            "pid": culprit.pid,
            "unit": culprit.unit,
            "container": culprit.container,
            "cgroup": culprit.cgroup,
            "syscall": culprit.syscall,
            "path": culprit.path,
            "buffer": culprit.buffer,
            "policy": culprit.policy,
        },
        "on_rx_cpu": True if is_traced and culprit.cpus else None,
        "cpu": culprit.cpus[0] if culprit.cpus else None,
    }


def _is_of(culprit: Culprit, fact: str) -> bool:
    """Of quotas, those of its own group alone say anything, and only if that was out of it when the service was late (quota.py)."""
    return not fact.startswith("throttled.") or (culprit.out_of_quota and fact.startswith("throttled.groups."))


def of_class(klass: str, explained: Sequence[Explained], capture: Mapping[str, Any], observe: Mapping[str, Any]) -> dict[str, Any]:
    """A case without a culprit: the handler was at work itself, the CPU did not run, or the application was late."""
    own = [one for one in explained if one.klass == klass]
    stacks: dict[str, float] = {}
    for one in own:
        for stack, ns in one.own:
            stacks[stack] = stacks.get(stack, 0.0) + ns / MS
    return {
        **_common(own or explained, capture, observe),
        "class": klass,
        "stacks": [[stack, ms] for stack, ms in sorted(stacks.items(), key=lambda item: -item[1])],
        "trigger": None,
        "on_rx_cpu": True if stacks else None,
        "cpu": next((one.cpu for one in own if one.cpu is not None), None),
    }


def _common(explained: Sequence[Explained], capture: Mapping[str, Any], observe: Mapping[str, Any]) -> dict[str, Any]:
    quiet, quiet_s = _quiet(capture)
    versions = capture.get("versions") or observe.get("versions") or {}
    seconds = sum(one.drain_ns - one.start_ns for one in explained) / 1e9
    return {
        "quiet": quiet,
        "stacks_s": seconds or None,
        "quiet_s": quiet_s,
        "handler": next((one.handler.comm for one in explained if one.handler), None),
        "kernel": versions.get("kernel"),
        "preemption": versions.get("preemption"),
        "log": facts.kernel_log(observe, ("end",)),
        "log_before": facts.kernel_log(observe, ("start",)),
        "facts": facts.facts(observe, capture),
    }


def _quiet(capture: Mapping[str, Any]) -> tuple[list[list[Any]], float | None]:
    """Stacks while nothing stalled, in milliseconds as those of the culprit are, and the seconds they cover."""
    folded, stacks = capture.get("folded"), capture.get("stacks") or []
    if not isinstance(folded, Mapping):
        return [], None
    period_ms = _period_ms(capture)
    rows = [row for row in folded.get("quiet") or [] if isinstance(row, (list, tuple)) and len(row) == 3 and isinstance(row[1], int)]
    found = [[stacks[index], count * period_ms] for _, index, count in rows[:QUIET_STACKS] if 0 <= index < len(stacks) and is_number(count)]
    seconds = folded.get("quiet_s")
    return found, float(seconds) if isinstance(seconds, (int, float)) else None


def _period_ms(capture: Mapping[str, Any]) -> float:
    """How much time one sample stands for."""
    keys = ("start_ns", "end_ns", "samples")
    runs = [row for row in capture.get("runs") or [] if isinstance(row, Mapping) and all(is_number(row.get(key)) for key in keys)]
    samples = sum(row["samples"] for row in runs)
    return sum(row["end_ns"] - row["start_ns"] for row in runs) / MS / samples if samples > 0 else 1.0


def is_virtual(observe: Mapping[str, Any]) -> bool | None:
    """Whether the host is a virtual machine, as far as it says so; None where it was not asked."""
    said = facts.facts(observe, None).get("machine.virtual")
    return None if said is None else said > 0


def stolen_ns(observe: Mapping[str, Any]) -> dict[int, int]:
    """By CPU, the time that a hypervisor took in the window, from observe.json."""
    reader = (observe.get("counters") or {}).get("cpu") or {}
    start, end = reader.get("start") or {}, reader.get("end") or {}
    ticks = start.get("ticks_per_s") or 0
    before, after = start.get("cpus") or {}, end.get("cpus") or {}
    return {
        int(cpu): max(0, times["steal"] - before[cpu]["steal"]) * 1_000_000_000 // ticks
        for cpu, times in after.items()
        if ticks and cpu.isdecimal() and cpu in before
    }


def stolen_by_second(observe: Mapping[str, Any]) -> dict[int, list[tuple[int, int, int]]]:
    """The same as (start, end, time taken) from sample to sample, the host's clock, ns; empty where nothing was sampled."""
    reader = (observe.get("counters") or {}).get("cpu") or {}
    series, ticks = reader.get("series") or {}, (reader.get("start") or {}).get("ticks_per_s") or 0
    if not series or not ticks:
        return {}
    moments = [series["start_ns"] + offset_ms * 1_000_000 for offset_ms in (0, *series["offsets_ms"])]
    return {
        int(cpu): [(*moment, grown * 1_000_000_000 // ticks) for moment, grown in zip(pairwise(moments), rows, strict=False)]
        for cpu, rows in series["increments"].items()
        if cpu.isdecimal()
    }
