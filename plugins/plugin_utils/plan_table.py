# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a short table for a terminal: who, when, what first, what else, at which risk. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import windows
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, host_count, printable
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

_HEADINGS = ("wave", "host", "stalled ms/s", "remedy", "risk", "then", "because of")
_RIGHT = (0, 2)
_HOST_LIMIT = 40


def lines(plan: Mapping[str, Any], top: int, in_service: Collection[str] = ()) -> list[str]:
    """The first `top` hosts in the order of the waves, hosts that are left out, and what bounds it all.

    :param in_service: hosts that have no driver to be drained with
    """
    said = [f"not drained, but worked on in service: {and_more(sorted(in_service), 5)} (stall_drain_driver is none)"] if in_service else []
    return [*_table(plan, top, in_service), *_left_out(plan), *said, *_bounds(plan)]


def grid(headings: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    """Columns of text, each as wide as it must be."""
    widths = [max(len(row[index]) for row in (headings, *rows)) for index in range(len(headings))]

    def cell(text: str, index: int) -> str:
        return text.rjust(widths[index]) if index in right else text.ljust(widths[index])

    return ["  ".join(cell(text, index) for index, text in enumerate(row)).rstrip() for row in (headings, *rows)]


def _table(plan: Mapping[str, Any], top: int, in_service: Collection[str]) -> Iterator[str]:
    rows = {row["host"]: row for row in plan["hosts"]}
    order = [(str(wave), rows[host]) for wave, hosts in enumerate(plan["waves"], 1) for host in hosts if host in rows]
    if not order:
        yield "Nothing is to be done."
        return
    yield from grid(_HEADINGS, [_row(wave, row, row["host"] not in in_service) for wave, row in order[:top]], _RIGHT)
    if len(order) > top:
        yield f"and {len(order) - top} more hosts in the plan"


def _row(wave: str, row: Mapping[str, Any], has_driver: bool) -> tuple[str, ...]:
    first, *others = row["steps"]
    then = [step["remedy"] for step in others] if row["escalate"] else []
    drained = " (drained)" if first["drain"] and has_driver else ""
    rate = "" if row["stalled_ms_per_s"] is None else number(row["stalled_ms_per_s"])
    causes = and_more(first["causes"], 2)
    return wave, printable(row["host"], _HOST_LIMIT), rate, first["remedy"] + drained, first["risk"], ", ".join(then), causes


def _left_out(plan: Mapping[str, Any]) -> Iterator[str]:
    """One line for each reason: a fleet can have hundreds of hosts that are left out."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for row in plan["left_out"]:
        hosts[row["because"]].append(row["host"])
    for because, names in hosts.items():
        yield f"left out: {and_more(names, 5)} ({printable(because, 300)})"


def _bounds(plan: Mapping[str, Any]) -> Iterator[str]:
    limits = plan["limits"]
    away = ", ".join(f"{printable(level, 40)} {limit}" for level, limit in limits["per_domain"].items())
    waves = "1 wave" if len(plan["waves"]) == 1 else f"{len(plan['waves'])} waves"
    yield (
        f"{host_count(len(plan['hosts']))} in {waves}; away at once at the most: {away or 'no limit'}; "
        f"more than {limits['failures_most']} failed hosts end it, and one in wave 1"
        f"{', or one there that is not seen to do better' if limits['canary_better'] else ''}"
    )
    if limits["soak_s"]:
        yield f"between two waves it waits {limits['soak_s']:g} s"
    if plan["down"]:
        yield f"down already: {and_more(plan['down'], 5)}"
    if limits["windows"]:
        yield f"only begun within: {', '.join(windows.shown(window) for window in limits['windows'])}"
    yield f"valid until {plan['valid_until']}"
