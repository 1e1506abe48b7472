# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rolling kernel upgrade as a plan of remediation: one step for each host that does not run the wanted kernel yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.remedies import Remedy
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

REMEDY = "kernel_upgrade"
SCHEMA_VERSION = 1


@dataclass
class Choice:
    """`hosts`: ``{host, steps, stalled_ms_per_s, side}``, worst first; `left_out`: ``{host, because}``; `down`: not reached.

    `kernels`: the hosts of kernels.json, which tells the report of those that nothing is to be done about as well.
    """

    hosts: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    kernels: dict[str, dict[str, Any]] = field(default_factory=dict)


def choose(looks: Mapping[str, Mapping[str, Any]], findings: Mapping[str, Any], remedy: Remedy) -> Choice:
    """
    :param looks: by host, what fleet.stall.kernel_facts answered, or how its task failed
    :param findings: of the run before the upgrade
    """
    rows = {row["host"]: row for row in findings["hosts"]}
    choice = Choice()
    for host in _worst_first(looks, rows):
        look = looks[host]
        because = _against(look)
        choice.kernels[host] = _kernel(look, because)
        if because:
            choice.left_out.append({"host": host, "because": because})
            if look.get("unreachable"):
                choice.down.append(host)
        elif look["left"]:
            row = rows.get(host) or {}
            severity, blame = row.get("severity") or {}, row.get("blame") or {}
            # What is only suspected to stall can't be seen to do better.
            rate = None if row.get("status") == "suspect" else severity.get("stalled_ms_per_s")
            rates = {"stalled_ms_per_s": rate, "side": blame.get("side")}
            choice.hosts.append({"host": host, **rates, "steps": [_step(look, remedy)]})
    return choice


def _worst_first(looks: Mapping[str, Any], rows: Mapping[str, Any]) -> Sequence[str]:
    """As the findings have them; those they do not have come last, by name."""
    return [host for host in rows if host in looks] + sorted(host for host in looks if host not in rows)


def _against(look: Mapping[str, Any]) -> str:
    """Why nothing is done about a host; empty if something is, or nothing is left to do."""
    if look.get("unreachable") or look.get("failed") or "left" not in look:
        return f"its kernels could not be read: {printable(look.get('msg') or 'it gave no answer', 300)}"
    return "; ".join(f"{printable(row['what'], 300)} ({printable(row['remedy'], 200)})" for row in look["refused"])


def _kernel(look: Mapping[str, Any], because: str) -> dict[str, Any]:
    host, target = look.get("host") or {}, look.get("target") or {}
    boot = host.get("boot") or {}
    named = {"running": host.get("running"), "default": boot.get("default"), "target": target.get("release")}
    return {**named, "left": list(look.get("left") or []), "because": because or None}


def _step(look: Mapping[str, Any], remedy: Remedy) -> dict[str, Any]:
    row, host, target = remedy.row, look["host"], look["target"]
    # The very version that was looked at: what the canary proves must be what the others get.
    kernel = "=".join(part for part in (target["package"], target["version"]) if part)
    return {
        "remedy": remedy.name,
        "causes": [],
        "because": f"it runs {printable(host['running'], 100)}, and {printable(target['release'], 100)} is wanted ({kernel})",
        "expect": " ".join(row["expect"].split()),
        "risk": row["risk"],
        "undo": row["undo"],
        "temporary": row["temporary"],
        "drain": row["drain"],
        "parameters": {"kernel": kernel},
    }


def kernels(run: str, asked: str, at: str, choice: Choice) -> dict[str, Any]:
    """The content of kernels.json: ``{schema_version, run, asked, at, hosts {name: {running, default, target, left, because|null}}}``."""
    return {"schema_version": SCHEMA_VERSION, "run": run, "asked": asked, "at": at, "hosts": choice.kernels}
