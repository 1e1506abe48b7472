# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that lead somewhere else than to the host that has them: back to whoever probes it, or to another host as well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.endpoints import canonical
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

# The variable that says otherwise, by what it is in a host's row
VARIABLES = {"address": "stall_address", "address6": "stall_address6", "overlay_address": "stall_overlay_address"}
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def leads_back(address: Any) -> bool:
    """Whether a probe to this address stays on the machine that sends it: loopback, unspecified, or a name of these."""
    known = canonical(address)
    if known is None:
        name = str(address).lower().rstrip(".")
        return name in _LOCAL_NAMES or name.endswith(".localhost")
    return is_loopback(known) or ip_address(known).is_unspecified


def is_loopback(address: Any) -> bool:
    """Whether it is such an address; a name is none."""
    known = canonical(address)
    return known is not None and ip_address(known).is_loopback


def usable(hosts: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The hosts of a manifest without the addresses by which no other host can reach them, and warnings; a host alone keeps its own.

    A host without an address neither probes nor is probed.
    """
    if len(hosts) < 2:
        return {name: dict(host) for name, host in hosts.items()}, []
    found = {name: _without_local(host) for name, host in hosts.items()}
    lost: dict[tuple[str, str], list[str]] = defaultdict(list)
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in VARIABLES:
        for name, host in found.items():
            if host[key]:
                shared[key, canonical(host[key]) or host[key].lower()].append(name)
            elif hosts[name][key]:
                lost[key, hosts[name][key]].append(name)
    warnings = [
        f"{and_more(names)} {_have(names)} the {_spelled(key)} {printable(address)}, which leads every other host back to itself: "
        f"it is not probed. Set {VARIABLES[key]} for {'each of them' if len(names) > 1 else 'it'}."
        for (key, address), names in lost.items()
    ]
    warnings += [
        f"{and_more(names)} have the {_spelled(key)} {printable(address)} in common: what answers there counts for each of them. "
        f"Set {VARIABLES[key]} for each, or leave all but one out."
        for (key, address), names in shared.items()
        if len(names) > 1
    ]
    return found, warnings


def _without_local(host: Mapping[str, Any]) -> dict[str, Any]:
    found = {**host, **{key: None for key in VARIABLES if host[key] and leads_back(host[key])}}
    if host["address"] and not found["address"]:
        found |= {"source": False, "target": False}
    return found


def _have(names: list[str]) -> str:
    return "have" if len(names) > 1 else "has"


def _spelled(key: str) -> str:
    return "address in the overlay" if key == "overlay_address" else "address"
