# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a remediation is asked for: its variables, the remedies they allow, and the failure domains of the inventory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import domains, remedies, request
from ansible_collections.fleet.stall.plugins.plugin_utils.remedies import Remedy

SPEAKERS = "fleet_stall_waves"
PLAYED = "fleet_stall_remediate"


def parameters(task_vars: Mapping[str, Any], template: Callable[[Any], Any]) -> dict[str, Any]:
    """Raises request.RequestError."""
    values, errors = request.read_parameters(task_vars, template)
    if task_vars.get("ansible_limit"):
        errors.append("--limit is set: a plan says itself which hosts it is for. Leave it out, and take hosts out of the plan instead.")
    request.refuse(errors)
    return values


def allowed(values: Mapping[str, Any]) -> dict[str, Remedy]:
    """Raises remedies.RemedyError."""
    return remedies.allowed(remedies.load(values["remedy_dirs"]), values["remedies"])


def in_service(plan: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], driver: str) -> list[str]:
    """Hosts of a plan that would have to be drained for a step, and are not, since they have no driver for it.

    :param driver: stall_drain_driver of hosts that set no other
    """
    drained = (row["host"] for row in plan["hosts"] if any(step["drain"] for step in row["steps"]))
    known = {host: hostvars.get(host, {}).get("stall_drain_driver", driver) for host in drained}
    return [host for host, of_host in known.items() if of_host == "none"]


def fleet(groups: Mapping[str, Iterable[str]], patterns: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Host of the inventory -> level -> group; the campaign's own hosts are none of the fleet."""
    own = set(groups.get(SPEAKERS, ()))
    groups_of: dict[str, list[str]] = {host: [] for host in groups.get("all", ()) if host not in own}
    for group, hosts in groups.items():
        for host in hosts:
            if host in groups_of:
                groups_of[host].append(group)
    return {host: domains.of_host(names, patterns) for host, names in groups_of.items()}
