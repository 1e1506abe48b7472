# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe mesh: who probes whom, over which layers, how often. Pure: inventory and parameters in, manifest out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ansible_collections.fleet.stall.plugins.plugin_utils import addresses, budget, domains, mesh_flows, rendezvous
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

SCHEMA_VERSION = 1
FIRST_PORT, PORTS = 33000, 28000
# Coprime to PORTS, so that the ports of one source differ, and far apart, so that they spread over receive queues
PORT_STRIDE = 10007


def build(hosts: Mapping[str, Mapping], parameters: Mapping, run: Mapping) -> dict:
    """The manifest of a run.

    :param hosts: name -> ``{slug, groups, address, address6?, overlay_address?, tcp_port? (22), node?, in_limit?, source?, target?}``
        (these three true unless said); ``source`` and ``target``: the host matches ``stall_sources`` and ``stall_targets``; ``node``:
        whether the cluster has it as a node, None where that was not asked
    :param parameters: validated parameters of the observe role, without their ``stall_`` prefix
    :param run: ``{id, started_at, starts_at, ends_at, versions}``
    :return: manifest.json as described in docs/ARCHITECTURE.md; equal input gives an equal manifest, whatever the order of the hosts
    :raises ValueError: nothing can be probed; the text says which parameter to change
    """
    described, warnings = addresses.usable({name: _describe(hosts[name], parameters) for name in sorted(hosts)})
    targets = [name for name, host in described.items() if host["target"] and host["in_limit"]]
    sources = [name for name, host in described.items() if host["source"] and host["in_limit"]]
    try:
        _require(described, targets, sources, parameters)
    except ValueError as error:
        raise ValueError(". ".join([str(error), *warnings])) from None
    outside = {name for name, host in described.items() if host["outside"]}
    if len(described) == 1:
        # A machine alone still has a kernel to stall: it probes itself
        chosen = {name: [name] for name in targets}
    else:
        levels = list(parameters["domains"])
        chosen = rendezvous.choose(described, targets, sources, outside, parameters["sources_per_target"], levels, parameters["seed"])
    ports = {name: host.get("tcp_port") or 22 for name, host in hosts.items()}
    planned = [flow for target in targets for flow in mesh_flows.flows_to(target, chosen[target], described, ports, parameters)]
    if not planned:
        raise ValueError(
            f"no flow to probe: none of the layers {', '.join(parameters['layers'])} applies to the targets; "
            "check stall_layers, stall_protocols, stall_families and the addresses"
        )
    flows, reductions = budget.enforce(planned, parameters["budget_host_pps"], parameters["budget_target_pps"])
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {**run, "parameters": dict(parameters)},
        "hosts": described,
        "flows": _numbered(flows, parameters["seed"]),
        "budget": {
            "host_pps_limit": parameters["budget_host_pps"],
            "target_pps_limit": parameters["budget_target_pps"],
            "sent_pps": budget.per_host(flows, "source"),
            "received_pps": budget.per_host(flows, "target"),
            "reductions": reductions,
        },
        "warnings": warnings + _warnings(described, targets, flows, parameters),
    }


def host_plan(manifest: Mapping, host: str) -> dict:
    """What one host is to do: the argument of the observe module. ``dispatched_at`` is null until the action sends it.

    :raises ValueError: the host is not in the manifest
    """
    if host not in manifest["hosts"]:
        raise ValueError(f"{host} is not a host of run {manifest['run']['id']}")
    run, parameters = manifest["run"], manifest["run"]["parameters"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run["id"],
        "host": host,
        "token": rendezvous.number("token", str(run["id"])) >> 32,
        "starts_at": run["starts_at"],
        "ends_at": run["ends_at"],
        "dispatched_at": None,
        "threshold_ms": parameters["threshold_ms"],
        "reply_timeout_ms": parameters["reply_timeout_ms"],
        "budget_pps": parameters["budget_host_pps"],
        "seed": rendezvous.number(parameters["seed"], str(run["id"]), host) >> 32,
        "keep_raw": parameters["keep_raw"],
        "counters": parameters["counters"],
        "event_limit": parameters["event_limit"],
        "flows": [
            {key: value for key, value in flow.items() if key != "components"} for flow in manifest["flows"] if flow["source"] == host
        ],
    }


