# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a campaign did with each host, and whether it helped, in words. Pure: plan and state of the journal in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import BEGUN, DONE, Host, State, Step
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_table import grid
from ansible_collections.fleet.stall.plugins.plugin_utils.text import host_count, printable

HEADINGS = ("wave", "host", "remedy", "done", "helped", "left")
NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class Row:
    """A remedy of a host, or a host that nothing was begun on."""

    wave: int
    host: str
    remedy: str
    done: str
    helped: str
    left: str
    said: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        return str(self.wave), printable(self.host, 40), self.remedy, self.done, self.helped, self.left


def rows(plan: Mapping[str, Any], state: State) -> list[Row]:
    """In the order of the waves."""
    found: list[Row] = []
    planned = {row["host"]: row for row in plan["hosts"]}
    for wave, hosts in enumerate(plan["waves"], 1):
        for name in hosts:
            host = state.hosts.get(name) or Host(name)
            found += _of_host(wave, host, planned[name])
    return found


def lines(plan: Mapping[str, Any], state: State, top: int = 1000) -> list[str]:
    """The table, a sentence for all that was said, and the totals."""
    found = rows(plan, state)
    shown = grid(HEADINGS, [row.cells() for row in found[:top]], right=(0,)) if found else []
    if len(found) > top:
        shown.append(f"and {len(found) - top} more in the report")
    shown += [f"{printable(row.host, 40)}: {sentence}" for row in found[:top] for sentence in row.said]
    return [*shown, totals(state, found)]


def totals(state: State, found: list[Row]) -> str:
    """How many hosts are how, and how the campaign ended."""
    last = {row.host: row for row in found}
    count = Counter(row.helped or row.done for row in last.values())
    said = ", ".join(f"{number} {what}" for what, number in sorted(count.items(), key=lambda item: (-item[1], item[0])))
    return f"{host_count(len(last))}: {said or 'none'}. {ending(state)}"


def ending(state: State) -> str:
    if state.stopped is not None:
        because, until = printable(state.stopped.get("because"), 1000), state.stopped.get("until")
        return f"The campaign pauses: {because}. Go on with it from {until} on." if until else f"The campaign was stopped: {because}."
    return {"done": "The campaign is done."}.get(state.outcome or "", "The campaign is not over.")


def _of_host(wave: int, host: Host, planned: Mapping[str, Any]) -> Iterator[Row]:
    if not host.steps:
        yield Row(wave, host.host, planned["steps"][0]["remedy"], NOT_BEGUN, "", "")
        return
    for index, step in sorted(host.steps.items()):
        is_last = step is host.step
        said = tuple(_said(step, planned["steps"][index], host if is_last else None))
        yield Row(wave, host.host, step.remedy or "", _done(step), _helped(step), _left(host) if is_last else "", said)


def _done(step: Step) -> str:
    if step.rolled_back:
        return "rolled back"
    if step.status == DONE:
        return "changed" if step.result.get("changed") else "was so already"
    return "begun" if step.status == BEGUN else "failed"


def _helped(step: Step) -> str:
    return str((step.verdict or {}).get("verdict") or "")


def _left(host: Host) -> str:
    return "cordoned" if host.cordoned else ""


def _said(step: Step, planned: Mapping[str, Any], host: Host | None) -> Iterator[str]:
    yield from (printable(sentence, 400) for sentence in step.result.get("said") or [])
    if step.because:
        yield f"{step.remedy} failed: {printable(step.because, 1000)}"
    if step.verdict and step.verdict.get("sentence"):
        yield printable(step.verdict["sentence"], 400)
    if step.status == DONE and planned["temporary"]:
        yield f"{step.remedy} is temporary: what it helps against comes back by itself"
    if step.rolled_back is False:
        yield f"{step.remedy} could not be taken back: do it by hand"
    if host and host.cordoned:
        yield "it is still cordoned, by this campaign: give it back by hand once it is well, or run the plan again"
