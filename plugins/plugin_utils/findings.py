# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a run's evidence to its findings: the one entrance to the thinking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    admission,
    attribution,
    blame,
    clocks,
    echo_loss,
    network,
    queues,
    ranking,
    rows,
    stalls_join,
    standing,
    tally,
    verdict,
    went_away,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

SCHEMA_VERSION = 1
# A prober that is late by more than this at its 99th percentile misses short stalls
NOTABLE_LATENESS_US = 5000
SHORT_OBSERVATION = 0.9


@dataclass(frozen=True, slots=True)
class Judged:
    """What a window's evidence says before it is put into rows; ``offsets``: host -> nanoseconds its clock is ahead of the common base."""

    fleet: standing.Fleet
    shares: attribution.Shares
    measured: Mapping[str, Mapping]
    offsets: Mapping[str, int]
    window_s: float
    warnings: list[str]


def build(manifest: Mapping, evidence: Mapping[str, Mapping], parameters: Mapping) -> dict:
    """The findings of a run, as described by docs/findings.schema.json.

    :param manifest: manifest.json
    :param evidence: host -> observe.json or status.json; a missing key: no result
    :param parameters: of the rank role, without ``stall_``: ``grades {critical, major}``
    :return: equal input gives equal findings, whatever the order of hosts and flows
    """
    judged = judge(manifest, evidence, parameters)
    hosts = ranking.ranked(rows.row(host, judged.shares.of[host], judged.fleet) for host in sorted(manifest["hosts"]))
    return {
        "schema_version": SCHEMA_VERSION,
        "run": _run(manifest, judged.measured, hosts, parameters),
        "hosts": hosts,
        "coincident": _coincident(judged.shares.coincident, judged.fleet, judged.window_s),
        "warnings": [
            *manifest.get("warnings", []),
            *manifest["budget"]["reductions"],
            *judged.warnings,
            *_probers(manifest, judged.measured),
            *_unplaced(judged.shares.unplaced),
        ],
    }


def judge(manifest: Mapping, evidence: Mapping[str, Mapping], parameters: Mapping) -> Judged:
    """Blame the stalls of a window; parameters as for ``build``. Results that make no sense are none."""
    evidence = admission.admitted(manifest, evidence)
    measured = {host: evidence[host] for host in sorted(manifest["hosts"]) if (evidence.get(host) or {}).get("status") == "measured"}
    offsets, warnings = clocks.offsets(manifest, measured)
    cards = {host: queues.card_of(result, _addresses(manifest, host, result)) for host, result in measured.items()}
    limited = echo_loss.limited(manifest, measured)
    measured = echo_loss.without(measured, limited)
    gone = went_away.find(manifest, measured, offsets)
    answered = network.network(manifest, measured, offsets, cards, limited.keys() | gone.flows.keys())
    by_id = {flow["id"]: flow for flow in manifest["flows"] if flow["id"] in answered.flows}
    events = [event for event in stalls_join.read_events(by_id, measured, offsets) if not gone.explains(event)]
    window_s = max((_observed_s(result) for result in measured.values()), default=0.0)
    found = blame.judge(answered, events, window_s)
    fleet = standing.Fleet(
        manifest=manifest,
        evidence=evidence,
        network=answered,
        timeline=network.Timeline(answered, events),
        cards=cards,
        tallies=tally.tallies(manifest, measured),
        lossy=tally.lossy(manifest, measured),
        gone=gone,
        echoes_lost=echo_loss.shares(manifest, measured, limited),
        histograms=tally.histograms(manifest, measured),
        grades=parameters["grades"],
    )
    shares = attribution.shares(found, answered, manifest["run"]["parameters"]["services"])
    return Judged(fleet, shares, measured, offsets, window_s, warnings)


