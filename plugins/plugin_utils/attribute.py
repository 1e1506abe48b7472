# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a capture to the named cause: what the captured hosts' rows of the findings gain by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    admission,
    application,
    capture_row,
    cases,
    control,
    culprits,
    findings,
    observer_effect,
    rows,
    sentences,
    slow_calls,
    taken,
)
from ansible_collections.fleet.stall.plugins.plugin_utils import causes as catalogue_of_causes
from ansible_collections.fleet.stall.plugins.plugin_utils.capture_window import Window
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import SLACK_NS
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED, Explained, explain

# On these sides something on the host itself can be to blame; a sender's receive path is not what stalls
SIDES = ("receiver", "application", "unknown")
HANDLERS, CONNECTIONS, SLOW_CALLS = 8, 8, 6
UNPROBED = "No probe to it was answered while it was captured: how it fared then is not known."
NONSENSE = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError, ZeroDivisionError)
_LIMIT = 2**63


def build(
    findings_: Mapping[str, Any],
    manifest: Mapping[str, Any],
    evidence: Mapping[str, Mapping],
    captures: Mapping[str, Mapping],
    catalogue: Any,
    before: tuple[Mapping[str, Any], Mapping[str, Mapping]] | None = None,
) -> dict[str, Any]:
    """The findings with what a capture adds to them; pure: the argument is left as it is.

    :param findings_: of the first window, without a capture's part (findings.build)
    :param manifest: of the capture window, with ``run.captured {host: "suspect"|"control"}``
    :param evidence: host -> observe.json or status.json of the capture window
    :param captures: host -> capture.json or capture_status.json, those of the hosts that recorded their packets alone among them
    :param catalogue: of causes.load
    :param before: manifest and evidence of the first window, for what the capture did to the round trips
    """
    roles = manifest["run"].get("captured") or {}
    judged = findings.judge(manifest, evidence, {"grades": findings_["run"]["parameters"]["grades"]})
    # What was let in is all that is used, here as well
    first = (before[0], admission.admitted(*before)) if before else None
    blamed = {row["host"]: row["blame"]["components"] for row in findings_["hosts"]}
    window = Window(manifest, judged.fleet.evidence, judged, catalogue, first, captures, blamed)
    window.control = next((_control(host, captures.get(host), window) for host, role in roles.items() if role == "control"), None)
    hosts = []
    for row in findings_["hosts"]:
        role = roles.get(row["host"])
        hosts.append(dict(row, capture=None) if role is None else _guarded(row, role, captures.get(row["host"]), window))
    return {**findings_, "hosts": hosts}


def _guarded(row: Mapping[str, Any], role: str, capture: Mapping[str, Any] | None, window: Window) -> dict[str, Any]:
    """What a host sent may make no sense: that costs its own capture, nothing else."""
    try:
        return _host(row, role, _in_range(capture), window)
    except NONSENSE as error:
        return _host(row, role, {"reason": f"its result makes no sense ({type(error).__name__}: {printable(error, 200)})"}, window)


def _control(host: str, capture: Mapping[str, Any] | None, window: Window) -> control.Control | None:
    """What a culprit is compared with, None where there is no such thing."""
    offset = window.judged.offsets.get(host, 0)
    stalls = [(stall.start_ns + offset - SLACK_NS, stall.end_ns + offset + SLACK_NS) for stall in window.stalls(host)]
    try:
        return control.of(host, _in_range(capture) or {}, stalls, window.probed(offset)) if window.is_probed(host) else None
    except NONSENSE:
        return None


