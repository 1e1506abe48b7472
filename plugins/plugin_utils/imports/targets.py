# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom each log of probes is of. A directory is of one host, and yet logs of others may lie in it: their addresses tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.fleet.stall.plugins.plugin_utils.imports import suspect
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.logs import PACKETS, PROBES, Log, Logs
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.ways import ADDRESS_LAYERS, View
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable


def settle(logs: Logs, views: Sequence[View], named: str | None) -> tuple[str, list[View], list[str]]:
    """The host that all other logs are of, the views with their targets, and warnings.

    Where logs were sent to several addresses, each address has a row of its own. The host is then the one of the name, else the one whose
    stalls the packet log shows; else it is none of them.

    :param views: ``target`` empty where about.yml does not name it
    :param named: the host, as somebody named it; None: nobody did
    """
    warnings = [_mixed(log) for log in logs.of(PROBES) if len(log.content.addresses) > 1]
    sent_to = _sent_to(logs.of(PROBES))
    found = set(sent_to.values()) or {name for log in logs.of(PROBES) if (name := _name(log))}
    if len(set(sent_to.values())) > 1:
        own = _so_named(logs.of(PROBES), sent_to, named) or _joined(logs, views, sent_to)
        warnings.append(_several(sent_to, own))
    else:
        own = found.pop() if len(found) == 1 else None
    host = named or own or logs.directory
    return host, [replace(view, target=view.target or _target(sent_to.get(view.log, own), own, host)) for view in views], warnings


def _target(sent_to: str | None, own: str | None, host: str) -> str:
    return host if sent_to is None or sent_to == own else sent_to


def _name(log: Log) -> str | None:
    return log.content.name or next(iter(log.content.addresses), None)


def _sent_to(logs: Sequence[Log]) -> dict[str, str]:
    """Log of probes -> whom it was sent to, by one name or address a host.

    Left out: logs without an address, those with a target in about.yml, and those through an overlay or a NodePort, as about.yml or the
    name of the file says: there, the same host has another address.
    """
    names: dict[str, str] = {}
    found = {}
    for log in logs:
        name = _name(log)
        if name and not log.said.target and log.said.layer in (None, *ADDRESS_LAYERS):
            found[log.name] = names.setdefault(next(iter(log.content.addresses), name), name)
    return found


def _so_named(logs: Sequence[Log], sent_to: Mapping[str, str], named: str | None) -> str | None:
    return next((sent_to[log.name] for log in logs if log.name in sent_to and named in (log.content.name, *log.content.addresses)), None)


def _joined(logs: Logs, views: Sequence[View], sent_to: Mapping[str, str]) -> str | None:
    joined = suspect.join((view for view in views if view.log in sent_to), logs.of(PACKETS))
    return sent_to[joined.view.log] if joined else None


def _mixed(log: Log) -> str:
    shown = and_more(list(log.content.addresses), 5)
    return f"{printable(log.name, 80)}: it holds replies of several hosts ({shown}), which are taken for one: give a file for each"


def _several(sent_to: Mapping[str, str], own: str | None) -> str:
    shown = and_more([f"{printable(log, 80)} ({address})" for log, address in sent_to.items()], 8)
    whose = f"those of {printable(own, 60)}" if own else "those of none of them"
    return (
        f"the logs of probes are of several hosts, each with a row of its own: {shown}; all other logs are taken for {whose}; "
        "about.yml may name the host, and the target or the layer of each file"
    )
