# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What two taps tell of a stall: when each probe left its source, and when the kernel of the host that stalls first saw it.

The difference of two clocks is the same for all probes of a flow, so what a probe took beyond the fastest of its flow needs no common
clock. A tap sees a packet once the kernel has taken it from its card: a delay before it arose on the network or in that host's receive
queue, surely in the latter if that host's CPU was kept meanwhile; one behind it in the host above, or on the way of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import rows
from ansible_collections.fleet.stall.plugins.plugin_utils.reading import mapping
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, Event, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

BEFORE, QUEUE, BEHIND = "before", "queue", "behind"
NUMBERED = ("icmp", "tcp_syn")
SWITCHED_OFF = "switched off"
LATE, STALLS = 20, 20
# A probe passes the tap after the prober has noted its time; the first late one is looked for a little earlier, for the rounding of times
ROUNDED_NS = MS // 10
_LATEST_US = 2**52


@dataclass(frozen=True, slots=True)
class Passage:
    """One probe: when it left, by the source's clock, and how much longer than the flow's fastest it took to the other tap.

    ``extra_ns``: None where it left and was never seen there.
    """

    number: int
    left_ns: int
    extra_ns: int | None


def sightings(capture: Mapping[str, Any] | None) -> tuple[dict[int, dict[int, int]], str | None]:
    """Flow -> number -> time in ns by the host's clock; and why there is nothing, None if there is."""
    if (capture or {}).get("status") != "measured":
        return {}, str((capture or {}).get("reason") or "no result came from it")
    assert capture is not None
    try:
        able = capture["capabilities"]["packets"]
        if not able["available"]:
            return {}, str(able.get("reason") or "no reason is known")
        found = {row["flow"]: _of_flow(row) for row in capture["packets"] or []}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return {}, f"what it recorded makes no sense ({type(error).__name__})"
    return found, None


def _of_flow(row: Mapping[str, Any]) -> dict[int, int]:
    numbers, times = list(accumulate(row["numbers"])), list(accumulate(row["at_us"]))
    if not all(isinstance(at, int) and abs(at) < _LATEST_US for at in (*numbers, *times)):
        raise ValueError("no number or time of a probe")
    return {number: at * 1000 for number, at in zip(numbers, times, strict=True)}


def passages(left: Mapping[int, int], came: Mapping[int, int]) -> list[Passage]:
    """The probes of one flow in the order in which they left, from the first that both taps saw to the last.

    What is outside of these may have passed while one of the two was not recording, so it is not lost.
    """
    both = {number: came[number] - at for number, at in left.items() if number in came}
    if not both:
        return []
    least = min(both.values())
    first, last = min(left[number] for number in both), max(left[number] for number in both)
    found = [Passage(number, at, both[number] - least if number in both else None) for number, at in left.items() if first <= at <= last]
    return sorted(found, key=lambda one: one.left_ns)


def arose(stall: Stall, passed: Mapping[int, Sequence[Passage]], ahead_ns: Mapping[int, int]) -> str | None:
    """BEFORE the tap of the host that stalls or BEHIND it; None where no recorded flow tells.

    :param passed: flow -> its passages
    :param ahead_ns: flow -> how far its source's clock is ahead of the base of the stall's times
    """
    views = [_of_view(event, passed.get(event.flow, ()), ahead_ns.get(event.flow, 0)) for event in stall.events]
    told = [view for view in views if view]
    if not told:
        return None
    return BEFORE if 2 * told.count(BEFORE) >= len(told) else BEHIND


