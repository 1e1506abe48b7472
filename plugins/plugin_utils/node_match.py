# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host of the inventory is which node of the cluster: by address, else by name, never by a guess between two."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_objects import Node
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

_SHOWN = 5


def match(nodes: Sequence[Node], hosts: Mapping[str, Mapping[str, Any]], members: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Node -> host, and a sentence for each kind of node or host that is left.

    :param hosts: name -> ``{address, address6}``
    :param members: hosts that should be nodes
    """
    index = _Index(hosts)
    claims: dict[str, list[str]] = defaultdict(list)
    unknown, unclear = [], []
    for node in sorted(nodes, key=lambda node: node.name):
        found, several = index.find(node)
        if found:
            claims[found].append(node.name)
        elif several:
            unclear.append(f"{printable(node.name)} ({and_more(sorted(several), 3)})")
        else:
            unknown.append(node.name)
    unclear += [f"{printable(host)} ({and_more(names, 3)})" for host, names in sorted(claims.items()) if len(names) > 1]
    matched = {names[0]: host for host, names in claims.items() if len(names) == 1}
    missing = sorted(set(members) - set(claims))
    sentences = {
        "Nodes of Kubernetes that no host of the inventory matches: {}. Add them, or set stall_address to their InternalIP.": unknown,
        "Hosts that no node of Kubernetes matches: {}. Set stall_address to their InternalIP, or take them out of the group.": missing,
        "Nodes and hosts that match more than one of each other are left out: {}. Set a stall_address of its own for each.": unclear,
    }
    return matched, [sentence.format(and_more(names, _SHOWN)) for sentence, names in sentences.items() if names]


class _Index:
    """Hosts by address, by name and by the first part of their name."""

    def __init__(self, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        self._by_address: dict[str, set[str]] = defaultdict(set)
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._by_short: dict[str, set[str]] = defaultdict(set)
        for name, host in hosts.items():
            for known in (name, host.get("address"), host.get("address6")):
                if not known:
                    continue
                if address := _normal(known):
                    self._by_address[address].add(name)
                else:
                    self._by_name[known.lower()].add(name)
                    self._by_short[_first_part(known)].add(name)

    def find(self, node: Node) -> tuple[str | None, set[str]]:
        """The one host that the strongest telling mark names; else those that share a mark."""
        names = [node.name, *node.of("Hostname", "InternalDNS", "ExternalDNS")]
        marks = (
            (self._by_address, [_normal(address) for address in node.of("InternalIP", "Hostname")]),
            (self._by_name, [name.lower() for name in names]),
            (self._by_address, [_normal(address) for address in node.of("ExternalIP")]),
            (self._by_short, [_first_part(name) for name in names]),
        )
        shared: set[str] = set()
        for table, keys in marks:
            found = set().union(*(table.get(key, set()) for key in keys if key))
            if len(found) == 1:
                return found.pop(), set()
            shared |= found
        return None, shared


def _normal(text: str) -> str | None:
    """An address in its one spelling; None for a name."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _first_part(name: str) -> str:
    return name.lower().partition(".")[0]
