# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's row of the findings: its status with the reason, how badly, on whose side, and how well it was looked at."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import direction, queues, severity, standing, verdict
from ansible_collections.fleet.stall.plugins.plugin_utils.attribution import Share
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, Event, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.standing import Fleet
from ansible_collections.fleet.stall.plugins.plugin_utils.tally import Tally, hash_kinds

EVENTS_SHOWN = 200
LAST_NS = 253_402_300_799 * 10**9
NOT_MEASURED = {"stalled_ms_per_s": None, "ci95": None, "events": None, "max_ms": None, "grade": None}


def row(host: str, share: Share, fleet: Fleet) -> dict:
    """The row of one host, without its rank; its shape is in docs/findings.schema.json."""
    tally = fleet.tallies[host]
    observed_s = _observed_s(host, tally, fleet)
    status, reason = standing.status(host, share, tally, fleet)
    stalls = _counted(share, status)
    is_away = status == "not_measured" and host in fleet.gone.hosts
    probed = observed_s > 0 and (tally.answered or stalls) and not is_away
    measured = severity.measure(_classes(host, share, status, fleet), observed_s, fleet.grades) if probed else dict(NOT_MEASURED)
    if status != "stalling" and probed:
        measured["grade"] = "none" if status != "not_measured" else None
    censored = sum(all(event.censored for event in stall.events) for stall in stalls)
    return {
        "host": host,
        "groups": list(fleet.manifest["hosts"][host]["groups"]),
        "rank": 0,
        "status": status,
        "reason": reason,
        "severity": {
            **measured,
            "p999_ms": severity.quantile_ms(fleet.histograms.get(host, []), 0.999),
            "censored": censored if probed else None,
        },
        "coverage": _coverage(host, share, tally, observed_s, status, fleet),
        "blame": {**_blame(share, status, fleet), "directions": _directions(host, share, status, fleet)},
        "causes": [],
        "trigger": None,
        "events": [event_row(stall, fleet) for stall in _longest(stalls)],
        "remedies": [],
        "capture": None,
        "evidence_files": _files(host, fleet),
    }


def _counted(share: Share, status: str) -> list[Stall]:
    """The stalls that the severity speaks of, in order."""
    if status == "clear":
        return []
    found = [stall for blamed in (share.blamed or share.undecided) for stall in blamed.stalls]
    if not share.blamed:
        found += share.unexplained
    return sorted(found, key=lambda stall: (stall.start_ns, stall.end_ns))


def _classes(host: str, share: Share, status: str, fleet: Fleet) -> list[list[severity.Interval]]:
    """Stalls by what can stall on its own: a receive queue, a flow where the queue is unknown, or the component as a whole."""
    found: dict[object, list[severity.Interval]] = defaultdict(list)
    if status == "clear":
        return []
    for blamed in share.blamed or share.undecided:
        for stall in blamed.stalls:
            interval = (stall.start_ns, stall.end_ns)
            if blamed.kind == "host" and blamed.partial:
                for event in stall.events:
                    reached = dict(fleet.network.flows[event.flow].queues).get(host)
                    found[("flow", event.flow) if reached is None else ("queue", reached)].append(interval)
            else:
                found[blamed.component].append(interval)
    if not share.blamed:
        for stall in share.unexplained:
            found["unexplained"].append((stall.start_ns, stall.end_ns))
    return list(found.values())


def _observed_s(host: str, tally: Tally, fleet: Fleet) -> float:
    if left := fleet.gone.hosts.get(host):
        return left.observed_s
    own = (fleet.evidence.get(host) or {}).get("clock") or {}
    return tally.observed_s or (own.get("observed_s") or 0.0)


def _coverage(host: str, share: Share, tally: Tally, observed_s: float, status: str, fleet: Fleet) -> dict:
    answered = bool(tally.answered)
    reached = [queue for flow in tally.answered for end, queue in fleet.network.flows[flow["id"]].queues if end == host]
    card = fleet.cards.get(host) or queues.Card(None)
    set_aside = share.set_aside + (len(share.unexplained) if status == "clear" else 0)
    return {
        "probes_sent": tally.sent,
        "flows": len(tally.answered),
        "flows_silent": len(tally.silent),
        "flows_refused": len(tally.refused),
        "sources": len({flow["source"] for flow in tally.answered}),
        **queues.coverage(card, reached, hash_kinds(tally.answered)),
        "observed_s": round(observed_s, 3) if answered else 0.0,
        "upper_bound_ms_per_s": round(severity.upper_bound(observed_s), 3) if status == "clear" else None,
        "upper_bound_stall_ms": severity.REFERENCE_MS if status == "clear" else None,
        "loss_ratio": round(tally.lost / tally.sent, 6) if tally.sent and answered else None,
        "set_aside": set_aside,
    }


