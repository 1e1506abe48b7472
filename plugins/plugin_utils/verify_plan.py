# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to probe again, and by whom: the flows of an earlier run that saw a host. Pure: findings, manifest and inventory in, plans out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import budget, mesh
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

ADDRESSES = ("address", "address6", "overlay_address")


@dataclass(frozen=True)
class Choice:
    """`hosts`: those to verify, worst first; `left_out`: host -> why it can't be; `gone`: source -> why it can't probe."""

    hosts: list[str]
    left_out: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)


def choose(
    findings: Mapping[str, Any], first: Mapping[str, Any], inventory: Mapping[str, Mapping[str, Any]], asked: Sequence[str], within: bool
) -> Choice:
    """The hosts that stalled, or those asked for, as far as the probes of that run can be sent again.

    :param findings: of the run that found the fault
    :param first: manifest of that run
    :param inventory: host -> ``{address, address6, overlay_address, in_limit, ..}`` as it is now
    :param asked: hosts; empty for those that stalled
    :param within: only hosts of the play can probe (``in_limit``); else they are delegated to
    """
    wanted = list(dict.fromkeys(asked)) or [row["host"] for row in findings["hosts"] if row["status"] == "stalling"]
    involved = {flow["source"] for flow in _flows(first, _known(wanted, first), findings)}
    gone = {name: why for name in sorted(involved) if (why := _gone(name, first, inventory, within))}
    left_out = {name: why for name in wanted if (why := _unfit(name, first, findings, inventory, gone))}
    return Choice([name for name in wanted if name not in left_out], left_out, gone)


def _known(names: Sequence[str], first: Mapping[str, Any]) -> list[str]:
    return [name for name in names if name in first["hosts"]]


def _flows(first: Mapping[str, Any], hosts: Sequence[str], findings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that arrive at the hosts; of one that stalls as a sender those that leave it, since they are what saw it."""
    wanted = set(hosts)
    senders = {row["host"] for row in findings["hosts"] if row["blame"]["side"] == "sender"} & wanted
    return [flow for flow in first["flows"] if flow["target"] in wanted or flow["source"] in senders]


def _gone(name: str, first: Mapping[str, Any], inventory: Mapping[str, Mapping[str, Any]], within: bool) -> str:
    """Why a host can't send the probes it sent."""
    known = inventory.get(name)
    if known is None:
        return "it is no host of stall_hosts any more"
    if within and not known["in_limit"]:
        return "outside --limit"
    return _moved(first["hosts"][name], known)


def _moved(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Probes of an address that is another host's now would tell of that one."""
    for key in ADDRESSES:
        # One that the inventory leaves open may have come from the cluster
        if now.get(key) and now[key] != then.get(key):
            return f"its {key} was {printable(then.get(key) or 'none')} in that run and is {printable(now[key])} now"
    return ""


def _unfit(
    name: str,
    first: Mapping[str, Any],
    findings: Mapping[str, Any],
    inventory: Mapping[str, Mapping[str, Any]],
    gone: Mapping[str, str],
) -> str:
    """Why a host can't be verified."""
    if name not in first["hosts"]:
        return "it was not part of that run"
    if name not in inventory:
        return "it is no host of stall_hosts any more"
    if moved := _moved(first["hosts"][name], inventory[name]):
        return f"{moved}: it is another to the probes, so make a new diagnosis"
    sources = {flow["source"] for flow in _flows(first, [name], findings)}
    if not sources:
        return "nobody probed it in that run"
    if sources <= gone.keys():
        return f"all that probed it are gone ({_listed({source: gone[source] for source in sorted(sources)})})"
    return ""


def _listed(gone: Mapping[str, str]) -> str:
    return and_more([f"{name}: {why}" for name, why in gone.items()], 5)


def manifest_of(choice: Choice, first: Mapping[str, Any], findings: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the verifying run, its id and times apart: the flows of the first, with their numbers and ports, as far as their
    source is there, and their ends.

    :param parameters: as they are now; all that the first run had is as it was there
    """
    flows = [flow for flow in _flows(first, choice.hosts, findings) if flow["source"] not in choice.gone]
    involved = {*choice.hosts, *(flow["source"] for flow in flows)}
    targets = set(choice.hosts)
    return {
        "schema_version": mesh.SCHEMA_VERSION,
        "run": {
            "parameters": {**parameters, **first["run"]["parameters"], "keep_raw": False},
            "verifies": first["run"]["id"],
            "verified": choice.hosts,
            "left_out": choice.left_out,
            "gone": choice.gone,
        },
        "hosts": {name: {**host, "in_limit": True, "target": name in targets} for name, host in first["hosts"].items() if name in involved},
        "flows": flows,
        "budget": {
            **first["budget"],
            "sent_pps": budget.per_host(flows, "source"),
            "received_pps": budget.per_host(flows, "target"),
            "reductions": [],
        },
        "warnings": [f"Does not probe any more: {_listed(choice.gone)}."] if choice.gone else [],
    }


def observe_plans(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each host that takes part is to do; one that is verified has its counters read, even if it probes nobody."""
    flows = defaultdict(list)
    for flow in manifest["flows"]:
        flows[flow["source"]].append(flow)
    plans = {name: mesh.host_plan({**manifest, "flows": flows[name]}, name) for name in manifest["hosts"]}
    for name, plan in plans.items():
        plan["counters"] = plan["counters"] and name in manifest["run"]["verified"]
    return plans


def shares(participants: Sequence[str], acting: Sequence[str]) -> dict[str, list[str]]:
    """Who has whose observer started: each its own, the rest spread evenly over those that act.

    :param acting: hosts of the play, which delegate to the others; empty: each participant acts for itself
    """
    if not acting:
        return {name: [name] for name in participants}
    found: dict[str, list[str]] = {name: [name] if name in participants else [] for name in acting}
    for name in participants:
        if name not in found:
            min(found.values(), key=len).append(name)
    return found
