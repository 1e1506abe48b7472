# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet budget: what a host may send and what a target may receive, in probes per second.

A plan that exceeds a limit is thinned for that host alone, in a fixed order, least loss of evidence first: fewer source
ports per target (each round one less, down to 1), then longer intervals of the service flows (nodeport and http; each round
twice as long, at most 16 times), then twice the interval of everything, until it fits. Limits on sending come first; thinning
for a target can only lower them further.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

SERVICE_LAYERS = ("nodeport", "http")
MOST_SERVICE_FACTOR = 16


def rate(flows: Iterable[dict]) -> float:
    """Probes per second of these flows."""
    return sum(1000 / flow["interval_ms"] for flow in flows)


def per_host(flows: Iterable[Mapping], end: str) -> dict[str, float]:
    """Probes per second by host, ``end`` being "source" (sent) or "target" (received)."""
    totals: dict[str, float] = defaultdict(float)
    for flow in flows:
        totals[flow[end]] += 1000 / flow["interval_ms"]
    return {host: round(pps, 1) for host, pps in sorted(totals.items())}


def enforce(flows: list[dict], host_limit: float, target_limit: float) -> tuple[list[dict], list[str]]:
    """The flows that fit into both limits, and a sentence for each reduction.

    :param flows: as in the manifest, each with ``nth``: which of its pair's source ports it is (0 for the first or only one); not modified
    :param host_limit: probes per second that a source may send
    :param target_limit: probes per second that a target may receive
    """
    flows = [dict(flow) for flow in flows]
    sentences: list[str] = []
    for end, limit, verb in (("source", host_limit, "sent by"), ("target", target_limit, "received by")):
        reductions: dict[str, list[str]] = defaultdict(list)
        by_host: dict[str, list[dict]] = defaultdict(list)
        for flow in flows:
            by_host[flow[end]].append(flow)
        for host in sorted(by_host):
            for sentence in _fit(by_host[host], limit):
                reductions[sentence].append(host)
        flows = [flow for flow in flows if flow["interval_ms"]]
        sentences += [f"{what}: the limit of probes {verb} {and_more(hosts, 5)} is {limit:g}/s." for what, hosts in reductions.items()]
    return flows, sentences


def _fit(flows: list[dict], limit: float) -> list[str]:
    """Thin the flows of one host in place until they fit (interval 0: not sent at all); what was done."""
    done = []
    kept = flows
    most = max(flow["nth"] for flow in kept) + 1
    ports = most
    while rate(kept) > limit and ports > 1:
        ports -= 1
        kept = [flow for flow in kept if flow["nth"] < ports]
    if ports < most:
        done.append(f"Source ports per target reduced from {most} to {ports}")
    for flow in flows:
        if flow["nth"] >= ports:
            flow["interval_ms"] = 0
    factor = _stretch(kept, limit, lambda flow: flow["layer"] in SERVICE_LAYERS, MOST_SERVICE_FACTOR)
    if factor > 1:
        done.append(f"Intervals of service probes made {factor} times as long")
    factor = _stretch(kept, limit, lambda flow: True, None)
    if factor > 1:
        done.append(f"All intervals made {factor} times as long")
    return done


def _stretch(flows: list[dict], limit: float, which: Callable[[dict], bool], most: int | None) -> int:
    chosen = [flow for flow in flows if which(flow)]
    factor = 1
    while chosen and rate(flows) > limit and (most is None or factor < most):
        factor *= 2
        for flow in chosen:
            flow["interval_ms"] *= 2
    return factor
