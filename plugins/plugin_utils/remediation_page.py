# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign as a document: Markdown for a ticket, one HTML page for a reader. Pure; everything from outside is escaped."""

from __future__ import annotations

import html as markup
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import remediation_table as table
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import State
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation_table import Row
from ansible_collections.fleet.stall.plugins.plugin_utils.report import STYLE
from ansible_collections.fleet.stall.plugins.plugin_utils.text import markdown as _md
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_HEADINGS = ("Wave", "Host", "Remedy", "Done", "Helped", "Left")
_CLASSES = {"better": "clear", "worse": "critical", "failed": "critical", "same": "minor", "unknown": "not-measured"}


def markdown(plan: Mapping[str, Any], state: State, lines: Iterable[Mapping[str, Any]]) -> str:
    """remediation.md"""
    rows = table.rows(plan, state)
    said = [f"- **{_md(row.host)}**: {_md(sentence)}" for row in rows for sentence in row.said]
    log = [f"- {_md(text)}" for text in journal_lines(lines)]
    out = [f"# Remediation {_md(plan['plan'])}", "", _md(table.totals(state, rows)), ""]
    out += [f"| {' | '.join(_HEADINGS)} |", f"| {' | '.join(['---'] * len(_HEADINGS))} |"]
    out += [f"| {' | '.join(_md(cell) for cell in row.cells())} |" for row in rows]
    for title, items in (("What was done", said), ("Why", _why(plan)), ("Journal", log)):
        out += ["", f"## {title}", "", *items] if items else []
    return "\n".join(out) + "\n"


def html(plan: Mapping[str, Any], state: State, lines: Iterable[Mapping[str, Any]]) -> str:
    """remediation.html: self-contained, no script."""
    rows = table.rows(plan, state)
    title = f"Remediation {_esc(plan['plan'])}"
    head = "".join(f"<th scope=col>{heading}</th>" for heading in _HEADINGS)
    body = "\n".join(_row(row) for row in rows)
    said = [(row.host, sentence) for row in rows for sentence in row.said]
    why = [(row["host"], f"{step['remedy']}: {step['because']}") for row in plan["hosts"] for step in row["steps"]]
    log = "".join(f"<li>{_esc(text)}</li>" for text in journal_lines(lines))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="soft">{_esc(table.totals(state, rows))}</p>\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n{_terms('What was done', said)}\n{_terms('Why', why)}\n"
        f"<h2>Journal</h2>\n<ul>{log}</ul>\n</body>\n</html>\n"
    )


def journal_lines(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each line as a person would say it."""
    return [_line(line) for line in lines]


def _line(line: Mapping[str, Any]) -> str:
    where = [f"wave {line['wave']}"] if line["wave"] is not None and line["host"] is None else []
    where += [str(line["host"])] if line["host"] is not None else []
    where += [str(line["remedy"])] if line["remedy"] else []
    because = line["data"].get("because") or line["data"].get("sentence") or ""
    what = line["event"].replace("_", " ")
    return printable(f"{line['at']} {', '.join(where)}{': ' if where else ''}{what}{' (' + str(because) + ')' if because else ''}", 1000)


def _why(plan: Mapping[str, Any]) -> list[str]:
    return [f"- **{_md(row['host'])}**, {_md(step['remedy'])}: {_md(step['because'])}" for row in plan["hosts"] for step in row["steps"]]


def _row(row: Row) -> str:
    cells = [f"<td>{_esc(cell)}</td>" for cell in row.cells()]
    for index, word in ((3, row.done), (4, row.helped)):
        if word in _CLASSES:
            cells[index] = f'<td class="{_CLASSES[word]}">{_esc(word)}</td>'
    return f"<tr>{''.join(cells)}</tr>"


def _terms(title: str, items: list[tuple[str, str]]) -> str:
    if not items:
        return ""
    return f"<h2>{title}</h2>\n<dl>" + "".join(f"<dt>{_esc(term)}</dt><dd>{_esc(text)}</dd>" for term, text in items) + "</dl>"


def _esc(text: Any) -> str:
    return markup.escape(printable(text, 4000))
