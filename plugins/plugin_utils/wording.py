# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings in words: what the table and the reports say of a host, in one place so that they say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

# blame.directions[].way in words
WAYS = {
    "outside_to_host": "outside to it",
    "nodes_to_host": "node to it",
    "host_to_outside": "it to outside",
    "host_to_nodes": "it to node",
    "nodeport": "through its NodePort",
    "overlay": "through the overlay",
    "requests": "requests",
    "receive_queue": "one receive queue",
}


def verdict(host: Mapping[str, Any]) -> str:
    """The grade of a host that stalls, else its status."""
    grade = _of(host, "severity").get("grade")
    return str(grade) if host["status"] == "stalling" and grade not in (None, "none") else str(host["status"]).replace("_", " ")


def rate(host: Mapping[str, Any]) -> str:
    """Stalled milliseconds a second: measured, or for a clear host the most that can have been missed."""
    bound = _of(host, "coverage").get("upper_bound_ms_per_s")
    if host["status"] == "clear" and bound is not None:
        return f"under {number(bound)}"
    return severity(host, "stalled_ms_per_s")


def severity(host: Mapping[str, Any], key: str) -> str:
    """A figure of the severity."""
    return number(_of(host, "severity").get(key))


def interval(host: Mapping[str, Any]) -> str:
    """The 95% interval of the rate."""
    ends = _of(host, "severity").get("ci95") or []
    return f"{number(ends[0])} to {number(ends[1])}" if len(ends) == 2 and host["status"] != "clear" else ""


def blame(host: Mapping[str, Any]) -> str:
    """On whose side, and on which layer."""
    found = _of(host, "blame")
    side, layer = found.get("side"), found.get("layer")
    return "" if not side else printable(f"{side}, {layer}" if layer else side, 40)


def certainty(host: Mapping[str, Any]) -> str:
    return printable(_of(host, "blame").get("confidence") or "", 20)


def explanation(host: Mapping[str, Any]) -> str:
    """What is to be said of a host that is not clear, beside its figures: why, and what is ruled out by what."""
    found = _of(host, "blame")
    parts = [printable(host["reason"])] if host.get("reason") else []
    if alone := [sentence for way, _figures, sentence in directions(host) if way == WAYS["receive_queue"]]:
        parts += alone
    elif found.get("queues"):
        parts.append(f"receive queues {printable(', '.join(str(queue) for queue in found['queues']))}")
    elif found.get("some_flows_only"):
        parts.append("some flows stall while others do not: some receive queues, not the whole host")
    parts += [f"{what} is ruled out: {because}" if because else f"{what} is ruled out" for what, because in ruled_out(host)]
    return "; ".join(parts)


def loss(host: Mapping[str, Any]) -> str:
    """The share of the probes to it that got no answer."""
    ratio = _of(host, "coverage").get("loss_ratio")
    return "" if ratio is None else f"{number(round(100 * ratio, 3))}%"


def ruled_out(host: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is not to blame, and why not."""
    found = _of(host, "blame").get("ruled_out") or []
    return [(printable(item.get("what", "")), printable(item.get("because", ""))) for item in found]


def directions(host: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The elimination way by way: from where to where, how many of the stalls it saw, what that tells."""
    found = []
    for row in _of(host, "blame").get("directions") or []:
        flows, stalls = number(row.get("flows")), number(row.get("stalls"))
        figures = f"{number(row.get('seen'))} of {stalls} stalls on {flows} flows" if row.get("flows") else ""
        found.append((WAYS.get(str(row.get("way")), printable(row.get("way"), 40)), figures, printable(row.get("sentence", ""))))
    return found


def queues(host: Mapping[str, Any]) -> str:
    """How many receive queues the probes reached, where the host shows it."""
    coverage = _of(host, "coverage")
    total, covered = coverage.get("rx_queues_total"), coverage.get("rx_queues_covered")
    return f"{number(covered)} of {number(total)}" if total is not None and covered is not None else ""


def number(value: Any) -> str:
    """Three figures; nothing for what was not measured."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return ""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def totals(findings: Mapping[str, Any]) -> str:
    """One line: how many hosts of which status."""
    run, hosts = findings["run"], findings["hosts"]
    counts = {status: sum(host["status"] == status for host in hosts) for status in ("stalling", "suspect", "clear", "not_measured")}
    parts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count or status == "stalling")
    window = run.get("parameters", {}).get("window_s")
    return f"{len(hosts)} host{'s' * (len(hosts) != 1)}: {parts}" + (f". Window {number(window)} s." if window is not None else ".")


def not_measured(findings: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Every host that was not measured, by the reason."""
    by_reason: dict[str, list[str]] = {}
    for host in findings["hosts"]:
        if host["status"] == "not_measured":
            by_reason.setdefault(printable(host.get("reason") or "no reason is known"), []).append(printable(host["host"], 80))
    return sorted(by_reason.items())


def coincidence(fault: Mapping[str, Any]) -> str:
    """A fault that several hosts share, in a sentence."""
    figures = f"{number(fault['events'])} stalls, {number(fault['stalled_ms_per_s'])} ms/s"
    return printable(f"{fault['kind']} {printable(fault['name'], 80)}: {figures} ({fault['because']})")


def _of(host: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of a row; nothing of a host that was not measured, since a figure there (others probed it) would read as its health."""
    return {} if host["status"] == "not_measured" else host.get(key) or {}
