# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is to be done with which host to the plan of a remediation (docs/plan.schema.json). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import schema, waves
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_check import stamp
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_file import SCHEMA, plain
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

SCHEMA_VERSION = 1
_VARIABLES = {"per_domain": "limits", "windows": "maintenance"}
_OF_THE_MOMENT = ("plan", "made_at", "valid_until")


def limits(parameters: Mapping[str, Any], domains: waves.Domains) -> dict[str, Any]:
    """
    :param parameters: of the role plan_remedies
    :param domains: of every host of the fleet; a level that none has is left out
    """
    return {
        "canary": parameters["canary"],
        "canary_better": parameters["canary_better"],
        "per_domain": _present(parameters["limits"], domains),
        "failures_most": parameters["failures_most"],
        "soak_s": parameters["soak_s"],
        "windows": parameters["maintenance"],
        "breaker": parameters["breaker"],
    }


def _present(per_domain: Mapping[str, Any], domains: waves.Domains) -> dict[str, int | str]:
    levels = {waves.FLEET, *(level for groups in domains.values() for level in groups)}
    # A number given on the command line is text.
    return {level: int(limit) if str(limit).isdecimal() else limit for level, limit in per_domain.items() if level in levels}


def wrong_limits(parameters: Mapping[str, Any], domains: waves.Domains) -> list[str]:
    """A sentence for each thing that is wrong with the variables of the limits."""
    levels = [waves.FLEET, *parameters["domains"]]
    wrong = [
        f"stall_limits.{printable(level, 40)}: is no level of failure domains: there are {', '.join(levels)}"
        for level in parameters["limits"]
        if level not in levels
    ]
    form = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for sentence in schema.errors(limits(parameters, domains), {"$ref": "#/$defs/limits", "$defs": form["$defs"]}):
        key = re.split(r"\W", sentence, maxsplit=1)[0]
        wrong.append(f"stall_{_VARIABLES.get(key, key)}{sentence.removeprefix(key)}")
    return wrong


def build(
    name: str,
    run: str,
    now: datetime,
    found_at: datetime,
    hosts: Sequence[Mapping[str, Any]],
    left_out: Sequence[Mapping[str, str]],
    down: Collection[str],
    domains: waves.Domains,
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """
    :param name: id of the plan
    :param run: id of the run that it is from
    :param found_at: when that run ended
    :param hosts: in the order of their need, ``{host, steps}`` each, and where it is known ``boot_id, stalled_ms_per_s, side``
    :param left_out: ``{host, because}`` each; hosts that no wave has room for come on top
    :param down: hosts that are down now
    :param domains: of every host of the fleet
    """
    bounds = limits(parameters, domains)
    order = [row["host"] for row in hosts]
    planned, refused = waves.plan(order, bounds["canary"], waves.Limits.of(bounds["per_domain"], domains, down))
    no_room = [{"host": host, "because": f"no wave has room for it: {why}"} for host, why in refused.items()]
    return {
        "schema_version": SCHEMA_VERSION,
        "plan": name,
        "run": run,
        "made_at": stamp(now),
        "valid_until": stamp(found_at + timedelta(hours=parameters["plan_valid_h"])),
        "limits": bounds,
        "down": sorted(down),
        "hosts": [_planned(row, domains, parameters) for row in hosts if row["host"] not in refused],
        "waves": planned,
        "left_out": [{"host": row["host"], "because": plain(row["because"])} for row in (*left_out, *no_room)],
    }


def _planned(row: Mapping[str, Any], domains: waves.Domains, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "host": row["host"],
        "boot_id": row.get("boot_id"),
        "domains": dict(domains.get(row["host"], {})),
        "stalled_ms_per_s": row.get("stalled_ms_per_s"),
        "side": row.get("side"),
        "escalate": parameters["escalate"],
        "steps": [{**step, "because": plain(step["because"]), "expect": plain(step["expect"])} for step in row["steps"]],
    }


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two plans do the same, whenever they were made."""
    keys = {*one, *other} - {*_OF_THE_MOMENT}
    return all(one.get(key) == other.get(key) for key in keys)