def _describe(host: Mapping, parameters: Mapping) -> dict:
    groups = sorted(host["groups"])
    return {
        "slug": host["slug"],
        "groups": groups,
        "domains": domains.of_host(groups, parameters["domains"]),
        "address": host.get("address") or None,
        "address6": host.get("address6") or None,
        "overlay_address": host.get("overlay_address") or None,
        "outside": parameters["outside_group"] in groups,
        "node": host.get("node"),
        "in_limit": bool(host.get("in_limit", True)),
        "source": bool(host.get("source", True)),
        "target": bool(host.get("target", True)),
    }


def _require(hosts: Mapping, targets: Sequence[str], sources: Sequence[str], parameters: Mapping) -> None:
    if not hosts:
        raise ValueError("the inventory has no host to probe: check -i and stall_hosts")
    if not targets:
        raise ValueError("no host matches stall_targets (within stall_hosts and --limit): nothing to probe")
    if not sources:
        raise ValueError("no host matches stall_sources (within stall_hosts and --limit): nobody to probe from")
    if len(hosts) > 1 and len(set(targets) | set(sources)) == 1:
        raise ValueError(
            f"{targets[0]} is the only source and the only target: a probe needs a source other than its target; "
            "widen stall_sources, stall_targets or --limit"
        )
    for service in parameters["services"]:
        for key in ("backend", "target"):
            if service.get(key) and service[key] not in hosts:
                raise ValueError(f"stall_services: {key} {service[key]!r} of service {service.get('name')!r} is not a host of this run")


def _numbered(flows: Sequence[dict], seed: str) -> list[dict]:
    """Flows with their id and, where the prober chooses it, a source port that no other flow of that source has."""
    used: dict[str, int] = defaultdict(int)
    first: dict[str, int] = {}
    numbered = []
    for number, flow in enumerate(flows, 1):
        source, port = flow["source"], None
        if flow["protocol"] in ("tcp_syn", "tcp_connect"):
            if used[source] >= PORTS:
                raise ValueError(
                    f"{source} would need more than {PORTS} source ports: lower stall_source_ports or stall_sources_per_target"
                )
            if source not in first:
                first[source] = rendezvous.number(seed, "ports", source) % PORTS
            port = FIRST_PORT + (first[source] + used[source] * PORT_STRIDE) % PORTS
            used[source] += 1
        kept = {key: value for key, value in flow.items() if key != "nth"}
        numbered.append({"id": number, **kept, "source_port": port})
    return numbered


def _warnings(hosts: Mapping, targets: Sequence[str], flows: Sequence[Mapping], parameters: Mapping) -> list[str]:
    found = []
    if len(hosts) == 1:
        found.append(f"{targets[0]} is the only host and probes itself: this shows its own kernel, neither a network card nor a path.")
    for name, host in hosts.items():
        for level, pattern in parameters["domains"].items():
            groups = domains.matching(host["groups"], pattern)
            if len(groups) > 1:
                found.append(f"{name} is in several groups for {level} ({', '.join(groups)}): {groups[0]} is used.")
    reached = {flow["target"] for flow in flows}
    if missed := [name for name in targets if name not in reached]:
        families = " or ".join(f"IPv{family}" for family in parameters["families"])
        found.append(f"No other host can probe {and_more(missed)}: no source left, or no {families} address in common.")
    longest: dict[str, float] = {}
    for flow in flows:
        longest[flow["source"]] = max(longest.get(flow["source"], 0), flow["interval_ms"])
    if slow := sorted(name for name, interval in longest.items() if interval > parameters["window_s"] * 100):
        found.append(
            f"Probes of {and_more(slow)} are too far apart for this window (less than ten per flow): raise the budget or stall_window_s."
        )
    return found