def _of_view(event: Event, passed: Sequence[Passage], ahead_ns: int) -> str | None:
    """By the probes that left in the first half of the stall: each of them waited for half of it, wherever it did."""
    sent = _within(passed, event.start_ns + ahead_ns, event.start_ns + ahead_ns + event.length_ns // 2)
    if not sent:
        return None
    most = max((one.extra_ns for one in sent if one.extra_ns is not None), default=0)
    lost = sum(one.extra_ns is None for one in sent)
    return BEFORE if 2 * most >= event.length_ns or 2 * lost >= len(sent) else BEHIND


def _within(passed: Sequence[Passage], start_ns: int, end_ns: int) -> list[Passage]:
    return [one for one in passed if start_ns - ROUNDED_NS <= one.left_ns <= end_ns]


def delta(
    host: str,
    stalls: Sequence[tuple[Stall, bool]],
    flows: Sequence[Mapping[str, Any]],
    captures: Mapping[str, Mapping[str, Any]],
    offsets: Mapping[str, int],
) -> tuple[dict[str, Any] | None, list[str]]:
    """`packets` of the host's capture as docs/findings.schema.json has it, None where no flow was recorded on both ends; what was missing.

    :param stalls: those that speak against the host, times in the common base; each with whether its receiving CPU was kept meanwhile
    :param flows: of the capture's manifest
    :param captures: host -> capture.json, of the host and of those that probe it
    :param offsets: host -> nanoseconds that its clock is ahead of the base
    """
    came, reason = sightings(captures.get(host))
    if reason:
        return None, [] if reason == SWITCHED_OFF else [f"not known: when the probes reached it ({printable(reason, 200)})"]
    asked = {flow["id"]: flow["source"] for flow in flows if flow["target"] == host != flow["source"] and flow["protocol"] in NUMBERED}
    left, missing = _sources(sorted(set(asked.values())), captures)
    if cut := [name for name in (host, *left) if mapping(captures[name].get("omitted")).get("packets")]:
        missing.append(f"not known: how the later probes fared ({and_more(cut, 5)} recorded more than a result has room for)")
    passed = {flow: passages(left[source].get(flow, {}), came.get(flow, {})) for flow, source in asked.items() if source in left}
    passed = {flow: found for flow, found in passed.items() if found}
    if not passed:
        return None, missing or ["not known: how long the probes were on their way (no flow was seen on both ends)"]
    ahead = {flow: offsets.get(asked[flow], 0) for flow in passed}
    return _row(stalls, passed, asked, ahead), missing


def _sources(hosts: Sequence[str], captures: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, dict[int, dict[int, int]]], list[str]]:
    """Source -> what passed its tap, and a sentence for each reason why there is none."""
    seen = {name: sightings(captures.get(name)) for name in hosts}
    lacking: dict[str, list[str]] = {}
    for name, (_, reason) in seen.items():
        if reason:
            lacking.setdefault(reason, []).append(name)
    missing = [f"not known: when the probes of {and_more(names, 5)} left ({printable(reason, 200)})" for reason, names in lacking.items()]
    return {name: found for name, (found, reason) in seen.items() if not reason}, missing


def _row(
    stalls: Sequence[tuple[Stall, bool]], passed: Mapping[int, Sequence[Passage]], asked: Mapping[int, str], ahead: Mapping[int, int]
) -> dict[str, Any]:
    judged = [(stall, _place(arose(stall, passed, ahead), kept)) for stall, kept in stalls]
    places = [place for _, place in judged]
    late = sorted(((one.extra_ns, flow, one.number) for flow, found in passed.items() for one in found if one.extra_ns), reverse=True)
    row = {
        "flows": [_flow(flow, asked[flow], found) for flow, found in sorted(passed.items())],
        "late": [{"flow": flow, "number": number_, "delay_ms": _ms(extra)} for extra, flow, number_ in late[:LATE]],
        "stalls": [_stall(*each) for each in sorted(_longest(judged), key=lambda each: each[0].start_ns)],
        **{place: places.count(place) for place in (BEFORE, QUEUE, BEHIND)},
        "of": len(places),
    }
    return {**row, "sentence": _sentence(row)}


def _place(place: str | None, kept: bool) -> str | None:
    return QUEUE if place == BEFORE and kept else place


def _longest(judged: Sequence[tuple[Stall, str | None]]) -> list[tuple[Stall, str | None]]:
    return sorted(judged, key=lambda each: -each[0].length_ns)[:STALLS]


def _stall(stall: Stall, place: str | None) -> dict[str, Any]:
    return {"start": rows.utc(stall.start_ns), "duration_ms": _ms(stall.length_ns), "arose": place}


def _flow(flow: int, source: str, passed: Sequence[Passage]) -> dict[str, Any]:
    extras = sorted(one.extra_ns for one in passed if one.extra_ns is not None)
    return {
        "flow": flow,
        "source": source,
        "seen": len(extras),
        "lost": len(passed) - len(extras),
        "p50_ms": _ms(extras[len(extras) // 2]),
        "p99_ms": _ms(extras[len(extras) * 99 // 100]),
        "max_ms": _ms(extras[-1]),
    }


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / MS, 3)


def _sentence(row: Mapping[str, Any]) -> str:
    sources = and_more(sorted({flow["source"] for flow in row["flows"]}), 3)
    lost = sum(flow["lost"] for flow in row["flows"])
    left = lost + sum(flow["seen"] for flow in row["flows"])
    slowest = number(max(flow["max_ms"] for flow in row["flows"]))
    said = (
        f"Of {left} probes recorded as they left {printable(sources, 200)}, {lost or 'none'} {'was' if lost < 2 else 'were'} lost before "
        f"its kernel saw them, and the slowest took {slowest} ms longer than the fastest"
    )
    if not row["of"]:
        return f"{said}."
    return (
        f"{said}; of {row['of']} stall{'s' * (row['of'] != 1)} {row[QUEUE]} arose in its receive queue (that CPU was kept), "
        f"{row[BEFORE]} there or on the network (nothing is known to have kept it), {row[BEHIND]} behind (on the host, or on the way "
        "of the answers)."
    )
