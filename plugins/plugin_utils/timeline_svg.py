# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One stall as a picture: the delayed probe, what kept the CPU, and the backlog, on one axis of time."""

from __future__ import annotations

import html as markup
from collections.abc import Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import wording
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

STYLE = """
.stalls { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: .5rem 1.5rem; }
.stalls figure { margin: 0; }
.stalls figcaption { color: var(--soft); font-size: 13px; }
.stalls svg { width: 100%; height: auto; display: block; }
.stalls text { font: 11px system-ui, sans-serif; fill: var(--ink); }
.stalls .axis { fill: var(--soft); } .stalls line { stroke: var(--line); }
.probe { fill: var(--bar); }
.keeper { fill: var(--critical); } .other { fill: var(--soft); opacity: .55; } .drain { fill: var(--clear); }
"""
_WIDTH, _LEFT, _RIGHT, _ROW, _BAR = 560, 108, 12, 24, 14
_LABEL = 16


def picture(stall: Mapping[str, Any]) -> str:
    """An SVG element. Everything from outside is escaped.

    :param stall: a row of a capture's timeline (docs/findings.schema.json)
    """
    lanes = [("probe", [("probe", 0.0, stall["duration_ms"])])]
    for index, run in enumerate(stall["runs"]):
        lanes.append((run["comm"], [("other" if index else "keeper", start, end) for start, end in run["intervals_ms"]]))
    end = max([stall["duration_ms"], stall["drain_ms"], *(last for _, bars in lanes for _, _, last in bars)]) or 1.0
    first = min([0.0, *(start for _, bars in lanes for _, start, _ in bars)])
    scale = _Scale(first, end * 1.04)
    height = _ROW * (len(lanes) + 2)
    parts = [_lane(number, name, bars, scale) for number, (name, bars) in enumerate(lanes)]
    parts = [_axis(scale, end, height), *parts, _drain(stall, len(lanes), scale)]
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{_esc(caption(stall))}">{"".join(parts)}</svg>'


def caption(stall: Mapping[str, Any]) -> str:
    """The same in words."""
    parts = [f"{stall['start']}: a stall of {wording.number(stall['duration_ms'])} ms"]
    if stall["cpu"] is not None:
        parts.append(f"CPU {stall['cpu']}")
    if stall["runs"]:
        run = stall["runs"][0]
        parts.append(f"{run['comm']} (pid {run['pid']}) ran {100 * run['share']:.0f}% of it")
    if stall["handled_by"]:
        parts.append(f"{stall['handled_by']} drained {stall['backlog']} probe{'s' * (stall['backlog'] != 1)}")
    return ", ".join(parts)


def headline(stall: Mapping[str, Any]) -> str:
    """What the picture does not show."""
    parts = [str(stall["start"]), f"{wording.number(stall['duration_ms'])} ms"] + (
        [f"CPU {stall['cpu']}"] if stall["cpu"] is not None else []
    )
    return ", ".join(parts)


class _Scale:
    """Milliseconds to the picture's units."""

    def __init__(self, first: float, last: float) -> None:
        self.first, self._per_ms = first, (_WIDTH - _LEFT - _RIGHT) / max(last - first, 1e-6)

    def x(self, ms: float) -> float:
        return round(min(max(_LEFT + (ms - self.first) * self._per_ms, _LEFT), _WIDTH - _RIGHT), 2)


def _lane(number: int, name: str, bars: list[tuple[str, float, float]], scale: _Scale) -> str:
    top = number * _ROW + (_ROW - _BAR) / 2
    drawn = "".join(
        f'<rect class="{kind}" x="{scale.x(start)}" y="{top}" width="{max(1.0, scale.x(end) - scale.x(start)):.2f}" height="{_BAR}">'
        f"<title>{_esc(name)}: {start:.1f} to {end:.1f} ms</title></rect>"
        for kind, start, end in bars
    )
    return f'<text x="{_LEFT - 8}" y="{top + _BAR - 3}" text-anchor="end">{_esc(name, _LABEL)}</text>{drawn}'


def _drain(stall: Mapping[str, Any], number: int, scale: _Scale) -> str:
    """The moment the backlog was handled, and how much it was."""
    if not stall["handled_by"]:
        return ""
    top, at = number * _ROW + (_ROW - _BAR) / 2, scale.x(stall["drain_ms"])
    return (
        f'<text x="{_LEFT - 8}" y="{top + _BAR - 3}" text-anchor="end">{_esc(stall["handled_by"], _LABEL)}</text>'
        f'<rect class="drain" x="{at - 1.5}" y="{top}" width="4" height="{_BAR}"/>'
        f'<text x="{at - 8}" y="{top + _BAR - 3}" text-anchor="end">{stall["backlog"]} probes drained</text>'
    )


def _axis(scale: _Scale, end: float, height: int) -> str:
    step = next((step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if end / step <= 6), 10000)
    ticks = [tick * step for tick in range(int(end // step) + 1)]
    top = height - _ROW + 2
    lines = "".join(f'<line x1="{scale.x(tick)}" y1="0" x2="{scale.x(tick)}" y2="{top}"/>' for tick in ticks)
    texts = "".join(
        f'<text class="axis" x="{scale.x(tick)}" y="{top + 14}" text-anchor="middle">{tick}{" ms" * (tick == ticks[-1])}</text>'
        for tick in ticks
    )
    return lines + texts


def _esc(text: Any, limit: int = 200) -> str:
    return markup.escape(printable(text, limit))
