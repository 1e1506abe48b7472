# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings as a table for a terminal or a log: plain text, worst first."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import capture_words, wording
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_HOST_LIMIT = 40
# heading, right-aligned, text of a host; the later a column, the sooner it gives way on a narrow screen
_COLUMNS = (
    ("host", False, lambda host: printable(host["host"], _HOST_LIMIT)),
    ("verdict", False, wording.verdict),
    ("stalled ms/s", True, wording.rate),
    ("events", True, lambda host: wording.severity(host, "events")),
    ("longest ms", True, lambda host: wording.severity(host, "max_ms")),
    ("blame", False, wording.blame),
    ("certainty", False, wording.certainty),
    ("95% interval", True, wording.interval),
    ("queues", True, wording.queues),
    ("loss", True, wording.loss),
)
_FEWEST_COLUMNS = 6
_GAP = "  "


def render(findings: Mapping[str, Any], top: int, width: int) -> str:
    """The `top` worst hosts, every host that was not measured, and the totals; lines fit `width` where they can.

    :param findings: findings.json
    """
    measured = [host for host in findings["hosts"] if host["status"] != "not_measured"]
    lines = _grid(measured[:top], width) if measured else []
    if len(measured) > top:
        lines.append(f"and {len(measured) - top} more hosts in the report")
    for host in measured[:top]:
        if host["status"] != "clear" and (explanation := wording.explanation(host)):
            lines += _wrapped(f"{printable(host['host'], _HOST_LIMIT)}: {explanation}", width)
    for host in capture_words.captured(findings):
        if said := capture_words.line(host):
            lines += _wrapped(said, width)
    for fault in findings.get("coincident") or []:
        lines += _wrapped(f"in common: {wording.coincidence(fault)}", width)
    for reason, hosts in wording.not_measured(findings):
        lines += _wrapped(f"not measured: {', '.join(hosts)} ({reason})", width)
    for warning in findings.get("warnings") or []:
        lines += _wrapped(f"note: {printable(warning)}", width)
    return "\n".join([*lines, wording.totals(findings)])


def _grid(hosts: list[Mapping[str, Any]], width: int) -> list[str]:
    columns = list(_COLUMNS)
    while True:
        rows = [[heading for heading, _right, _text in columns], *([text(host) for _heading, _right, text in columns] for host in hosts)]
        widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
        if sum(widths) + len(_GAP) * (len(columns) - 1) <= width or len(columns) == _FEWEST_COLUMNS:
            break
        columns.pop()
    return [_GAP.join(_cell(row[index], widths[index], columns[index][1]) for index in range(len(columns))).rstrip() for row in rows]


def _cell(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
