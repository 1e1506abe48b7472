# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory as the mesh needs it: which hosts are asked for, how they are reached, and what of that can't be used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager, split_host_pattern
from ansible.parsing.dataloader import DataLoader

from ansible_collections.fleet.stall.plugins.plugin_utils import parameters as parameters_module
from ansible_collections.fleet.stall.plugins.plugin_utils import rundir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

HOST_VARIABLES = ("stall_address", "stall_address6", "stall_overlay_address", "stall_tcp_port")
# Variables of ours that are neither a parameter nor a host's: the playbook's own.
_OWN_VARIABLES = (
    "stall_plan",
    "stall_capture_plan",
    "stall_verify_plan",
    "stall_verified",
    "stall_wave",
    "stall_campaign",
    "stall_campaign_dir",
)
_ADDRESS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:%-]*[A-Za-z0-9_])?|::[A-Fa-f0-9.:]*")


class Patterns:
    """Inventory patterns over `groups` (group name -> host names, the magic variable), with Ansible's own matcher."""

    def __init__(self, groups: Mapping[str, Iterable[str]], loader: DataLoader) -> None:
        self.groups = {name: list(hosts) for name, hosts in groups.items()}
        self._manager = InventoryManager(loader, parse=False)
        for group, hosts in self.groups.items():
            self._manager.add_group(group)
            for host in hosts:
                self._manager.add_host(host, group=group)
        self.hosts = list(self.groups.get("all", []))

    def select(self, variable: str, pattern: str) -> tuple[set[str], list[str]]:
        """The hosts that match, and a sentence for each term that matches nothing (a typing error would else pass unseen)."""
        known = set(self.hosts)
        try:
            terms = split_host_pattern(pattern)
            unknown = [term for term in terms if not known & self._match(term.lstrip("!&"))]
            if unknown:
                return set(), [self.nothing(variable, pattern, unknown)]
            selected = known & self._match(pattern)
        except (AnsibleError, re.error) as error:
            return set(), [f"{variable} is '{printable(pattern)}': it is not an inventory pattern ({printable(error)})."]
        if not selected:
            return set(), [f"{variable} is '{printable(pattern)}': it leaves no host. Give a pattern that matches at least one."]
        return selected, []

    def _match(self, pattern: str) -> set[str]:
        return {host.name for host in self._manager.get_hosts(pattern)}

    def nothing(self, variable: str, pattern: str, unknown: list[str]) -> str:
        names = [name for name in self.groups if name not in ("all", "ungrouped")]
        near = [name for term in unknown for name in difflib.get_close_matches(term.lstrip("!&"), [*names, *self.hosts], n=1)]
        remedy = f"Did you mean {and_more(near)}?" if near else f"Groups there are: {and_more(sorted(names)) or 'none'}."
        return f"{variable} is '{printable(pattern)}': no host or group of the inventory matches {and_more(unknown)}. {remedy}"


def unknown_variables(names: Iterable[str]) -> list[str]:
    """A warning for each variable that looks like one of ours and is none."""
    known = {*parameters_module.specs(), *HOST_VARIABLES, *_OWN_VARIABLES}
    warnings = []
    for name in sorted(str(name) for name in names):
        if name.startswith(parameters_module.PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            warnings.append(
                f"{printable(name)} is not a variable of fleet.stall and has no effect." + (f" Did you mean {near[0]}?" if near else "")
            )
    return warnings


def check_names(parameters: dict[str, Any], patterns: Patterns) -> tuple[dict[str, set[str]], list[str]]:
    """Hosts, sources and targets by the patterns, and a sentence for each name in the parameters that the inventory does not have."""
    if not patterns.hosts:
        return {}, ["the inventory has no hosts: name one with -i, for example -i inventories/example."]
    selected: dict[str, set[str]] = {}
    errors: list[str] = []
    for key in ("hosts", "sources", "targets"):
        selected[key], wrong = patterns.select(f"stall_{key}", parameters[key])
        errors += wrong
    if not errors:
        errors += _leaves_none(selected, parameters)
    defaults = parameters_module.specs()
    for key in ("outside_group", "node_group"):
        # The default group may be absent: not every fleet has one.
        if parameters[key] not in patterns.groups and parameters[key] != defaults[f"stall_{key}"]["default"]:
            errors.append(patterns.nothing(f"stall_{key}", parameters[key], [parameters[key]]))
    known = selected["hosts"]
    for name in parameters["capture_hosts"]:
        if known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f" Did you mean {printable(near[0])}?" if near else ""
            errors.append(f"stall_capture_hosts names '{printable(name)}': no host of stall_hosts is called so.{remedy}")
    for service in parameters["services"]:
        for key in ("target", "backend"):
            if service[key] is not None and known and service[key] not in known:
                name = printable(service["name"])
                errors.append(f"stall_services: '{name}' has {key} '{printable(service[key])}': no host of stall_hosts is called so.")
    return selected, errors


def _leaves_none(selected: dict[str, set[str]], parameters: dict[str, Any]) -> Iterable[str]:
    for key in ("sources", "targets"):
        selected[key] &= selected["hosts"]
        if not selected[key]:
            yield (
                f"stall_{key} is '{printable(parameters[key])}': none of its hosts is in stall_hosts '{printable(parameters['hosts'])}'. "
                "Widen one of the two."
            )


def hosts(
    selected: dict[str, set[str]],
    patterns: Patterns,
    in_limit: set[str],
    variable: Callable[[str, str], Any],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What mesh.build wants to know of each host, and warnings. `variable(host, name)` is a host's variable, None if it is not set.

    A host whose address can't be used keeps its row: it has counters, and is neither probed nor sends a probe.
    """
    groups_of: dict[str, list[str]] = {name: [] for name in selected["hosts"]}
    for group, members in patterns.groups.items():
        if group not in ("all", "ungrouped"):
            for name in members:
                if name in groups_of:
                    groups_of[name].append(group)
    found: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    for name in (name for name in patterns.hosts if name in groups_of):
        described, wrong = host(name, variable)
        described.update(
            slug=rundir.slug(name),
            groups=sorted(groups_of[name]),
            in_limit=name in in_limit,
            source=name in selected["sources"] and described["address"] is not None,
            target=name in selected["targets"] and described["address"] is not None,
        )
        found[name] = described
        warnings += wrong
    return found, warnings


def host(name: str, variable: Callable[[str, str], Any]) -> tuple[dict[str, Any], list[str]]:
    """``{address, address6, overlay_address, tcp_port}`` of a host, and a warning for each of them that can't be used."""
    warnings = []
    addresses: dict[str, str | None] = {}
    wanted = {
        "address": (variable(name, "stall_address") or variable(name, "ansible_host") or name, "stall_address"),
        "address6": (variable(name, "stall_address6"), "stall_address6"),
        "overlay_address": (variable(name, "stall_overlay_address"), "stall_overlay_address"),
    }
    for key, (value, remedy) in wanted.items():
        usable = value is None or (isinstance(value, str) and len(value) <= 253 and _ADDRESS.fullmatch(value))
        addresses[key] = str(value) if value is not None and usable else None
        if not usable:
            warnings.append(f"{printable(name)} has {key} '{printable(value)}', which is no address or host name: set {remedy} for it.")
    port = variable(name, "stall_tcp_port") or variable(name, "ansible_port") or 22
    if not (str(port).isdecimal() and 1 <= int(port) <= 65535):
        warnings.append(f"{printable(name)} has TCP port '{printable(port)}', which is none: 22 is probed. Set stall_tcp_port for it.")
        port = 22
    return {**addresses, "tcp_port": int(port)}, warnings
