# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's row of the findings, out of logs of probes: its stalls, how badly, on whose side, and why no rate where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import rows, severity
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import sawtooth, ways
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.hping import ICMP
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.suspect import Suspicion
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.ways import Blame, View


def of(host: str, views: Sequence[View], found: Suspicion, grades: Mapping[str, float]) -> dict[str, Any]:
    """As in docs/findings.schema.json, without what other logs than those of probes add.

    :param views: of all hosts
    :param found: who handled and who kept the CPU; empty for a host that the other logs are not of
    :param grades: as in ``severity.measure``
    """
    own = [view for view in views if view.target == host]
    stalls = sum(len(view.stalls) for view in own)
    blame = ways.eliminate(host, views, len(found.joined.handled) if found.joined else 0)
    measured, no_rate = _severity(own, grades)
    whole = [view for view in own if view.observed_s]
    if stalls:
        status, reason = "stalling", "; ".join(part for part in (blame.reason, no_rate) if part) or None
    elif whole:
        status, reason = "clear", None
    else:
        status, reason = "not_measured", _why_nothing(own)
    observed_s = sum(view.observed_s or 0.0 for view in whole)
    lost = [(view.sent - view.received, view.sent) for view in own if view.sent and view.received is not None]
    return {
        "host": host,
        "groups": [],
        "rank": 0,
        "status": status,
        "reason": reason,
        "severity": measured,
        "coverage": {
            "probes_sent": sum(view.sent for view in own if view.sent) if own and all(view.sent is not None for view in own) else None,
            "flows": len(own),
            "flows_silent": 0,
            "sources": len({view.source for view in own}),
            "rx_queues_total": None,
            "rx_queues_covered": None,
            "queues_how": "unknown",
            "observed_s": round(observed_s, 3) if whole else None,
            "upper_bound_ms_per_s": round(severity.upper_bound(observed_s), 3) if status == "clear" else None,
            "upper_bound_stall_ms": severity.REFERENCE_MS if status == "clear" else None,
            "loss_ratio": round(max(0, sum(n for n, _ in lost)) / sum(n for _, n in lost), 6) if lost else None,
            "set_aside": 0,
        },
        "blame": {
            "side": blame.side,
            "layer": blame.layer,
            "confidence": blame.confidence,
            "components": _components(host, blame),
            "queues": None,
            "some_flows_only": False,
            "ruled_out": [{"what": what, "because": because} for what, because in blame.ruled_out],
            "directions": [],
        },
        "causes": [],
        "trigger": None,
        "events": _events(own, found),
        "remedies": [],
        "capture": None,
        "evidence_files": [],
    }


def _components(host: str, blame: Blame) -> list[str]:
    kind = {"node": "host", "nodeport": "nat", "overlay": "overlay", None: "host"}[blame.layer]
    return [f"{kind}:{host}"] if blame.side == "receiver" else []


def _why_nothing(own: Sequence[View]) -> str:
    if not own:
        return "no log holds probes to it"
    if any(view.whole for view in own):
        return "how long it was probed is not known: nothing tells the interval between probes"
    return "the logs hold the slow replies alone, or the sums: no stall is in them, and one that they do not show can't be told"


def _severity(own: Sequence[View], grades: Mapping[str, float]) -> tuple[dict[str, Any], str | None]:
    """The worst log's rate, where how long it observed is known; all logs' stalls. With the reason where there is no rate."""
    lengths = [stall.duration_ms for view in own for stall in view.stalls]
    found: dict[str, Any] = {**rows.NOT_MEASURED, "p999_ms": None, "censored": None}
    rated = [
        severity.measure([[(stall.start_ns, stall.end_ns) for stall in view.stalls]], view.observed_s, grades)
        for view in own
        if view.observed_s
    ]
    if rated:
        found |= max(rated, key=lambda one: one["stalled_ms_per_s"])
    if lengths or rated:
        found |= {"events": len(lengths), "max_ms": round(max(lengths, default=0.0), 3)}
        found["censored"] = sum(stall.censored for view in own for stall in view.stalls)
    filtered = [view for view in own if not view.whole]
    if not lengths or not filtered:
        return found, None if rated or not lengths else "no rate: nothing tells the interval between probes"
    shown = min((view.shortest_ms for view in filtered if view.shortest_ms is not None), default=0.0)
    if rated:
        return found, f"the rate is that of the whole logs: {len(filtered)} others hold slow replies alone ({shown:.0f} ms and more)"
    return found, f"no rate: the logs hold slow replies alone ({shown:.0f} ms and more), so that nobody knows for how long they observed"


def _events(own: Sequence[View], found: Suspicion) -> list[dict[str, Any]]:
    """The longest, by log and time."""
    pairs = [(view, stall) for view in own for stall in view.stalls]
    kept = sorted(pairs, key=lambda pair: -pair[1].duration_ms)[: rows.EVENTS_SHOWN]
    return [_event(view, stall, found) for view, stall in sorted(kept, key=lambda pair: (pair[0].number, pair[1].series, pair[1].start_ns))]


def _event(view: View, stall: sawtooth.Stall, found: Suspicion) -> dict[str, Any]:
    handled = found.joined.handled.get(stall) if found.joined and found.joined.view is view else None
    culprit = found.culprit
    blocker = None
    if handled and culprit and handled.before and culprit.pid in (handled.before.pid, None) and culprit.pid is not None:
        stack = culprit.stacks[0][0].split(";")[:64] if culprit.stacks else []
        blocker = {"comm": culprit.comm, "pid": culprit.pid, "share": None, "stack": stack}
    return {
        "start": None,
        "start_ns": None,
        "duration_ms": stall.duration_ms,
        "flow": {
            "id": view.number,
            "source": view.source,
            "target": view.target,
            "layer": view.layer or "node",
            "protocol": view.protocol or ICMP,
        },
        "flows": 1,
        "packets": max(stall.backlog, handled.backlog if handled else 0),
        "lost": stall.lost,
        "censored": stall.censored,
        "window": "import",
        "cpu": handled.cpu if handled else None,
        "handled_by": handled.handler.comm if handled else None,
        "class": culprit.klass if blocker and culprit else None,
        "blocker": blocker,
    }
