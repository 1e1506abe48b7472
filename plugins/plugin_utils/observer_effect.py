# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the capture itself did to the host: its own cost, and the round trips of the same flows with and without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.histogram import lower_bound
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

# A median that moved by more is worth a word
NOTABLE = 0.1
Window = tuple[Mapping[str, Any], Mapping[str, Mapping]]


def effect(host: str, capture: Mapping[str, Any], before: Window | None, during: Window) -> dict[str, Any]:
    """``{rtt_before_ms, rtt_during_ms, rtt_ratio, cpu_percent, rss_kb, traced, strace_slowdown, sentence}``; null: not known.

    The round trips are medians over the flows to the host that were answered in both windows; ``cpu_percent`` is of one CPU, set-up aside,
    with what the threads spend whose system calls are looked at.

    ``traced``: ``{pid, comm, seconds}`` of the process that strace was attached to, null: of none.

    :param before: manifest and evidence of the first window, if they are at hand
    :param during: those of the capture window
    """
    first, second = _common(host, before, during) if before else ([], [])
    rtt_before, rtt_during = median_ms(first), median_ms(second)
    ratio = round(rtt_during / rtt_before, 3) if rtt_before and rtt_during else None
    cost = capture.get("cost") if isinstance(capture.get("cost"), Mapping) else {}
    percent = _percent(cost or {}, capture)
    traced = _traced(capture.get("strace"))
    slowdown = _number(capture["strace"].get("slowdown")) if traced else None
    said = [*_said(rtt_before, rtt_during, ratio, percent), *([_said_of_strace(traced, slowdown)] if traced else [])]
    return {
        "rtt_before_ms": rtt_before,
        "rtt_during_ms": rtt_during,
        "rtt_ratio": ratio,
        "cpu_percent": percent,
        "rss_kb": _number((cost or {}).get("rss_kb")),
        "traced": traced,
        "strace_slowdown": slowdown,
        "sentence": "; ".join(said),
    }


def _traced(strace: Any) -> dict[str, Any] | None:
    if not isinstance(strace, Mapping):
        return None
    pid, comm = strace.get("pid"), strace.get("comm")
    return {
        "pid": pid if isinstance(pid, int) and not isinstance(pid, bool) else None,
        "comm": comm if isinstance(comm, str) else None,
        "seconds": _number(strace.get("seconds")),
    }


def _said_of_strace(traced: Mapping[str, Any], slowdown: float | None) -> str:
    who = printable(traced["comm"] or "its process", 40) + (f" (pid {traced['pid']})" if traced["pid"] is not None else "")
    seconds = f"for {number(traced['seconds'])} s" if traced["seconds"] is not None else "while it ran"
    if slowdown is None:
        return f"strace was attached to {who} {seconds}: slowdown not measurable, too few calls"
    if slowdown <= 1:
        return f"strace was attached to {who} {seconds} and did not slow it down"
    return f"strace slowed {who} down {number(slowdown)} times {seconds}"


def _said(before: float | None, during: float | None, ratio: float | None, percent: float | None) -> list[str]:
    said = []
    if ratio is None:
        said.append("what the capture did to the round trips is not known")
    elif abs(ratio - 1) <= NOTABLE:
        said.append(f"the capture left the median round trip as it was ({number(before)} ms before, {number(during)} ms during)")
    else:
        said.append(f"the median round trip went from {number(before)} to {number(during)} ms with the capture")
    if percent is not None:
        said.append(f"it took {number(percent)}% of one CPU")
    return said


def median_ms(histograms: Iterable[Mapping[str, int]]) -> float | None:
    """The median round trip, interpolated within its bucket (a bucket alone is 3% wide); None without an answer."""
    counts: Counter[int] = Counter()
    for histogram in histograms:
        for index, count in histogram.items():
            counts[int(index)] += count
    total = counts.total()
    rank, seen = ceil(total / 2), 0
    for bucket in sorted(counts):
        if counts[bucket] and seen + counts[bucket] >= rank:
            low, high = lower_bound(bucket), lower_bound(bucket + 1)
            return round((low + (high - low) * (rank - seen - 0.5) / counts[bucket]) / 1000, 4)
        seen += counts[bucket]
    return None


def _common(host: str, before: Window, during: Window) -> tuple[list[Mapping[str, int]], list[Mapping[str, int]]]:
    first, second = _by_way(host, *before), _by_way(host, *during)
    both = sorted(first.keys() & second.keys(), key=str)
    return [first[way] for way in both], [second[way] for way in both]


def _by_way(host: str, manifest: Mapping[str, Any], evidence: Mapping[str, Mapping]) -> dict[tuple, Mapping[str, int]]:
    """Histograms of the flows to a host by what makes them the same flow in another window: ids are given anew."""
    flows = {flow["id"]: flow for flow in manifest["flows"] if flow["target"] == host}
    found = {}
    for result in evidence.values():
        for counts in result.get("flows") or []:
            flow = flows.get(counts["id"])
            if flow and counts["received"]:
                way = tuple(flow[key] for key in ("source", "layer", "protocol", "family", "address", "port", "source_port"))
                found[way] = counts.get("histogram") or {}
    return found


def _percent(cost: Mapping[str, Any], capture: Mapping[str, Any]) -> float | None:
    """CPU time in the window where it was told apart, else all but the set-up's, with that of traced calls, of the seconds captured."""
    parts, clock = cost.get("window_cpu_s"), capture.get("clock")
    seconds = _number(clock.get("observed_s")) if isinstance(clock, Mapping) else None
    cpu, setup = _number(cost.get("cpu_s")), _number(cost.get("setup_cpu_s"))
    spent = max(0.0, cpu - (setup or 0.0)) if cpu is not None else None
    if isinstance(parts, Mapping) and parts:
        spent = sum(_number(part) or 0.0 for part in parts.values())
    if spent is not None:
        spent += _number(cost.get("traced_calls_cpu_s")) or 0.0
    return round(100 * spent / seconds, 3) if spent is not None and seconds else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None
