# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Did it help? Two runs of the same probes side by side, host by host. Pure: manifests and evidence in, verification.json out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import compare, findings, network, rows, stalls_join
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

SCHEMA_VERSION = 1
# What makes two flows the same probe
_PROBE = ("source", "layer", "protocol", "family", "address", "port", "source_port", "interval_ms", "service", "request", "path")


@dataclass(frozen=True)
class Window:
    """One run: its manifest, and host -> observe.json or status.json."""

    manifest: Mapping[str, Any]
    evidence: Mapping[str, Mapping[str, Any]]

    @property
    def id(self) -> str:
        return str(self.manifest["run"]["id"])

    def only(self, wanted: Callable[[Mapping[str, Any]], bool], hosts: Iterable[str]) -> Window:
        """The same window as some of its flows saw it."""
        flows = [flow for flow in self.manifest["flows"] if wanted(flow)]
        names = {*hosts, *(flow[end] for flow in flows for end in ("source", "target"))}
        kept = {name: host for name, host in self.manifest["hosts"].items() if name in names}
        left = {flow["id"] for flow in self.manifest["flows"]} - {flow["id"] for flow in flows}
        evidence = {name: _without(result, left) for name, result in self.evidence.items()}
        return Window({**self.manifest, "flows": flows, "hosts": kept}, evidence)


def _without(result: Mapping[str, Any], numbers: set[int]) -> Mapping[str, Any]:
    """A result that does not speak of these flows; of what makes no sense in it nothing is lost."""
    flows = result.get("flows")
    if not isinstance(flows, list):
        return result
    spoken_of = [flow for flow in flows if not (isinstance(flow, dict) and isinstance(flow.get("id"), int) and flow["id"] in numbers)]
    return {**result, "flows": spoken_of}


@dataclass(frozen=True)
class Seen:
    """A window and what is made of it."""

    window: Window
    judged: findings.Judged

    @property
    def answered(self) -> Mapping[int, network.Flow]:
        return self.judged.fleet.network.flows

    def row(self, host: str) -> dict[str, Any]:
        return rows.row(host, self.judged.shares.of[host], self.judged.fleet)

    def figures(self, host: str) -> dict[str, Any]:
        stalls = rows.stalls_of(host, self.judged.shares.of[host], self.judged.fleet)
        distinct = stalls_join.merge((stall.start_ns, stall.end_ns) for stall in stalls)
        return compare.figures(self.row(host), self.window.id, [(end - start) / stalls_join.MS for start, end in distinct])

    def queues(self, host: str) -> tuple[int | None, set[int]]:
        """How many receive queues the host has, None where that is not known, and which of them the flows are known to reach."""
        reached = {dict(flow.queues).get(host) for flow in self.answered.values() if flow.target == host}
        return self.row(host)["coverage"]["rx_queues_total"], {queue for queue in reached if queue is not None}


def build(first: Window, again: Window, grades: Mapping[str, float]) -> dict[str, Any]:
    """The content of verification.json, without trends.

    Both runs are judged by the flows that were answered in both. A way of probing into a receive queue (where that is not known, a flow)
    that the first had and the second has not makes the verdict ``unknown``.

    :param first: the run that found the fault
    :param again: the run that verifies it, with flows of the first
    :param grades: least stalled ms/s of ``critical`` and ``major``
    :return: ``{schema_version, run, verifies, at, hosts [{host, verdict, sentence, before|null, after|null}], gone {source: because}}``;
        before and after as ``compare.figures`` gives them, without the lengths
    """
    run, numbers = again.manifest["run"], {flow["id"] for flow in again.manifest["flows"]}
    verified = run["verified"]

    def judge(window: Window, wanted: Callable[[Mapping[str, Any]], bool]) -> Seen:
        part = window.only(wanted, verified)
        return Seen(part, findings.judge(part.manifest, part.evidence, {"grades": grades}))

    found = judge(first, lambda flow: flow["id"] in numbers or flow["target"] in verified)
    common = found.answered.keys() & judge(again, lambda flow: True).answered.keys()
    before, after = (judge(window, lambda flow: flow["id"] in common) for window in (first, again))
    return {
        "schema_version": SCHEMA_VERSION,
        "run": again.id,
        "verifies": first.id,
        "at": rows.utc(round(run["ends_at"] * 1e9)),
        "hosts": [_row(host, found, before, after) for host in verified] + not_probed(run["left_out"]),
        "gone": dict(run["gone"]),
    }


