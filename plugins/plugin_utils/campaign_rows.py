# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each host of a kernel campaign stands, and the fleet by kernel and stall severity. Pure: plan, journal, kernels and findings in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.kernels.versions import release_key
from ansible_collections.fleet.stall.plugins.plugin_utils import wording
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import BEGUN, DONE, Host, State, Step

UPGRADED, HAS_IT, ROLLED_BACK, FAILED, AT_WORK, WAITS, LEFT_OUT = (
    ("upgraded", "has it already", "rolled back", "failed", "at work", "waits", "left out")
)  # fmt: skip
GRADES = ("critical", "major", "minor", "stalling", "suspect", "clear", "not measured")
UNKNOWN_KERNEL = "unknown"


@dataclass(frozen=True)
class Row:
    """A host. `before` and `now`: ``{kernel, grade, stalled_ms_per_s|null}``; `verdict` and `because` are empty where there is none."""

    host: str
    wave: int | None
    state: str
    before: Mapping[str, Any]
    now: Mapping[str, Any]
    verdict: str
    because: str


@dataclass(frozen=True)
class Kernel:
    """The hosts that run a kernel: how many, how many of each grade, and the worst rate among them."""

    release: str
    hosts: int
    grades: Mapping[str, int]
    worst_ms_per_s: float | None


def of_hosts(plan: Mapping[str, Any], state: State, kernels: Mapping[str, Any], findings: Mapping[str, Any]) -> list[Row]:
    """In the order of the waves, then the others.

    :param kernels: kernels.json
    :param findings: of the run before
    """
    waves = {host: number for number, wave in enumerate(plan["waves"], 1) for host in wave}
    measured = {row["host"]: row for row in findings["hosts"]}
    names = [*waves, *(host for host in kernels["hosts"] if host not in waves)]
    return [_row(name, waves.get(name), state.hosts.get(name), kernels["hosts"].get(name) or {}, measured.get(name)) for name in names]


def _row(
    name: str,
    wave: int | None,
    host: Host | None,
    known: Mapping[str, Any],
    measured: Mapping[str, Any] | None,
) -> Row:
    step = host.step if host else None
    before = {"kernel": known.get("running") or UNKNOWN_KERNEL, **_severity(measured)}
    verdict = (step.verdict if step else None) or {}
    now = {**before, "kernel": _runs(step) or before["kernel"]}
    if after := verdict.get("after"):
        now |= _severity(after)
    because = (step.because if step else None) or (str(known.get("because") or "") if wave is None else "")
    return Row(name, wave, _state(wave, step, known), before, now, str(verdict.get("verdict") or ""), because)


def _state(wave: int | None, step: Step | None, known: Mapping[str, Any]) -> str:
    if step is None:
        return WAITS if wave is not None else LEFT_OUT if known.get("because") else HAS_IT
    if step.rolled_back:
        return ROLLED_BACK
    return {DONE: UPGRADED, BEGUN: AT_WORK}.get(step.status, FAILED)


def _runs(step: Step | None) -> str | None:
    """The kernel that the host was last seen with; a step that failed without going back leaves that open."""
    if step is None:
        return None
    if step.rolled_back:
        return (step.before or {}).get("kernel")
    if step.status == DONE:
        return (step.result.get("after") or {}).get("kernel")
    return UNKNOWN_KERNEL


def _severity(measured: Mapping[str, Any] | None) -> dict[str, Any]:
    """{grade, stalled_ms_per_s|null} of a row of the findings, or of the figures of a verification."""
    if measured is None or measured["status"] == "not_measured":
        return {"grade": GRADES[-1], "stalled_ms_per_s": None}
    severity = measured.get("severity") or measured
    grade = wording.verdict({"status": measured["status"], "severity": severity})
    return {"grade": grade, "stalled_ms_per_s": severity.get("stalled_ms_per_s")}


def by_kernel(views: Iterable[Mapping[str, Any]]) -> list[Kernel]:
    """The newest kernel first.

    :param views: `before` or `now` of rows
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for view in views:
        groups.setdefault(view["kernel"], []).append(view)
    order = sorted(groups, key=lambda release: (release != UNKNOWN_KERNEL, release_key(release)), reverse=True)
    return [_kernel(release, groups[release]) for release in order]


def _kernel(release: str, views: list[Mapping[str, Any]]) -> Kernel:
    # What a clear host has is a bound on what it could have, not a rate.
    rates = [view["stalled_ms_per_s"] for view in views if view["grade"] != "clear" and view["stalled_ms_per_s"] is not None]
    return Kernel(release, len(views), Counter(view["grade"] for view in views), max(rates, default=None))
