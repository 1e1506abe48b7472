# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP that a firewall or a policer drops: loss, however long its runs are, and no stall.

What stalls lets the packets that it held back through in the end, late, and holds up TCP with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS

TCP = ("tcp_syn", "tcp_connect")
# Of the echoes' events nearly all are of lost probes alone, and nearly none of what TCP would have lost with them is lost
NEARLY_ALL, HARDLY = 0.9, 0.1
# TCP probes of the same pair that were due in these events; fewer may have missed them by chance
LEAST_DUE = 3


def limited(manifest: Mapping, measured: Mapping[str, Mapping]) -> dict[int, list[Mapping]]:
    """Flows of ICMP that is dropped or limited on the way -> their events that are no stalls.

    :param measured: host -> result of those whose status is measured
    """
    planned = {flow["id"]: flow for flow in manifest["flows"]}
    found: dict[int, list[Mapping]] = {}
    for result in measured.values():
        rows = [(planned[row["id"]], row) for row in result.get("flows") or [] if row["id"] in planned and row["received"]]
        for flow, row in rows:
            if flow["protocol"] != "icmp" or not row.get("events"):
                continue
            beside = [(other, tcp) for other, tcp in rows if other["protocol"] in TCP and _way(other) == _way(flow)]
            if events := _dropped(row["events"], beside):
                found[flow["id"]] = events
    return found


def without(measured: Mapping[str, Mapping], found: Mapping[int, list[Mapping]]) -> dict[str, Mapping]:
    """The results with these events taken out, so that what was lost in them counts as loss."""
    return {host: {**result, "flows": [_less(row, found) for row in result.get("flows") or []]} for host, result in measured.items()}


def shares(manifest: Mapping, measured: Mapping[str, Mapping], found: Iterable[int]) -> dict[str, float]:
    """Host -> share lost of the ICMP to and from it that is dropped or limited."""
    planned = {flow["id"]: flow for flow in manifest["flows"]}
    sent: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    of_interest = set(found)
    for result in measured.values():
        for row in result.get("flows") or []:
            if row["id"] in of_interest:
                for end in {planned[row["id"]][key] for key in ("source", "target")}:
                    sent[end] += row["sent"]
                    lost[end] += row["lost"]
    return {host: lost[host] / sent[host] for host in sent if sent[host]}


def _way(flow: Mapping) -> tuple[Any, ...]:
    return flow["target"], flow["layer"], flow["family"]


def _less(row: Mapping, found: Mapping[int, list[Mapping]]) -> Mapping:
    events = found.get(row["id"])
    return row if not events else {**row, "events": [event for event in row["events"] if event not in events]}


def _dropped(events: list[Mapping], beside: list[tuple[Mapping, Mapping]]) -> list[Mapping]:
    """Those of the events that TCP of the same pair shows to be loss of ICMP alone."""
    pure = [event for event in events if event["lost"] >= event["packets"]]
    if len(pure) < NEARLY_ALL * len(events):
        return []
    due = sum(sum(event["duration_ms"] for event in pure) / flow["interval_ms"] for flow, _tcp in beside)
    missing = sum(tcp["lost"] for _flow, tcp in beside)
    shown = [_span(event) for _flow, tcp in beside for event in tcp.get("events") or []]
    alone = [event for event in pure if not any(_meet(_span(event), other) for other in shown)]
    if due < LEAST_DUE or missing > HARDLY * due or len(alone) < NEARLY_ALL * len(pure):
        return []
    return alone


def _span(event: Mapping) -> tuple[int, int]:
    return event["start_ns"], event["start_ns"] + round(event["duration_ms"] * MS)


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