def not_probed(left_out: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of hosts that could not be verified; host -> why."""
    return [
        {"host": host, "verdict": compare.UNKNOWN, "sentence": f"Not probed: {because}.", "before": None, "after": None}
        for host, because in left_out.items()
    ]


def _row(host: str, found: Seen, before: Seen, after: Seen) -> dict[str, Any]:
    then, now = before.figures(host), after.figures(host)
    verdict, sentence = compare.verdict(then, now)
    if not_seen := _not_seen(host, found, before, after):
        verdict, sentence = compare.UNKNOWN, f"Not probed as before: {not_seen}."
    if verdict != compare.UNKNOWN and compare.verdict(found.figures(host), then)[0] == compare.BETTER:
        verdict, sentence = compare.UNKNOWN, "The probes that are left saw too little of the stalls before."
    shown = ({key: value for key, value in figures.items() if key != "lengths_ms"} for figures in (then, now))
    return {"host": host, "verdict": verdict, "sentence": sentence, **dict(zip(("before", "after"), shown, strict=True))}


def _not_seen(host: str, found: Seen, before: Seen, after: Seen) -> str:
    """What the first run looked through and the second did not; empty if that is nothing."""
    flows = {flow["id"]: flow for flow in found.window.manifest["flows"]}

    def way(flow: network.Flow) -> tuple[Any, ...]:
        queue = dict(flow.queues).get(host) if flow.target == host else None
        return ("flow", flow.id) if queue is None else (flow.layer, flows[flow.id]["service"], queue)

    kept = {way(flow) for flow in before.answered.values()}
    lost = [
        flow for number, flow in found.answered.items() if host in flow.ends() and number not in before.answered and way(flow) not in kept
    ]
    if lost:
        return and_more(list(dict.fromkeys(_why(flow, after.window) for flow in lost)), 5)
    (total, queues), (total_now, queues_now) = before.queues(host), after.queues(host)
    # With another number of queues a number is another queue, and the flows being the same is all there is to ask for
    if queues_now and total == total_now and (missed := queues - queues_now):
        numbers = and_more([str(queue) for queue in sorted(missed)])
        return f"its card spreads packets in another way now, and none reached receive queue {numbers}"
    return ""


def _why(flow: network.Flow, window: Window) -> str:
    """Why a flow that was answered in the first run was not in the second, which is `window`."""
    status = window.evidence.get(flow.source) or {}
    gone = window.manifest["run"]["gone"].get(flow.source)
    if status.get("status") != "measured":
        gone = gone or str(status.get("reason") or "no result came from it")
    return f"{flow.layer} from {flow.source} ({gone or f'no {flow.protocol} was answered'})"


def probes(manifest: Mapping[str, Any], host: str) -> frozenset[tuple[Any, ...]]:
    """What a host is probed by in a run: equal for two runs whose figures may be put in one line."""
    threshold = manifest["run"]["parameters"]["threshold_ms"]
    return frozenset((threshold, *(flow[key] for key in _PROBE)) for flow in manifest["flows"] if flow["target"] == host)


def trend(host: str, runs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], like: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The host's figures over the runs that used the same probes, oldest first.

    :param runs: manifest and findings of each
    :param like: the manifest whose probes are meant
    :return: ``[{run, at, status, stalled_ms_per_s, ci95, events}]``
    """
    wanted = probes(like, host)
    found = []
    for manifest, told in runs:
        row = next((row for row in told["hosts"] if row["host"] == host), None)
        if row and probes(manifest, host) == wanted:
            measured = {key: row["severity"][key] for key in ("stalled_ms_per_s", "ci95", "events")}
            found.append({"run": manifest["run"]["id"], "at": manifest["run"]["started_at"], "status": row["status"], **measured})
    return sorted(found, key=lambda entry: (entry["at"], entry["run"]))
