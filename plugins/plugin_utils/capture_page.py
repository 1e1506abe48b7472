# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The captured hosts as sections of the reports: verdict, culprits, stalls, evidence, causes, what was missing."""

from __future__ import annotations

import html as markup
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import capture_words as words
from ansible_collections.fleet.stall.plugins.plugin_utils import timeline_svg
from ansible_collections.fleet.stall.plugins.plugin_utils.text import markdown as _md
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

STYLE = (
    """
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
.verdict { font-size: 1.05rem; border-left: 3px solid var(--critical); padding-left: .75rem; }
.verdict.nobody { border-color: var(--line); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px;
  background: var(--band); padding: .5rem; }
"""
    + timeline_svg.STYLE
)
# (heading, headings of the columns, rows of a capture)
_TABLES: tuple[tuple[str, tuple[str, ...], Callable[[Mapping[str, Any]], list[tuple[str, ...]]]], ...] = (
    ("Culprits", words.CULPRIT_HEADINGS, words.culprits),
    ("Some stalls", words.STALL_HEADINGS, words.stalls),
    ("Connections that fare worst", words.CONNECTION_HEADINGS, words.connections),
)


def title(host: Mapping[str, Any]) -> str:
    return f"{printable(host['host'], 120)} opened up{' (control)' if host['capture']['role'] == 'control' else ''}"


def markdown(findings: Mapping[str, Any]) -> list[str]:
    """Lines; everything from outside is escaped."""
    lines: list[str] = []
    for host in words.captured(findings):
        capture = host["capture"]
        lines += ["", f"## {_md(title(host))}", "", _md(capture["sentence"])]
        for heading, columns, rows in _TABLES:
            lines += _md_table(heading, columns, rows(capture))
        lines += _md_list("Evidence", words.evidence(capture))
        for who, stack in words.stacks(capture):
            lines += ["", f"{_md(who)}:", "", f"    {printable(stack, 2000)}"]
        for what, parts in words.causes(host):
            lines += _md_list(f"Known cause: {_md(what)}", parts)
        lines += _md_list("What limits this", words.effects(capture))
    return lines


def html(findings: Mapping[str, Any]) -> str:
    """Sections; everything from outside is escaped."""
    return "\n".join(_section(host) for host in words.captured(findings))


def _section(host: Mapping[str, Any]) -> str:
    capture = host["capture"]
    nobody = "" if capture["culprits"] else " nobody"
    parts = [f"<h2>{_esc(title(host))}</h2>", f'<p class="verdict{nobody}">{_esc(capture["sentence"])}</p>']
    for heading, columns, rows in _TABLES:
        if heading == "Some stalls":
            parts.append(_pictures(heading, capture["timeline"]))
        else:
            parts.append(_table(heading, columns, rows(capture)))
    parts.append(_list("Evidence", words.evidence(capture)))
    parts += [f'<p class="soft">{_esc(who)}</p><pre>{_esc(stack)}</pre>' for who, stack in words.stacks(capture)]
    parts += [_list(f"Known cause: {what}", items) for what, items in words.causes(host)]
    parts.append(_list("What limits this", words.effects(capture)))
    return "\n".join(part for part in parts if part)


def _pictures(heading: str, stalls: Sequence[Mapping[str, Any]]) -> str:
    drawn = "".join(
        f"<figure>{timeline_svg.picture(stall)}<figcaption>{_esc(timeline_svg.headline(stall))}</figcaption></figure>" for stall in stalls
    )
    return f'<h3>{heading}</h3><div class="stalls">{drawn}</div>' if drawn else ""


def _table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th scope=col>{column}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_esc(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<h3>{heading}</h3><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(heading: str, items: Sequence[tuple[str, str]]) -> str:
    if not items:
        return ""
    body = "".join(f"<dt>{_esc(term)}</dt><dd>{_text(term, text)}</dd>" for term, text in items)
    return f"<h3>{_esc(heading)}</h3><dl>{body}</dl>"


def _text(term: str, text: str) -> str:
    address = words.link(text) if term == "source" else None
    return f'<a href="{_esc(address)}" rel="noreferrer">{_esc(text)}</a>' if address else _esc(text)


def _md_table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [columns, ["---"] * len(columns), *([_md(cell) for cell in row] for row in rows)]
    return ["", f"### {heading}", "", *(f"| {' | '.join(line)} |" for line in lines)]


def _md_list(heading: str, items: Sequence[tuple[str, str]]) -> list[str]:
    return ["", f"### {heading}", "", *(f"- **{_md(term)}**: {_md(text)}" for term, text in items)] if items else []


def _esc(text: Any) -> str:
    return markup.escape(printable(text, 4000))
