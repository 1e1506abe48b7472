# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel campaign in words: the table, campaign.md and campaign.html. Pure; everything from outside is escaped."""

from __future__ import annotations

import html as markup
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import campaign_rows
from ansible_collections.fleet.stall.plugins.plugin_utils.campaign_rows import GRADES, Kernel, Row
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_table import grid
from ansible_collections.fleet.stall.plugins.plugin_utils.report import STYLE
from ansible_collections.fleet.stall.plugins.plugin_utils.text import host_count, printable
from ansible_collections.fleet.stall.plugins.plugin_utils.text import markdown as _md
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

HOSTS = ("wave", "host", "state", "kernel", "stalled ms/s", "before", "after", "verdict")
_HOST_LIMIT = 40
_CLASSES = {"upgraded": "clear", "has it already": "clear", "rolled back": "critical", "failed": "critical", "left out": "not-measured"}
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def lines(rows: Sequence[Row], ending: str, top: int) -> list[str]:
    """For a terminal: the first `top` hosts, why those failed or were left out, the fleet by kernel before and now."""
    shown = grid(HOSTS, [cells(row) for row in rows[:top]], right=(0, 4)) if rows else []
    shown += [f"and {len(rows) - top} more hosts in the report"] if len(rows) > top else []
    shown += [f"{printable(row.host, _HOST_LIMIT)}: {printable(row.because, 1000)}" for row in rows[:top] if row.because]
    for title, headings, table in kernels(rows):
        shown += ["", title, *grid(headings, table, right=tuple(range(1, len(headings))))]
    return [*shown, "", totals(rows, ending)]


def totals(rows: Sequence[Row], ending: str) -> str:
    count = Counter(row.state for row in rows)
    said = ", ".join(f"{number_} {state}" for state, number_ in sorted(count.items(), key=lambda item: (-item[1], item[0])))
    return f"{host_count(len(rows))}: {said or 'none'}. {ending}"


def cells(row: Row) -> tuple[str, ...]:
    """As HOSTS names them."""
    kernel = row.before["kernel"] if row.now["kernel"] == row.before["kernel"] else f"{row.before['kernel']} > {row.now['kernel']}"
    rate = _rate(row.before) if not row.verdict else f"{_rate(row.before) or '?'} > {_rate(row.now) or '?'}"
    wave = "" if row.wave is None else str(row.wave)
    after = row.now["grade"] if row.verdict else ""
    return wave, printable(row.host, _HOST_LIMIT), row.state, printable(kernel, 120), rate, row.before["grade"], after, row.verdict


def _rate(view: Mapping[str, Any]) -> str:
    return "" if view["stalled_ms_per_s"] is None else number(view["stalled_ms_per_s"])


def _worst(kernel: Kernel) -> str:
    """Of hosts that were all measured, and did not stall, that is said."""
    if kernel.worst_ms_per_s is None:
        return "no stall" if kernel.grades["clear"] == kernel.hosts else ""
    return number(kernel.worst_ms_per_s)


def kernels(rows: Sequence[Row]) -> list[Table]:
    """{title, headings, rows} of the fleet by kernel: as it was, and as it is."""
    tables = []
    for title, views in (("Before", [row.before for row in rows]), ("Now", [row.now for row in rows])):
        found = campaign_rows.by_kernel(views)
        used = [grade for grade in GRADES if any(kernel.grades.get(grade) for kernel in found)]
        headings = ("kernel", "hosts", *used, "worst ms/s")
        table = [
            (
                printable(kernel.release, 80),
                str(kernel.hosts),
                *(str(kernel.grades.get(grade, 0)) for grade in used),
                _worst(kernel),
            )
            for kernel in found
        ]
        tables.append((title, headings, table))
    return tables


def markdown(plan: str, rows: Sequence[Row], ending: str) -> str:
    """campaign.md"""
    out = [f"# Kernel campaign {_md(plan)}", "", _md(totals(rows, ending))]
    for title, headings, table in (("Hosts", HOSTS, [cells(row) for row in rows]), *kernels(rows)):
        out += ["", f"## {title}", "", f"| {' | '.join(headings)} |", f"| {' | '.join(['---'] * len(headings))} |"]
        out += [f"| {' | '.join(_md(cell) for cell in row)} |" for row in table]
    why = [f"- **{_md(row.host)}**: {_md(row.because)}" for row in rows if row.because]
    out += ["", "## Why", "", *why] if why else []
    return "\n".join(out) + "\n"


def html(plan: str, rows: Sequence[Row], ending: str) -> str:
    """campaign.html: self-contained, no script."""
    title = f"Kernel campaign {_esc(plan)}"
    hosts = _table("Hosts", HOSTS, [cells(row) for row in rows])
    parts = [hosts, *(_table(*table) for table in kernels(rows)), _why(rows)]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="soft">{_esc(totals(rows, ending))}</p>\n{"".join(parts)}</body>\n</html>\n'
    )


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope=col>{_esc(heading)}</th>" for heading in headings)
    body = "\n".join(f"<tr>{''.join(_cell(text) for text in row)}</tr>" for row in rows)
    return f'<h2>{title}</h2>\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'


def _cell(text: str) -> str:
    kind = _CLASSES.get(text) or (text if text in GRADES[:3] or text == "clear" else "")
    return f'<td class="{kind}">{_esc(text)}</td>' if kind else f"<td>{_esc(text)}</td>"


def _why(rows: Sequence[Row]) -> str:
    items = "".join(f"<dt>{_esc(row.host)}</dt><dd>{_esc(row.because)}</dd>" for row in rows if row.because)
    return f"<h2>Why</h2>\n<dl>{items}</dl>\n" if items else ""


def _esc(text: Any) -> str:
    return markup.escape(printable(text, 4000))
