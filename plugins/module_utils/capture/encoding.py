# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire form of a capture: gzip JSON of a bounded size, the least valuable left out first and counted."""

import gzip
import json
from functools import partial
from typing import Any, Callable, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils.result import WIRE_BYTES

Step = Callable[[Dict[str, Any]], None]


def encode(found: Dict[str, Any], limit: int = WIRE_BYTES) -> bytes:
    """The capture as gzip JSON, of which the base64 is at most `limit` bytes long. What was left out: `omitted` {part: n}.

    Left out in this order: the packets, folded stacks but the most frequent, connections that do not tell who serves, throttled groups,
    runs far from gaps, short slow calls, when flows were heard but the longest, rows of backlogs, runs but the longest, gaps but
    the longest.
    """
    steps = _steps()
    enough, too_few = len(steps), -1
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if _fits(_packed_after(found, steps[:middle]), limit):
            enough = middle
        else:
            too_few = middle
    return _packed_after(found, steps[:enough])


def _fits(packed: bytes, limit: int) -> bool:
    return (len(packed) + 2) // 3 * 4 <= limit


def _packed_after(found: Dict[str, Any], steps: List[Step]) -> bytes:
    smaller = dict(found, omitted=dict(found.get("omitted", {})))
    for leave_out in steps:
        leave_out(smaller)
    _renumber(smaller)
    return gzip.compress(json.dumps(smaller, separators=(",", ":"), allow_nan=False).encode("ascii"), 6)


def _steps() -> List[Step]:
    return [
        partial(_fewer_folded, most=150),
        partial(_earlier_packets, share=0.5),
        partial(_earlier_packets, share=0.5),
        partial(_earlier_packets, share=0.0),
        partial(_fewer_folded, most=60),
        partial(_fewer_connections, most=15),
        partial(_keep, part="throttled", most=3),
        partial(_longest_runs, most=400),
        partial(_keep_longest, part="slow_calls", most=150, length="duration_ms"),
        partial(_fewer_heard, most=100),
        partial(_fewer_handled, most=40),
        partial(_fewer_stacks, most=5),
        partial(_fewer_folded, most=20),
        partial(_longest_runs, most=200),
        partial(_fewer_handled, most=12),
        partial(_longest_gaps, most=200),
        partial(_keep_longest, part="slow_calls", most=50, length="duration_ms"),
        partial(_longest_runs, most=80),
        partial(_fewer_stacks, most=2),
        partial(_longest_gaps, most=60),
        partial(_fewer_heard, most=20),
        _without_served,
        partial(_fewer_processes, most=60),
        partial(_keep, part="connections", most=0),
        partial(_keep, part="throttled", most=0),
        partial(_fewer_folded, most=0),
        partial(_longest_gaps, most=15),
        partial(_longest_runs, most=20),
        partial(_keep_longest, part="slow_calls", most=10, length="duration_ms"),
        partial(_longest_runs, most=0),
        partial(_fewer_heard, most=0),
        partial(_fewer_processes, most=0),
    ]


def _count(found: Dict[str, Any], part: str, number: int) -> None:
    if number > 0:
        found["omitted"][part] = found["omitted"].get(part, 0) + number


def _keep(found: Dict[str, Any], part: str, most: int) -> None:
    rows = found.get(part)
    if rows:
        _count(found, part, len(rows) - most)
        found[part] = rows[:most]


def _fewer_connections(found: Dict[str, Any], most: int) -> None:
    """The worst, and those that tell who serves."""
    rows = found.get("connections") or []
    kept = rows[:most] + [row for row in rows[most:] if row.get("tells")]
    _count(found, "connections", len(rows) - len(kept))
    found["connections"] = kept


def _earlier_packets(found: Dict[str, Any], share: float) -> None:
    """The first of each flow, so that both ends leave out the same time, or little more."""
    rows = []
    for row in found.get("packets") or []:
        kept = int(len(row["numbers"]) * share)
        _count(found, "packets", len(row["numbers"]) - kept)
        rows.append(dict(row, numbers=row["numbers"][:kept], at_us=row["at_us"][:kept]))
    if rows:
        found["packets"] = [row for row in rows if row["numbers"]]


