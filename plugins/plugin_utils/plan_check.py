# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a schema cannot say of a plan: whether it fits the fleet, the remedies and itself. Pure; a sentence for each thing that is wrong."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import waves, windows
from ansible_collections.fleet.stall.plugins.plugin_utils.remedies import Remedy
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable


def moment(text: str) -> datetime:
    """Raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def stamp(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def wrong(plan: Mapping[str, Any], remedies: Mapping[str, Remedy], domains: waves.Domains) -> list[str]:
    """
    :param plan: one that fits docs/plan.schema.json
    :param remedies: those on the allow-list
    :param domains: of every host of the inventory
    """
    found = [*_times(plan), *_limits(plan, domains), *_hosts(plan, domains), *_steps(plan, remedies)]
    # How many are away at once can only be told of hosts that are known.
    return found or list(_sizes(plan, domains))


def expired(plan: Mapping[str, Any], now: datetime) -> str:
    """Why its findings may not be acted on any more."""
    if now <= moment(plan["valid_until"]):
        return ""
    return f"the plan was valid until {plan['valid_until']}: what was found then may be gone. Diagnose again, and make a new plan"


def rebooted(planned: Mapping[str, Any], boot_id: str | None, own: Collection[str] = ()) -> str:
    """Why the plan is not for this boot of the host.

    :param boot_id: of the host now, None where it is not known
    :param own: boots that the campaign itself led to
    """
    if planned["boot_id"] is None or boot_id is None or boot_id == planned["boot_id"] or boot_id in own:
        return ""
    return "it has been rebooted since it was diagnosed (its boot id is another), so that its fault may be gone: diagnose it again"


def _times(plan: Mapping[str, Any]) -> Iterator[str]:
    for key in ("made_at", "valid_until"):
        try:
            moment(plan[key])
        except ValueError:
            yield f"{key}: {plan[key]!r} is no moment there is"
    if not plan["plan"].startswith(f"{plan['run']}-"):
        yield f"plan: {plan['plan']!r} does not begin with the run's id {plan['run']!r}: leave both as they were"


def _limits(plan: Mapping[str, Any], domains: waves.Domains) -> Iterator[str]:
    levels = {waves.FLEET, *(level for groups in domains.values() for level in groups)}
    for level in plan["limits"]["per_domain"]:
        if level not in levels:
            yield f"limits.per_domain.{printable(level, 40)}: no host is in such a domain: the levels here are {and_more(sorted(levels))}"
    for position, window in enumerate(plan["limits"]["windows"]):
        if sentence := windows.wrong(window):
            yield f"limits.windows[{position}].{sentence}"


def _hosts(plan: Mapping[str, Any], domains: waves.Domains) -> Iterator[str]:
    planned = Counter(row["host"] for row in plan["hosts"])
    placed = Counter(host for wave in plan["waves"] for host in wave)
    for host in [*planned, *(host for host in placed if host not in planned)]:
        name = printable(host, 80)
        if host not in domains:
            near = difflib.get_close_matches(host, domains, n=1)
            remedy = f"did you mean {printable(near[0], 80)}?" if near else "take it out"
            yield f"{'hosts' if host in planned else 'waves'}: the inventory has no host {name}: {remedy}"
        elif planned[host] > 1:
            yield f"hosts: {name} is there {planned[host]} times: leave one"
        elif placed[host] > 1:
            yield f"waves: {name} is in {placed[host]} waves: leave it in one"
        elif not planned[host]:
            yield f"waves: {name} is in a wave, and hosts does not say what is to be done with it: take it out"
        elif not placed[host]:
            yield f"waves: {name} is in no wave: put it in one, or take it out of hosts"


def _steps(plan: Mapping[str, Any], remedies: Mapping[str, Remedy]) -> Iterator[str]:
    for row in plan["hosts"]:
        for position, step in enumerate(row["steps"]):
            at = f"hosts: {printable(row['host'], 80)}: steps[{position}]"
            remedy = remedies.get(step["remedy"])
            if remedy is None:
                yield f"{at}.remedy: {step['remedy']} is none of stall_remedies: {', '.join(sorted(remedies)) or 'there are none'}"
                continue
            if remedy.row["drain"] and not step["drain"]:
                yield f"{at}.drain: {remedy.name} needs a drained host: leave it true"
            yield from (f"{at}.{sentence}" for sentence in remedy.wrong(step["parameters"]))
        names = [step["remedy"] for step in row["steps"]]
        if len(set(names)) < len(names):
            yield f"hosts: {printable(row['host'], 80)}: steps has a remedy twice: one that did not help is not repeated"


def _sizes(plan: Mapping[str, Any], domains: waves.Domains) -> Iterator[str]:
    limits = waves.Limits.of(plan["limits"]["per_domain"], domains, plan["down"])
    for position, wave in enumerate(plan["waves"]):
        for sentence in limits.over(wave):
            yield f"waves[{position}]: {sentence}: make it smaller"
    if plan["waves"] and len(plan["waves"][0]) > plan["limits"]["canary"]:
        yield f"waves[0]: has {len(plan['waves'][0])} hosts, and limits.canary is {plan['limits']['canary']}: make it smaller"