def _blame(share: Share, status: str, fleet: Fleet) -> dict:
    found: dict[str, Any] = {
        "side": None,
        "layer": None,
        "confidence": None,
        "components": [],
        "queues": None,
        "some_flows_only": False,
        "ruled_out": [],
    }
    if share.blamed:
        worst = verdict.worst(share.blamed)
        side, layer = verdict.SIDES[worst.kind]
        known = sorted({int(b.component.rpartition("/")[2]) for b in share.blamed if b.kind == "queue"})
        found |= {
            "side": side,
            "layer": layer,
            "confidence": verdict.confidence(worst, fleet.network),
            "components": [blamed.component for blamed in share.blamed],
            "queues": known or None,
            "some_flows_only": worst.partial or worst.kind == "queue",
            "ruled_out": verdict.ruled_out(worst, fleet.network, fleet.timeline),
        }
    elif status in ("stalling", "suspect") and (share.undecided or share.unexplained):
        components = {c for undecided in share.undecided for c in (undecided.component, *undecided.rivals)}
        found |= {"side": "unknown", "confidence": "low", "components": sorted(components)}
    return found


def _directions(host: str, share: Share, status: str, fleet: Fleet) -> list[dict]:
    """The ways to and from a host that stalls; stalls on another side or layer than the worst would blur what each way saw of it."""
    if status not in ("stalling", "suspect"):
        return []
    found = share.blamed or share.undecided
    if share.blamed:
        side = verdict.SIDES[verdict.worst(share.blamed).kind]
        found = [blamed for blamed in share.blamed if verdict.SIDES[blamed.kind] == side]
    stalls = [stall for blamed in found for stall in blamed.stalls]
    if not stalls:
        return []
    ends = {end for flow in fleet.network.covered.get(f"host:{host}", []) for end in flow.ends()}
    outside = {end for end in ends if fleet.manifest["hosts"][end]["outside"]}
    nodes = {end for end in ends if _is_node(fleet, end)}
    card = fleet.cards.get(host) or queues.Card(None)
    return direction.table(host, stalls, fleet.network, fleet.timeline, outside, fleet.tallies[host], nodes, card)


def _is_node(fleet: Fleet, host: str) -> bool:
    """As the cluster says, else the node group."""
    described = fleet.manifest["hosts"][host]
    group = fleet.manifest["run"]["parameters"].get("node_group")
    return described["node"] if described.get("node") is not None else group in described["groups"]


def _longest(stalls: list[Stall]) -> list[Stall]:
    if len(stalls) <= EVENTS_SHOWN:
        return stalls
    kept = sorted(stalls, key=lambda stall: -stall.length_ns)[:EVENTS_SHOWN]
    return sorted(kept, key=lambda stall: (stall.start_ns, stall.end_ns))


def stalls_of(host: str, share: Share, fleet: Fleet) -> list[Stall]:
    """The stalls that speak against the host, in order: those that its severity is of."""
    return _counted(share, standing.status(host, share, fleet.tallies[host], fleet)[0])


def event_row(stall: Stall, fleet: Fleet, window: str = "observe") -> dict:
    """A stall as findings.json has it, without what a capture tells of it."""
    best: Event = max(stall.events, key=lambda view: (view.length_ns, -view.flow))
    flow = fleet.network.flows[best.flow]
    return {
        "start": utc(stall.start_ns),
        "start_ns": stall.start_ns,
        "duration_ms": round(stall.length_ns / MS, 3),
        "flow": {"id": flow.id, "source": flow.source, "target": flow.target, "layer": flow.layer, "protocol": flow.protocol},
        "flows": len({view.flow for view in stall.events}),
        "packets": best.packets,
        "lost": best.lost,
        "censored": all(view.censored for view in stall.events),
        "window": window,
        "cpu": None,
        "handled_by": None,
        "class": None,
        "blocker": None,
    }


def _files(host: str, fleet: Fleet) -> list[str]:
    result = fleet.evidence.get(host)
    if result is None:
        return []
    name = "observe.json" if "flows" in result else "status.json"
    return [f"evidence/{fleet.manifest['hosts'][host]['slug']}/{name}"]


def utc(epoch_ns: int) -> str:
    """ISO 8601 with microseconds, as in 2026-11-22T10:15:00.123456Z; what a wrong clock puts before 1970 or after 9999 is at that end."""
    seconds, rest = divmod(min(max(epoch_ns, 0), LAST_NS), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