def _addresses(manifest: Mapping, host: str, result: Mapping) -> list[str]:
    """Addresses the host is known by: the one it is probed at, else those it probes from (an address may be a name)."""
    local = (flow.get("local_address") for flow in result.get("flows") or [] if flow.get("local_address"))
    return list(dict.fromkeys([manifest["hosts"][host]["address"], *local]))


def _observed_s(result: Mapping) -> float:
    return (result.get("clock") or {}).get("observed_s") or 0.0


def _run(manifest: Mapping, measured: Mapping[str, Mapping], hosts: list[dict], parameters: Mapping) -> dict:
    run, budget = manifest["run"], manifest["budget"]
    return {
        "id": run["id"],
        "started_at": run["started_at"],
        "finished_at": rows.utc(round(run["ends_at"] * 1e9)),
        "parameters": {**run["parameters"], "grades": dict(parameters["grades"])},
        "versions": run.get("versions") or {},
        "hosts_total": len(hosts),
        "hosts_measured": sum(row["status"] != "not_measured" for row in hosts),
        "probes_sent": sum(flow["sent"] for result in measured.values() for flow in result.get("flows") or []),
        "budget": {
            "host_pps_limit": budget["host_pps_limit"],
            "target_pps_limit": budget["target_pps_limit"],
            "most_sent_pps": max(budget["sent_pps"].values(), default=0),
            "most_received_pps": max(budget["received_pps"].values(), default=0),
        },
    }


def _coincident(blamed: list[blame.Blamed], fleet: standing.Fleet, window_s: float) -> list[dict]:
    entries = []
    for one in blamed:
        stalls = stalls_join.merge((stall.start_ns, stall.end_ns) for stall in one.stalls)
        total_ms = sum(end - start for start, end in stalls) / MS
        entries.append(
            {
                "kind": {"app": "application"}.get(one.kind, one.kind),
                "name": one.name,
                "events": len(stalls),
                "stalled_ms_per_s": round(min(1000.0, total_ms / window_s), 3),
                "because": verdict.coincidence(one, fleet.network, fleet.timeline),
            }
        )
    return sorted(entries, key=lambda entry: (-entry["stalled_ms_per_s"], entry["kind"], entry["name"]))


def _unplaced(stalls: list[stalls_join.Stall]) -> list[str]:
    if not stalls:
        return []
    longest = max(stall.length_ns for stall in stalls) / MS
    return [
        f"Delays that several targets of one source had at once, too few to blame anything for: {len(stalls)}, of up to {longest:.0f} ms."
    ]


def _probers(manifest: Mapping, measured: Mapping[str, Mapping]) -> list[str]:
    """What limited the hosts that probed."""
    late, dropped, omitted, short, said = [], [], [], [], []
    planned_s = manifest["run"]["parameters"]["window_s"]
    for host, result in measured.items():
        lateness = result.get("lateness") or {}
        flows = result.get("flows") or []
        if (lateness.get("p99_us") or 0) > NOTABLE_LATENESS_US:
            late.append(f"{host} ({lateness['p99_us'] / 1000:.0f} ms)")
        if count := sum(flow.get("events_own_lateness") or 0 for flow in flows):
            dropped.append(f"{host} ({count})")
        if count := sum(flow.get("events_omitted") or 0 for flow in flows):
            omitted.append(f"{host} ({count})")
        if _observed_s(result) < SHORT_OBSERVATION * planned_s:
            short.append(f"{host} ({_observed_s(result):.1f} s)")
        said += [f"{host}: {text}" for text in result.get("warnings") or []]
    sentences = {
        "Probers were late themselves, at the 99th percentile by: {}. Short stalls may have been missed.": late,
        "Events that the prober's own lateness explains were dropped: {}.": dropped,
        "More events than can be kept were left out: {}. Raise stall_event_limit.": omitted,
        f"Observed for less than the window of {planned_s:g} s: {{}}.": short,
    }
    return [sentence.format(and_more(hosts, 5)) for sentence, hosts in sentences.items() if hosts] + said
