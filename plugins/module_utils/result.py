# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire form of a result: gzip JSON of a bounded size, the least valuable left out first and counted."""

import gzip
import json
from functools import partial
from typing import Any, Callable, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils import statedir

# At most 100 kB per host on the wire, where the gzip travels as base64.
WIRE_BYTES = 100000
# A way to make a result smaller.
Step = Callable[[Dict[str, Any]], None]
# Counters by what they are worth when room is short: the first to go stand first.
DISPENSABLE = ("interrupts", "softirqs", "cpu", "sockets", "throttled", "softnet", "threads", "kernel_log", "nic")


def encode(result: Dict[str, Any], limit: int = WIRE_BYTES) -> bytes:
    """The result as gzip JSON, of which the base64 is at most `limit` bytes long.

    Left out in this order, and counted in `omitted` {part: n} and in each flow's `events_omitted`: series, bulky counters, the
    shortest events, the resolution of the histograms, all counters, the histograms, all events, the clock samples. The flows and their
    sums always stay.
    """
    steps = _steps(result)
    large = dict(result, omitted={})
    packed = _packed(large)
    if _fits(packed, limit):
        return packed
    # Every step makes it smaller, so the least number of steps can be found by halving: packing is what takes time.
    too_few, enough, fitting = 0, len(steps), b""
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        smaller = _after(large, steps[too_few:middle])
        packed = _packed(smaller)
        if _fits(packed, limit):
            enough, fitting = middle, packed
        else:
            too_few, large = middle, smaller
    return fitting or _packed(_after(large, steps[too_few:enough]))


def _fits(packed: bytes, limit: int) -> bool:
    return (len(packed) + 2) // 3 * 4 <= limit


def _after(result: Dict[str, Any], steps: List[Step]) -> Dict[str, Any]:
    smaller = dict(result, omitted=dict(result["omitted"]))
    for leave_out in steps:
        leave_out(smaller)
    return smaller


def _packed(result: Dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(result, separators=(",", ":"), allow_nan=False).encode("ascii"), 6)


def _steps(result: Dict[str, Any]) -> List[Step]:
    """What to leave out, least valuable first. A step replaces parts of the result that it is given, and changes none in place."""
    return [
        _drop_series,
        *[partial(_drop_counter, name=name) for name in DISPENSABLE],
        *[partial(_keep_events, most=most) for most in (3000, 1500, 700)],
        *[partial(_coarsen, bits=bits) for bits in (1, 2)],
        *[partial(_drop_counter, name=name) for name in sorted(result.get("counters", {}))],
        partial(_keep_events, most=300),
        partial(_coarsen, bits=3),
        partial(_keep_events, most=100),
        _drop_histograms,
        partial(_keep_events, most=0),
        _drop_clock_samples,
    ]


def _count(result: Dict[str, Any], part: str, number: int) -> None:
    if number:
        result["omitted"][part] = result["omitted"].get(part, 0) + number


def _drop_series(result: Dict[str, Any]) -> None:
    counters = result.get("counters", {})
    _count(result, "series", sum(1 for counter in counters.values() if counter.get("series")))
    result["counters"] = {name: dict(counter, series=None) for name, counter in counters.items()}


def _drop_counter(result: Dict[str, Any], name: str) -> None:
    counter = result.get("counters", {}).get(name)
    if counter and counter.get("available"):
        left_out = {"available": False, "reason": "read, and left out for the size of the result", "start": {}, "end": None, "series": None}
        result["counters"] = dict(result["counters"], **{name: left_out})
        _count(result, "counters", 1)


def _keep_events(result: Dict[str, Any], most: int) -> None:
    """Keep the longest events over all flows."""
    flows = result.get("flows", [])
    events = [
        (event["duration_ms"], position, at) for position, flow in enumerate(flows) for at, event in enumerate(flow.get("events", []))
    ]
    if len(events) <= most:
        return
    kept = {(position, at) for _, position, at in sorted(events, reverse=True)[:most]}
    _count(result, "events", len(events) - len(kept))
    result["flows"] = [
        _with_events(flow, [event for at, event in enumerate(flow.get("events", [])) if (position, at) in kept])
        for position, flow in enumerate(flows)
    ]


def _with_events(flow: Dict[str, Any], events: List[Any]) -> Dict[str, Any]:
    before = flow.get("events", [])
    if len(events) == len(before):
        return flow
    omitted_ms = sum(event["duration_ms"] for event in before) - sum(event["duration_ms"] for event in events)
    return dict(
        flow,
        events=events,
        events_omitted=flow.get("events_omitted", 0) + len(before) - len(events),
        events_omitted_ms=round(flow.get("events_omitted_ms", 0.0) + omitted_ms, 3),
    )


def _coarsen(result: Dict[str, Any], bits: int) -> None:
    """Merge 2^bits neighbouring buckets of the histograms into the highest of them: durations are rounded up, never down."""
    result["flows"] = [
        dict(flow, histogram=_merged(flow["histogram"], (1 << bits) - 1)) if flow.get("histogram") else flow
        for flow in result.get("flows", [])
    ]
    result["omitted"]["histogram_bits"] = bits


def _merged(histogram: Dict[str, int], mask: int) -> Dict[str, int]:
    merged: Dict[str, int] = {}
    for index, count in histogram.items():
        kept = str(int(index) | mask)
        merged[kept] = merged.get(kept, 0) + count
    return merged


def _drop_histograms(result: Dict[str, Any]) -> None:
    _count(result, "histograms", sum(1 for flow in result.get("flows", []) if flow.get("histogram")))
    result["flows"] = [dict(flow, histogram={}) for flow in result.get("flows", [])]


def _drop_clock_samples(result: Dict[str, Any]) -> None:
    """The last to go: without them this host's clock is not tied to the others'. But anyone who knows the run's token can send some."""
    _count(result, "clock_samples", len(result.get("clock_samples", {})))
    result["clock_samples"] = {}


def save_raw(path: str, result: Dict[str, Any]) -> Dict[str, Any]:
    """The result with its raw samples (bounded by the engine) moved to the file `path` on this host.

    In their place: {path, bytes, samples, omitted}, or {path null, reason} where they can't be kept.
    """
    raw = result.get("raw")
    if raw is None:
        return result
    packed = gzip.compress(json.dumps(raw, separators=(",", ":")).encode("ascii"), 1)
    try:
        statedir.write_whole(path, packed)
    except OSError as error:
        return dict(result, raw={"path": None, "reason": f"{path}: {error.strerror}"})
    return dict(result, raw={"path": path, "bytes": len(packed), "samples": raw.get("samples"), "omitted": raw.get("omitted")})
