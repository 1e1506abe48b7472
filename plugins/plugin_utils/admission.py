# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which results are let in: what an observer wrote on a host that is broken or hostile costs that host's row, and no other.

A result is let in if all that is used has its type, is finite, and is possible: the flows are those that the host was asked to probe, with
no more probes than were planned and no stall outside the window. Otherwise it counts as none, and the reason names what makes no sense.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.histogram import BUCKETS
from ansible_collections.fleet.stall.plugins.plugin_utils.addresses import is_loopback
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

Check = Callable[[Any, str], None]

# Beyond any clock that counts nanoseconds since 1970, and any difference of two such
LATEST_NS = 2**62
MOST = 2**53
TEXT, WARNINGS, LATE, SAMPLES, INTERFACES, QUEUES, SLOTS = 300, 20, 1000, 5000, 64, 4096, 65536
# A window may begin late and be cut short; what was sent at its end is waited for
SLACK_S = 5.0
# Of what was planned: a flow that takes its turn a moment early or late, and a histogram that is filled in
TIMES_PLANNED, SPARE = 2, 100
NONSENSE_REMEDY = "look at what runs on that host as its observer, and at its memory and disk"


class Nonsense(ValueError):
    """What can't have been measured; the message says where it is and what it is."""


def admitted(manifest: Mapping, evidence: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """The evidence with each result that makes no sense replaced by the reason, and what is text cut to a length that can be shown.

    :param manifest: of the window that was measured
    :param evidence: host -> observe.json or status.json
    """
    asked: dict[str, dict[int, Mapping]] = {host: {} for host in manifest["hosts"]}
    for flow in manifest["flows"]:
        asked[flow["source"]][flow["id"]] = flow
    targets = {str(flow["id"]): flow["target"] for flow in manifest["flows"]}
    return {host: _admitted(host, result, manifest["run"], asked.get(host, {}), targets) for host, result in evidence.items()}


def _admitted(host: str, result: Mapping, run: Mapping, asked: Mapping[int, Mapping], targets: Mapping[str, str]) -> Mapping:
    if result.get("status") != "measured":
        said = {key: printable(result[key], TEXT) for key in ("status", "reason", "remedy") if result.get(key) is not None}
        return {**result, **said, **({"flows": []} if "flows" in result else {})}
    try:
        _measured(result, "its result")
        _possible(result, run, asked)
    except (Nonsense, OverflowError, RecursionError) as error:
        reason = f"its result makes no sense: {printable(error, TEXT)}"
        return {"status": "failed", "reason": reason, "remedy": NONSENSE_REMEDY, "flows": []}
    warnings = [printable(text, TEXT) for text in (result.get("warnings") or [])[:WARNINGS]]
    left_out = len(result.get("warnings") or []) - len(warnings)
    stayed = _stayed(host, result["flows"], asked)
    if stayed:
        names = sorted({asked[flow]["target"] for flow in stayed})
        warnings.append(
            f"its probes of {and_more(names, 3)} never left it and count for nothing: set stall_address for what they are to reach"
        )
    samples = {key: sample for key, sample in (result.get("clock_samples") or {}).items() if targets.get(key) == host}
    return {
        **result,
        "flows": [row for row in result["flows"] if row["id"] not in stayed],
        "warnings": warnings + [f"{left_out} more warnings"] * bool(left_out),
        "clock_samples": samples,
        "counters": _counters(result.get("counters") or {}),
    }


def _stayed(host: str, flows: Iterable[Mapping], asked: Mapping[int, Mapping]) -> set[int]:
    """Flows to other hosts that left by the loopback: there, the name or address of the target is the prober's own."""
    return {row["id"] for row in flows if asked[row["id"]]["target"] != host and is_loopback(row.get("local_address"))}


def _possible(result: Mapping, run: Mapping, asked: Mapping[int, Mapping]) -> None:
    """Raises Nonsense for what has the right form and can't be."""
    clock, parameters = result["clock"], run["parameters"]
    window_s = run["ends_at"] - run["starts_at"] + SLACK_S
    longest_s = window_s + parameters["reply_timeout_ms"] / 1000
    if clock["observed_s"] > window_s:
        raise Nonsense(f"it observed for {clock['observed_s']:g} s, in a window of {window_s - SLACK_S:g} s")
    seen: set[int] = set()
    for position, flow in enumerate(result["flows"]):
        at = f"flows[{position}]"
        planned = asked.get(flow["id"])
        if planned is None or flow["id"] in seen:
            raise Nonsense(f"{at}.id is {flow['id']}, {'twice' if planned else 'which it was not asked to probe'}")
        seen.add(flow["id"])
        most = TIMES_PLANNED * longest_s * 1000 / planned["interval_ms"] + SPARE
        of_sent = {"received and lost": flow["received"] + flow["lost"], "refused": flow.get("refused") or 0}
        counted = {"sent": flow["sent"], **of_sent, "in the histogram": _total(flow)}
        for what, number in counted.items():
            if number > (flow["sent"] if what in of_sent else most):
                raise Nonsense(f"{at} has {number} {what}, of {flow['sent']} sent and {most:.0f} that can have been")
        events = flow.get("events") or []
        if len(events) > parameters.get("event_limit", MOST):
            raise Nonsense(f"{at} lists {len(events)} events")
        for event in events:
            _within(event, clock, longest_s, at)


def _within(event: Mapping, clock: Mapping, longest_s: float, at: str) -> None:
    if event["duration_ms"] > longest_s * 1000:
        raise Nonsense(f"{at} has an event of {event['duration_ms']:g} ms")
    slack = int(SLACK_S * 1e9)
    if not clock.get("stepped") and not clock["started_ns"] - slack <= event["start_ns"] <= clock["ended_ns"] + slack:
        raise Nonsense(f"{at} has an event at {event['start_ns']}, outside its window")


def _total(flow: Mapping) -> int:
    return sum((flow.get("histogram") or {}).values())


def _counters(readers: Mapping[str, Any]) -> dict[str, Any]:
    """The readers whose form is relied on for more than a number by name (facts.py); one that makes no sense was not read."""
    found = {name: row for name, row in readers.items() if isinstance(row, dict)}
    try:
        _NIC(found.get("nic", {}), "nic")
    except Nonsense as error:
        found["nic"] = {"available": False, "reason": f"it makes no sense: {printable(error, TEXT)}", "start": {}, "end": None}
    return found


# The forms


def _number(low: float, high: float, whole: bool = False) -> Check:
    def check(value: Any, at: str) -> None:
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not right or not low <= value <= high or not math.isfinite(value):
            _refuse(value, at, f"{'an integer' if whole else 'a number'} from {low:g} to {high:g}")

    return check


def _is(kind: type, words: str) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, kind):
            _refuse(value, at, words)

    return check