def _keep_longest(found: Dict[str, Any], part: str, most: int, length: str) -> None:
    rows = found.get(part) or []
    if len(rows) > most:
        _count(found, part, len(rows) - most)
        kept = sorted(range(len(rows)), key=lambda at: -rows[at][length])[:most]
        found[part] = [rows[at] for at in sorted(kept)]


def _longest_runs(found: Dict[str, Any], most: int) -> None:
    rows = found.get("runs") or []
    if len(rows) > most:
        _count(found, "runs", len(rows) - most)
        kept = sorted(range(len(rows)), key=lambda at: rows[at]["start_ns"] - rows[at]["end_ns"])[:most]
        found["runs"] = [rows[at] for at in sorted(kept)]


def _longest_gaps(found: Dict[str, Any], most: int) -> None:
    rows = found.get("gaps") or []
    if len(rows) > most:
        found["gaps_omitted"] = found.get("gaps_omitted", 0) + len(rows) - most
        _count(found, "gaps", len(rows) - most)
        kept = sorted(range(len(rows)), key=lambda at: rows[at]["start_ns"] - rows[at]["end_ns"])[:most]
        found["gaps"] = [rows[at] for at in sorted(kept)]


def _fewer_handled(found: Dict[str, Any], most: int) -> None:
    """Of each gap, the rows next to its end: half before it, half after."""
    gaps = []
    for gap in found.get("gaps") or []:
        rows = gap["handled"]
        first = next((at for at, row in enumerate(rows) if row[0] >= gap["end_ns"]), len(rows))
        kept = rows[max(0, first - most // 4) : first + most - most // 4]
        _count(found, "handled", len(rows) - len(kept))
        gaps.append(dict(gap, handled=kept))
    found["gaps"] = gaps


def _fewer_heard(found: Dict[str, Any], most: int) -> None:
    """Of each flow the longest spans: what is left out counts as not heard."""
    kept = {}
    for flow, spans in (found.get("heard") or {}).items():
        _count(found, "heard", len(spans) - most)
        kept[flow] = sorted(sorted(spans, key=lambda span: span[0] - span[1])[:most])
    if kept:
        found["heard"] = kept


def _without_served(found: Dict[str, Any]) -> None:
    """It is then not known where probes were due."""
    if found.get("served"):
        _count(found, "served", 1)
        found["served"] = None


def _fewer_stacks(found: Dict[str, Any], most: int) -> None:
    rows = []
    for run in found.get("runs") or []:
        _count(found, "run_stacks", len(run["stacks"]) - most)
        rows.append(dict(run, stacks=run["stacks"][:most]))
    found["runs"] = rows


def _fewer_folded(found: Dict[str, Any], most: int) -> None:
    folded = found.get("folded")
    if folded:
        for part in ("gaps", "quiet"):
            _count(found, "folded", len(folded[part]) - most)
        found["folded"] = dict(folded, gaps=folded["gaps"][:most], quiet=folded["quiet"][:most])


def _fewer_processes(found: Dict[str, Any], most: int) -> None:
    rows = found.get("processes") or {}
    if len(rows) > most:
        _count(found, "processes", len(rows) - most)
        found["processes"] = dict(list(rows.items())[:most])


def _renumber(found: Dict[str, Any]) -> None:
    """Keep the stacks that something still points to."""
    stacks = found.get("stacks")
    if not stacks:
        return
    places: Dict[int, int] = {}

    def place(index: int) -> int:
        return places.setdefault(index, len(places))

    found["runs"] = [dict(run, stacks=[[place(at), n] for at, n in run["stacks"]]) for run in found.get("runs", [])]
    folded = found.get("folded")
    if folded:
        renumbered = {part: [[comm, place(at), n] for comm, at, n in folded[part]] for part in ("gaps", "quiet")}
        found["folded"] = dict(folded, **renumbered)
    found["stacks"] = [stacks[at] for at in places]
