# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to open up after the ranking, and what each of those who take part is to do. Pure: findings and manifest in, plans out."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import budget, endpoints, mesh, packet_delta
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

SUSPECT, CONTROL = "suspect", "control"
MOST_ENDPOINTS = 500
STRACE_BYTES = 4_000_000
# Who probes the suspects records when its probes leave: a tcpdump more on each
MOST_TAPS = 16
_OF_CAPTURE = (
    "capture",
    "capture_s",
    "suspects_max",
    "capture_hosts",
    "capture_control",
    "stack_hz",
    "strace_s",
    "slow_call_ms",
    "memory_stat",
    "capture_packets",
    "capture_bytes",
)
_OPENED = ("receiver", "application", "unknown")
_BY_STATUS = ("stalling", "suspect")


@dataclass(frozen=True)
class Choice:
    """`captured`: host -> "suspect" or "control", worst first; `said`: a sentence for each reason why a host is not captured."""

    captured: dict[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def suspects(self) -> list[str]:
        return [host for host, role in self.captured.items() if role == SUSPECT]


def choose(findings: Mapping[str, Any], manifest: Mapping[str, Any], parameters: Mapping[str, Any]) -> Choice:
    """The suspects, worst first, and a clear host as control.

    :param findings: of the first window
    :param manifest: of the first window
    :param parameters: ``{suspects_max, capture_hosts, capture_control, ..}``
    """
    reached = _reached(findings, manifest)
    rows = {row["host"]: row for row in findings["hosts"]}
    if parameters["capture_hosts"]:
        suspects, said = _asked_for(rows, reached, parameters["capture_hosts"])
    else:
        suspects, said = _worst(rows, reached, parameters["suspects_max"])
    captured = dict.fromkeys(suspects, SUSPECT)
    if suspects and parameters["capture_control"]:
        control = _control(rows, reached, manifest, suspects[0], captured)
        if control:
            captured[control] = CONTROL
        else:
            said.append("There is no clear host to compare with: what is ordinary in this fleet is not known.")
    return Choice(captured, said)


def _reached(findings: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Target -> the flows to it whose source measured: these can be sent again."""
    measured = {row["host"] for row in findings["hosts"] if row["status"] != "not_measured"}
    flows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for flow in manifest["flows"]:
        if flow["source"] in measured:
            flows[flow["target"]].append(flow)
    return flows


def _asked_for(rows: Mapping[str, Any], reached: Mapping[str, Any], names: Sequence[str]) -> tuple[list[str], list[str]]:
    wanted = [name for name in dict.fromkeys(names) if name in rows]
    unfit = {name: why for name in wanted if (why := _unfit(rows[name], reached))}
    return [name for name in wanted if name not in unfit], _sentences(unfit)


def _worst(rows: Mapping[str, Any], reached: Mapping[str, Any], most: int) -> tuple[list[str], list[str]]:
    bad = [row for status in _BY_STATUS for row in rows.values() if row["status"] == status]
    unfit = {row["host"]: why for row in bad if (why := _blameless(row) or _unfit(row, reached))}
    unfit |= {row["host"]: "not measured" for row in rows.values() if row["status"] == "not_measured"}
    fit = [row["host"] for row in bad if row["host"] not in unfit]
    unfit |= dict.fromkeys(fit[most:], f"stall_suspects_max is {most}, and others are worse")
    return fit[:most], _sentences(unfit)


def _unfit(row: Mapping[str, Any], reached: Mapping[str, Any]) -> str:
    if row["status"] == "not_measured":
        return "not measured"
    return "" if reached.get(row["host"]) else "no probe can reach it, so that nothing would show when it stalls"


def _blameless(row: Mapping[str, Any]) -> str:
    side = row["blame"]["side"]
    if side == "sender":
        return "it stalls as a sender, and a capture looks at receiving"
    return "" if side in _OPENED else "nothing is held up on it"


def _sentences(unfit: Mapping[str, str]) -> list[str]:
    """One for each reason: a fleet can have hundreds of hosts that are not measured."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, why in unfit.items():
        hosts[why].append(host)
    return [f"Not captured: {and_more(names, 5)} ({why})." for why, names in hosts.items()]


def _control(
    rows: Mapping[str, Any], reached: Mapping[str, Any], manifest: Mapping[str, Any], worst: str, captured: Mapping[str, str]
) -> str | None:
    """The clear host that is most like the worst suspect: inside or outside as it is, of its failure domains, probed as much."""
    hosts, like = manifest["hosts"], manifest["hosts"][worst]

    def distance(name: str) -> tuple[Any, ...]:
        known = hosts[name]
        shared = sum(like["domains"].get(level) == group for level, group in known["domains"].items())
        return known["outside"] != like["outside"], -shared, abs(len(reached[name]) - len(reached[worst])), name

    clear = [name for name, row in rows.items() if row["status"] == "clear" and reached.get(name) and name not in captured]
    return min(clear, key=distance, default=None)


def manifest_of(choice: Choice, first: Mapping[str, Any], findings: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the capture, its times and id apart: the flows of the first manifest that arrive at captured hosts, and their ends.

    :param parameters: as they are now; how stalls are probed and told is that of the first window
    """
    reached = _reached(findings, first)
    flows = sorted((flow for host in choice.captured for flow in reached[host]), key=lambda flow: flow["id"])
    involved = {*choice.captured, *(flow["source"] for flow in flows)}
    used = {**parameters, **first["run"]["parameters"], **{name: parameters[name] for name in _OF_CAPTURE}}
    used |= {"window_s": parameters["capture_s"], "keep_raw": False}
    taps = _taps(choice.captured, flows) if used["capture_packets"] else []
    return {
        "schema_version": mesh.SCHEMA_VERSION,
        "run": {"parameters": used, "captured": choice.captured, "taps": taps},
        "hosts": {name: host for name, host in first["hosts"].items() if name in involved},
        "flows": flows,
        "budget": {
            **first["budget"],
            "sent_pps": budget.per_host(flows, "source"),
            "received_pps": budget.per_host(flows, "target"),
            "reductions": [],
        },
        "warnings": choice.said,
    }


def _taps(captured: Mapping[str, str], flows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that record their packets and nothing else, the busiest first: they probe a suspect, and are not captured themselves."""
    busy = Counter(flow["source"] for flow in flows if _is_recorded(flow, captured) and flow["source"] not in captured)
    return [host for host, _ in sorted(busy.items(), key=lambda item: (-item[1], item[0]))[:MOST_TAPS]]


def _is_recorded(flow: Mapping[str, Any], captured: Mapping[str, str]) -> bool:
    """Whether the packets of the flow are worth recording on both of its ends."""
    return captured.get(flow["target"]) == SUSPECT and flow["source"] != flow["target"] and flow["protocol"] in packet_delta.NUMBERED


def observe_plans(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each host that takes part is to probe. Counters are read on the captured hosts, which may have nothing to probe."""
    flows = defaultdict(list)
    for flow in manifest["flows"]:
        flows[flow["source"]].append(flow)
    plans = {name: mesh.host_plan({**manifest, "flows": flows[name]}, name) for name in manifest["hosts"]}
    for name, plan in plans.items():
        plan["counters"] = plan["counters"] and name in manifest["run"]["captured"]
    return plans


def capture_plans(manifest: Mapping[str, Any], evidence: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is to be captured on each captured host, and of packets on those that probe a suspect: the argument of the capture module.

    :param manifest: of the capture
    :param evidence: host -> what it measured in the first window, for the addresses that its probes really come from
    """
    local = _local_addresses(evidence)
    return {name: _capture_plan(manifest, name, local) for name in (*manifest["run"]["captured"], *manifest["run"]["taps"])}


def _capture_plan(manifest: Mapping[str, Any], host: str, local: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    parameters, known = manifest["run"]["parameters"], manifest["hosts"][host]
    plan = mesh.host_plan({**manifest, "flows": []}, host)
    captured = manifest["run"]["captured"]
    flows = [flow for flow in manifest["flows"] if flow["target"] == host and host in captured]
    packets = [flow for flow in manifest["flows"] if host in (flow["source"], flow["target"]) and _is_recorded(flow, captured)]
    own = (known["address"], known["address6"], known["overlay_address"], *(flow["address"] for flow in flows))
    return {
        **{key: plan[key] for key in ("schema_version", "run", "host", "token", "starts_at", "ends_at", "dispatched_at", "threshold_ms")},
        "addresses": list(dict.fromkeys(address for address in own if address)),
        "flows": [_traced(flow, local) for flow in flows],
        "stack_hz": parameters["stack_hz"],
        "strace_s": parameters["strace_s"],
        "strace_bytes": STRACE_BYTES,
        "slow_call_ms": parameters["slow_call_ms"],
        "memory_stat": parameters["memory_stat"],
        "connections": True,
        "endpoints": _endpoints(parameters["services"], host),
        "packets": [_traced(flow, local) for flow in packets] if parameters["capture_packets"] else [],
        "only_packets": host not in captured,
        "bytes_limit": parameters["capture_bytes"],
    }


def _endpoints(services: Sequence[Mapping[str, Any]], host: str) -> list[list[Any]]:
    """(address, port) where processes of services listen that may run on the host; it knows by itself which of them do."""
    here = [service for service in services if service.get("backend") in (None, host)]
    ends = {end: None for service in here for text in service.get("endpoints") or [] if (end := endpoints.parse(text))}
    return [list(end) for end in ends][:MOST_ENDPOINTS]


def _traced(flow: Mapping[str, Any], local: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    keys = ("id", "source", "protocol", "family", "port", "source_port", "interval_ms")
    return {**{key: flow[key] for key in keys}, "source_address": local.get((flow["source"], flow["id"]))}


def _local_addresses(evidence: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """(source, flow) -> the address that the source sent from."""
    return {
        (source, flow["id"]): flow["local_address"]
        for source, result in evidence.items()
        for flow in result.get("flows") or []
        if _is_address(flow.get("local_address"))
    }


def _is_address(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_address(text))
    except ValueError:
        return False
