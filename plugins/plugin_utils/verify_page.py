# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification for people: the table of the screen, and its section of the reports."""

from __future__ import annotations

import html as markup
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import wording
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable
from ansible_collections.fleet.stall.plugins.plugin_utils.text import markdown as _md

STYLE = """
.better { font-weight: 600; color: var(--clear); } .worse { font-weight: 600; color: var(--critical); }
.same { font-weight: 600; color: var(--major); } .unknown { color: var(--soft); font-style: italic; }
"""
_HEADINGS = ("host", "verdict", "before ms/s", "events", "now ms/s", "events", "trend ms/s")
_RIGHT = frozenset((2, 3, 4, 5))
_TREND = 8
_NAME = 40


def only_verified(findings: Mapping[str, Any], verification: Mapping[str, Any]) -> dict[str, Any]:
    """The findings without the rows of hosts that only probed."""
    wanted = {row["host"] for row in verification["hosts"]}
    return {**findings, "hosts": [row for row in findings["hosts"] if row["host"] in wanted]}


def table(verification: Mapping[str, Any], width: int) -> str:
    """Plain text: before, now and verdict of each host, then what is to be said of it."""
    rows = [_HEADINGS, *(_cells(row, _NAME) for row in verification["hosts"])]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_HEADINGS))]
    lines = ["  ".join(_aligned(row[index], widths[index], index in _RIGHT) for index in range(len(_HEADINGS))).rstrip() for row in rows]
    for row in verification["hosts"]:
        lines += _wrapped(f"{printable(row['host'], _NAME)}: {printable(row['sentence'], 1000)}", width)
    for host, because in verification["gone"].items():
        lines += _wrapped(f"does not probe any more: {printable(host, 80)} ({printable(because)})", width)
    return "\n".join([*lines, totals(verification)])


def totals(verification: Mapping[str, Any]) -> str:
    """One line: how many of which verdict, against which run."""
    verdicts = [row["verdict"] for row in verification["hosts"]]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("better", "same", "worse", "unknown") if verdict in verdicts)
    many = len(verdicts)
    return f"{many} host{'s' * (many != 1)} verified against run {printable(verification['verifies'])}: {counts}."


def markdown(verification: Mapping[str, Any]) -> list[str]:
    """Lines; everything from outside is escaped."""
    lines = ["", "## Did it help", "", _md(totals(verification)), "", f"| {' | '.join(_HEADINGS)} |"]
    lines.append(f"| {' | '.join('---:' if index in _RIGHT else '---' for index in range(len(_HEADINGS)))} |")
    lines += [f"| {' | '.join(_md(cell) for cell in _cells(row, 120))} |" for row in verification["hosts"]]
    return [*lines, "", *(f"- **{_md(term)}**: {_md(text)}" for term, text in _said(verification))]


def html(verification: Mapping[str, Any]) -> str:
    """A section; everything from outside is escaped."""
    head = "".join(f"<th{_class(index)} scope=col>{heading}</th>" for index, heading in enumerate(_HEADINGS))
    body = "\n".join(_row(row) for row in verification["hosts"])
    said = "".join(f"<dt>{_esc(term)}</dt><dd>{_esc(text)}</dd>" for term, text in _said(verification))
    return (
        f'<h2>Did it help</h2>\n<p class="soft">{_esc(totals(verification))}</p>\n'
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n<dl>{said}</dl>"
    )


def _row(row: Mapping[str, Any]) -> str:
    cells = []
    for index, cell in enumerate(_cells(row, 120)):
        extra = f' class="{_esc(row["verdict"])}"' if index == 1 else _class(index)
        cells.append(f"<td{extra}>{_esc(cell)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _cells(row: Mapping[str, Any], limit: int) -> tuple[str, ...]:
    return (
        printable(row["host"], limit),
        str(row["verdict"]),
        *_figures(row["before"]),
        *_figures(row["after"]),
        _trend(row.get("trend") or []),
    )


def _figures(run: Mapping[str, Any] | None) -> tuple[str, str]:
    """Stalled ms/s, or for a clear host the most that can have been missed; number of stalls. Nothing of what was not measured."""
    if run is None or run["status"] == "not_measured":
        return "", ""
    bound = run["upper_bound_ms_per_s"]
    rate = f"under {wording.number(bound)}" if run["status"] == "clear" and bound is not None else wording.number(run["stalled_ms_per_s"])
    return rate, wording.number(run["events"])


def _trend(entries: Sequence[Mapping[str, Any]]) -> str:
    """The newest runs, oldest first."""
    shown = [_point(entry) for entry in entries[-_TREND:]]
    return " > ".join(["...", *shown] if len(entries) > _TREND else shown)


def _point(entry: Mapping[str, Any]) -> str:
    """Without a stall it is no zero, but less than what can have been missed."""
    if entry["status"] == "not_measured" or entry["ci95"] is None:
        return "?"
    return wording.number(entry["stalled_ms_per_s"]) if entry["events"] else f"<{wording.number(entry['ci95'][1])}"


def _said(verification: Mapping[str, Any]) -> list[tuple[str, str]]:
    said = [(printable(row["host"], 120), printable(row["sentence"], 1000)) for row in verification["hosts"]]
    gone = [f"{host}: {because}" for host, because in verification["gone"].items()]
    return [*said, ("does not probe any more", and_more(gone, 20))] if gone else said


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _class(index: int) -> str:
    return ' class="n"' if index in _RIGHT else ""


def _esc(text: Any) -> str:
    return markup.escape(printable(text, 4000))
