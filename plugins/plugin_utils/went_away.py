# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, and addresses in the overlay, that stopped answering in the window and did not answer again: an outage, and no stall.

A host that is rebooted or loses its link is one, an address in the overlay whose pod is deleted another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from statistics import median_low

from ansible_collections.fleet.stall.plugins.plugin_utils.network import kind, name
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, Event
from ansible_collections.fleet.stall.plugins.plugin_utils.tally import ADDRESS_LAYERS

# Shorter silence at the end of the window may be loss, or a stall that the end cut off
LEAST_NS = 1000 * MS


@dataclass(frozen=True, slots=True)
class Left:
    """Since when there was no answer (nanoseconds, common base), and for how long there had been some."""

    since_ns: int
    observed_s: float

    @property
    def at(self) -> str:
        return f"{datetime.fromtimestamp(self.since_ns // 10**9, timezone.utc):%H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Gone:
    """``hosts`` and ``overlays`` (by host: its address in the overlay alone); ``flows``: those that lead to or by them, and since when."""

    hosts: Mapping[str, Left] = field(default_factory=dict)
    overlays: Mapping[str, Left] = field(default_factory=dict)
    flows: Mapping[int, int] = field(default_factory=dict)

    def explains(self, event: Event) -> bool:
        return event.flow in self.flows and event.censored and event.end_ns > self.flows[event.flow]


def find(manifest: Mapping, measured: Mapping[str, Mapping], offsets: Mapping[str, int]) -> Gone:
    """What went away in the window.

    :param measured: host -> result of those whose status is measured
    :param offsets: host -> nanoseconds its clock is ahead of the common base
    """
    timeout_ms = manifest["run"]["parameters"]["reply_timeout_ms"]
    planned = {flow["id"]: flow for flow in manifest["flows"]}
    ends: list[tuple[Mapping, Left | None]] = []
    for host, result in measured.items():
        for row in result.get("flows") or []:
            flow = planned.get(row["id"])
            if flow and row["received"] and flow["protocol"] in ("icmp", "tcp_syn", "tcp_connect"):
                ends.append((flow, _left(row, flow, result["clock"], offsets.get(host, 0), timeout_ms)))
    hosts = _targets(ends, lambda flow: flow["layer"] in ADDRESS_LAYERS)
    overlays = {host: left for host, left in _targets(ends, lambda flow: flow["layer"] == "overlay").items() if host not in hosts}
    return Gone(hosts, overlays, _flows(manifest, hosts, overlays))


def _left(row: Mapping, flow: Mapping, clock: Mapping, offset: int, timeout_ms: float) -> Left | None:
    """Since when the flow was not answered any more; None if it was to the end."""
    last = max(row.get("events") or [], key=lambda event: event["start_ns"] + event["duration_ms"] * MS, default=None)
    if last is None or not last["censored"] or last["duration_ms"] * MS < LEAST_NS:
        return None
    # The last probe was sent up to an interval before the end; one that waits for its connection, up to a timeout before
    slack = 2 * flow["interval_ms"] + (timeout_ms if flow["protocol"] == "tcp_connect" else 0)
    if last["start_ns"] + (last["duration_ms"] + slack) * MS < clock["ended_ns"]:
        return None
    return Left(last["start_ns"] - offset, max(0, last["start_ns"] - clock["started_ns"]) / 1e9)


def _targets(ends: list[tuple[Mapping, Left | None]], which: Callable[[Mapping], bool]) -> dict[str, Left]:
    """The targets of which all these flows were left without an answer.

    A source that nobody answers any more went away itself: it is asked only where that is so of every source.
    """
    asked = [(flow, left) for flow, left in ends if which(flow)]
    live = {flow["source"] for flow, left in asked if left is None}
    by_target: dict[str, list[Left | None]] = defaultdict(list)
    for flow, left in asked:
        if not live or flow["source"] in live:
            by_target[flow["target"]].append(left)
    found = {}
    for target, lefts in by_target.items():
        known = [left for left in lefts if left is not None]
        if len(known) == len(lefts):
            found[target] = Left(median_low(left.since_ns for left in known), median_low(left.observed_s for left in known))
    return found


def _flows(manifest: Mapping, hosts: Mapping[str, Left], overlays: Mapping[str, Left]) -> dict[int, int]:
    found = {}
    for flow in manifest["flows"]:
        passed = [hosts[name(part)] for part in flow["components"] if kind(part) == "host" and name(part) in hosts]
        if flow["layer"] == "overlay" and flow["target"] in overlays:
            passed.append(overlays[flow["target"]])
        if passed:
            found[flow["id"]] = min(left.since_ns for left in passed)
    return found