def _optional(inner: Check) -> Check:
    return lambda value, at: None if value is None else inner(value, at)


def _list(inner: Check, most: int) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, list) or len(value) > most:
            _refuse(value, at, f"a list of {most} at most")
        for position, item in enumerate(value):
            inner(item, f"{at}[{position}]")

    return check


def _pair(first: Check, second: Check) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, list) or len(value) != 2:
            _refuse(value, at, "a pair")
        first(value[0], f"{at}[0]")
        second(value[1], f"{at}[1]")

    return check


def _fields(**checks: Check) -> Check:
    """A mapping in which these are right; others may be in it, too."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, at, "a mapping")
        for name, inner in checks.items():
            inner(value.get(name), f"{at}.{name}")

    return check


def _table(inner: Check, most: int, keys: Iterable[str] | None = None) -> Check:
    known = None if keys is None else frozenset(keys)

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            _refuse(value, at, f"a mapping of {most} at most")
        for key, item in value.items():
            if known is not None and key not in known:
                _refuse(key, at, "a key of it")
            inner(item, at)

    return check


def _hexadecimal(value: Any, at: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2}){0,512}", value):
        _refuse(value, at, "bytes in hexadecimal")


def _refuse(value: Any, at: str, wanted: str) -> None:
    raise Nonsense(f"{at.removeprefix('its result.')} is {printable(reprlib.repr(value), 80)} and not {wanted}")


_natural = _number(0, MOST, whole=True)
_count = _optional(_natural)
_text = _optional(_is(str, "text"))
_flag = _optional(_is(bool, "true or false"))
_at_ns = _number(0, LATEST_NS, whole=True)
_milliseconds = _number(0, 1e12)

_EVENT = _fields(
    start_ns=_at_ns,
    duration_ms=_milliseconds,
    packets=_natural,
    lost=_natural,
    max_ms=_optional(_milliseconds),
    censored=_flag,
    tx_delay_ms=_optional(_milliseconds),
)
_FLOW = _fields(
    id=_natural,
    sent=_natural,
    received=_natural,
    lost=_natural,
    unsent=_count,
    refused=_count,
    baseline_us=_optional(_number(0, 1e12)),
    local_address=_text,
    local_port=_optional(_number(0, 65535, whole=True)),
    histogram=_optional(_table(_natural, BUCKETS, map(str, range(BUCKETS)))),
    events=_optional(_list(_EVENT, MOST)),
    events_own_lateness=_count,
    events_omitted=_count,
)
_SAMPLE = _fields(min_ns=_number(-LATEST_NS, LATEST_NS, whole=True), n=_natural)
_measured = _fields(
    clock=_fields(started_ns=_at_ns, ended_ns=_at_ns, observed_s=_number(0, 1e9), stepped=_flag),
    flows=_list(_FLOW, MOST),
    lateness=_optional(_fields(p99_us=_optional(_number(0, 1e12)), late=_optional(_list(_pair(_at_ns, _milliseconds), LATE)))),
    clock_samples=_optional(_table(_SAMPLE, SAMPLES)),
    versions=_optional(_fields(kernel=_text, preemption=_text)),
    counters=_optional(_is(dict, "a mapping")),
    warnings=_optional(_is(list, "a list")),
)

_queue = _number(0, QUEUES, whole=True)
_cpus = _optional(_list(_number(0, SLOTS, whole=True), SLOTS))
_texts = _optional(_list(_is(str, "text"), QUEUES))
_RSS = _fields(
    available=_flag,
    function=_text,
    key=_optional(_hexadecimal),
    indirection=_optional(_list(_queue, SLOTS)),
    fields=_optional(_table(_texts, QUEUES)),
)
_INTERFACE = _fields(
    name=_is(str, "text"),
    addresses=_texts,
    lower=_texts,
    rx_queues=_optional(_queue),
    channels=_optional(_fields(tx=_optional(_queue), combined=_optional(_queue))),
    queues=_optional(_list(_fields(rps_cpus=_cpus), QUEUES)),
    rss=_optional(_RSS),
)
_NIC = _fields(start=_optional(_fields(interfaces=_optional(_list(_INTERFACE, INTERFACES)))))