def _in_range(value: Any) -> Any:
    """The same with null for each number that no clock or counter has: JSON can hold more than can be counted with or written again."""
    if isinstance(value, dict):
        return {key: _in_range(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_range(item) for item in value]
    return value if not isinstance(value, (int, float)) or abs(value) < _LIMIT else None


def _host(row: Mapping[str, Any], role: str, capture: Mapping[str, Any] | None, window: Window) -> dict[str, Any]:
    host, stalls = row["host"], window.stalls(row["host"])
    if (capture or {}).get("status") != "measured":
        events = [rows.event_row(stall, window.judged.fleet, "capture") for stall in stalls]
        return dict(row, events=[*row["events"], *events], capture=capture_row.failed(role, capture))
    assert capture is not None
    offset, tied = window.judged.offsets.get(host, 0), window.is_tied(host)
    observe = window.evidence.get(host) or {}
    stolen_ns, by_second = cases.stolen_ns(observe), cases.stolen_by_second(observe)
    explained = taken.with_steal(explain(stalls, capture, offset, is_tied=tied), stolen_ns, by_second)
    explained = taken.with_firmware(explained, capture, stolen_ns, cases.is_virtual(observe))
    explained = application.with_strace(explained, capture, lambda stall: window.asked([stall]) if window.asks_service(stall) else None)
    side = window.side(row)
    if side == "application":
        explained = [replace(one, klass="R") if application.is_late(one) else one for one in explained]
    asked = role == "suspect" and side in SIDES
    found = _culprits(side, explained, capture, observe, window, offset) if asked else []
    klass = _class(side, explained, found) if asked else None
    causes = (
        cases.causes(found, explained, klass, capture, observe, lambda one: catalogue_of_causes.match(window.catalogue, one))
        if asked
        else []
    )
    explaining = [culprit for culprit in found if culprit.explains]
    events = [_event(one, window) for one in explained]
    packets, untold = window.packets(host, role, explained)
    return {
        **row,
        "causes": causes,
        "trigger": capture_row.trigger_row(found[0]) if found and not found[0].usual else None,
        "remedies": cases.remedies(causes),
        "events": [*row["events"], *events],
        "capture": {
            "role": role,
            "status": "measured",
            "class": klass,
            "confidence": explaining[0].confidence if explaining else "low" if found else None,
            "explained": {"events": _explained(explaining, explained), "of": sum(one.counts for one in explained)},
            "sentence": _sentence(side, role, asked, found, explained, causes, klass) if stalls or window.is_probed(host) else UNPROBED,
            "culprits": [capture_row.culprit_row(culprit) for culprit in found],
            "handlers": capture_row.rows_of(capture, "handlers", ("cpu", "pid", "tid", "comm", "packets"), HANDLERS),
            "timeline": capture_row.timeline(explained, offset),
            "missing": sentences.missing(capture, explained, tied, bool(observe.get("counters"))) + untold,
            "packets": packets,
            "cost": capture_row.cost(capture),
            "observer_effect": observer_effect.effect(host, capture, window.before, (window.manifest, window.evidence)),
            "connections": capture_row.rows_of(
                capture,
                "connections",
                ("local", "peer", "pid", "comm", "rtt_ms", "min_rtt_ms", "retransmits", "unread_bytes", "unacked"),
                CONNECTIONS,
            ),
            "memory_cgroups": capture_row.memory_cgroups(capture),
            "slow_calls": slow_calls.longest(capture, SLOW_CALLS),
        },
    }


def _culprits(
    side: str | None, explained: Sequence[Explained], capture: Mapping, observe: Mapping, window: Window, offset: int
) -> list[Culprit]:
    """Who is to blame, likeliest first.

    Where the first window blamed an application, who keeps the CPU that its packets need is looked for as well if that happened in half
    of the stalls or more.
    """
    of_service = []
    if side == "application":
        of_service = application.judge(explained, capture, observe, window.asked([one.stall for one in explained]))
        blocked, looked = sum(one.blocker is not None for one in explained), sum(one.counts for one in explained)
        if 2 * blocked < max(1, looked):
            return of_service
    found = culprits.judge(explained, capture, window.probed(offset))
    if window.control:
        for culprit in found:
            control.compare(culprit, window.control)
    taken.doubt(found, explained, cases.stolen_ns(observe), cases.stolen_by_second(observe))
    return sorted([*found, *of_service], key=lambda culprit: (culprit.usual, -culprit.events))


def _class(side: str | None, explained: Sequence[Explained], found: Sequence[Culprit]) -> str | None:
    if found:
        return found[0].klass
    looked = [one for one in explained if one.counts]
    if looked and 2 * sum(one.klass == "X" for one in looked) >= len(looked):
        return "X"
    on_time = sum(one.note == "on_time" for one in looked)
    if side == "application" and looked and on_time >= EXPLAINED * len(looked):
        return "R"
    if looked and 2 * sum(one.klass == "SI" for one in looked) >= len(looked):
        return "SI"
    return None


def _explained(explaining: Sequence[Culprit], explained: Sequence[Explained]) -> int:
    """Stalls that a culprit explains, or the hypervisor, or the firmware."""
    not_run = sum(one.klass == "X" for one in explained)
    return not_run + sum(culprit.events for culprit in explaining)


def _sentence(
    side: str | None,
    role: str,
    asked: bool,
    found: Sequence[Culprit],
    explained: Sequence[Explained],
    causes: Sequence[Mapping[str, Any]],
    klass: str | None,
) -> str:
    if role == "control":
        return (
            f"Control: {len(explained)} stall{'s' * (len(explained) != 1)} while it was captured."
            if explained
            else "Control: no stall while it was captured, as expected."
        )
    if not asked:
        because = "it stalls as a sender, and a capture looks at receiving" if side == "sender" else "nothing on it is blamed for a stall"
        return f"No culprit is looked for on it: {because}."
    return sentences.verdict(found, explained, causes, klass)


def _event(one: Explained, window: Window) -> dict[str, Any]:
    event = rows.event_row(one.stall, window.judged.fleet, "capture")
    blocker = one.blocker
    return {
        **event,
        "cpu": one.cpu,
        "handled_by": one.handler.comm if one.handler else None,
        "class": one.klass,
        "blocker": {
            "comm": blocker.task.comm,
            "pid": blocker.task.pid,
            "share": round(blocker.share, 3),
            "stack": blocker.stacks[0][0].split(";")[: capture_row.BLOCKER_FRAMES] if blocker.stacks else [],
        }
        if blocker
        else None,
    }
