# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node of the cluster a host is, for who is about to drain it: exactly one, by the rules of node_match.py, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import kubernetes_objects as objects
from ansible_collections.fleet.stall.plugins.plugin_utils.node_match import match
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class NodeError(Exception):
    """It can't be told which node the host is; the message names the remedy."""


def node_of(nodes: Iterable[Any], hosts: Mapping[str, Mapping[str, Any]], host: str) -> str:
    """The name of the node.

    :param nodes: as the API lists them
    :param hosts: every host of the inventory, ``{address, address6}`` each: what is only like this host may be another's
    :raises NodeError:
    """
    known = [node for item in nodes if (node := objects.node(item)) is not None]
    matched, _sentences = match(known, hosts, [host])
    names = [node for node, found in matched.items() if found == host]
    if len(names) != 1:
        raise NodeError(
            f"none of the {len(known)} nodes of the cluster is this host alone, by its address or its name. Remedy: set stall_node_name to "
            f"the name of its node, or stall_address of {printable(host)} to the node's InternalIP."
        )
    return names[0]
