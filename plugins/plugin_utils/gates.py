# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go on, and what ends a campaign. Pure: plan and state of the journal in, decision out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import journal_state, plan_check, waves
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import BEGUN, DONE, NOTHING, ROLL_BACK, SAME, UNKNOWN, Next, State
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, host_count, printable

CANARY = 1
"""The number of the first wave."""


@dataclass(frozen=True)
class Wave:
    """A wave that may go on: `hosts` with something left to do, and in how many rounds at the most."""

    hosts: list[str] = field(default_factory=list)
    rounds: int = 0


def planned(plan: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Host -> its row."""
    return {row["host"]: row for row in plan["hosts"]}


def members(plan: Mapping[str, Any], number: int) -> list[str]:
    """The hosts of a wave; the first has number 1."""
    return list(plan["waves"][number - 1])


def nexts(plan: Mapping[str, Any], state: State, hosts: Collection[str], retry: bool) -> dict[str, Next]:
    rows = planned(plan)
    return {host: journal_state.next_of(state.hosts.get(host) or journal_state.Host(host), rows[host], retry) for host in hosts}


def left(plan: Mapping[str, Any], state: State, retry: bool) -> list[list[str]]:
    """By wave, the hosts with something left to do."""
    return [[host for host, next_ in nexts(plan, state, wave, retry).items() if next_.what != NOTHING] for wave in plan["waves"]]


def is_done(plan: Mapping[str, Any], state: State) -> bool:
    """Whether every wave has passed."""
    return all(state.waves.get(number) == "passed" for number in range(CANARY, len(plan["waves"]) + 1))


def in_flight(plan: Mapping[str, Any], state: State, hosts: Collection[str]) -> list[str]:
    """Hosts that must not be left as they are, whatever stands against going on: they are still cordoned by us, a reboot was begun, or they
    do worse after what can be taken back."""
    following = nexts(plan, state, hosts, retry=False)
    known = [state.hosts[host] for host in hosts if host in state.hosts]
    return [
        host.host
        for host in known
        if host.cordoned or (host.reboot and host.step and host.step.status == BEGUN) or following[host.host].what == ROLL_BACK
    ]


def wave(plan: Mapping[str, Any], state: State, number: int, retry: bool) -> Wave:
    """What is left of a wave."""
    rows = planned(plan)
    found = nexts(plan, state, members(plan, number), retry)
    hosts = [host for host, next_ in found.items() if next_.what != NOTHING]
    rounds = [_rounds(rows[host], found[host]) for host in hosts]
    return Wave(hosts, max(rounds, default=0))


def _rounds(row: Mapping[str, Any], next_: Next) -> int:
    """How often a step may be begun; what is no step needs a round, too."""
    if not row["escalate"] or next_.index is None:
        return 1
    return len(row["steps"]) - next_.index


def may_begin(plan: Mapping[str, Any], state: State, number: int, domains: waves.Domains, away: Collection[str] = ()) -> str:
    """Why a wave may not be begun, empty if it may.

    :param away: hosts that are out of service whatever this plan and its journal say
    """
    for earlier in range(CANARY, number):
        if state.waves.get(earlier) != "passed":
            return f"wave {earlier} has not passed"
    lost = (name for earlier in range(CANARY, number) for name in members(plan, earlier) if _was_lost(state, name))
    down = {*plan["down"], *state.silent, *away, *lost, *(name for name, host in state.hosts.items() if host.is_down)}
    limits = waves.Limits.of(plan["limits"]["per_domain"], domains, down)
    over = limits.over(members(plan, number))
    by_us = sorted({*away, *(name for name, host in state.hosts.items() if host.cordoned)})
    if over and by_us:
        over.append(f"campaigns took {and_more(by_us, 5)} out of service; one that was put back by hand: -e stall_given_back=<host>")
    return "; ".join(over)


def _was_lost(state: State, name: str) -> bool:
    """Of a wave that has been: nothing was begun on the host, since it did not answer."""
    return name not in state.hosts or state.hosts[name].step is None


def out_of_service(campaigns: Iterable[State]) -> set[str]:
    """Hosts that a campaign of the fleet took out of service, and none has given back since.

    :param campaigns: of all journals
    """
    last: dict[str, journal_state.Host] = {}
    for state in campaigns:
        for name, host in state.hosts.items():
            if name not in last or (host.at or "") > (last[name].at or ""):
                last[name] = host
    return {name for name, host in last.items() if host.cordoned}


def soak_left_s(plan: Mapping[str, Any], state: State, now: datetime) -> float:
    """Seconds until the next wave may begin."""
    if state.passed_at is None:
        return 0.0
    passed = datetime.fromisoformat(state.passed_at.replace("Z", "+00:00"))
    return max(0.0, (passed + timedelta(seconds=plan["limits"]["soak_s"]) - now).total_seconds())


def failed_in(plan: Mapping[str, Any], state: State, number: int) -> dict[str, str]:
    """Hosts of a wave that failed, or are not through, each with the reason."""
    found: dict[str, str] = {}
    for name in members(plan, number):
        host = state.hosts.get(name)
        if host is None or host.step is None:
            found[name] = "nothing was begun on it"
        elif host.step.is_worse:
            found[name] = f"it did worse after {host.step.remedy}"
        elif host.step.went_dark:
            found[name] = f"it could not be measured any more after {host.step.remedy}"
        elif host.has_failed:
            found[name] = host.step.because or f"{host.step.remedy} failed"
        elif host.cordoned:
            found[name] = f"it is still cordoned: {host.step.because}" if host.step.because else "it is still cordoned"
        elif host.step.status == BEGUN:
            found[name] = f"{host.step.remedy} was begun and did not end"
    return found


def way_on(plan: Mapping[str, Any], state: State, number: int) -> str:
    """What a person can do about a wave that failed. A remedy that did harm is not tried again."""
    worse = [name for name in members(plan, number) if (step := state.host(name).step) and step.is_worse]
    if worse:
        return f"make a new plan, in which nothing of the kind is done to {and_more(worse, 5)}: a retry does not go on from worse"
    return "put it right and go on with -e stall_retry=true, or make a new plan"


def unproven_in(plan: Mapping[str, Any], state: State, number: int) -> dict[str, str]:
    """Hosts of the first wave that stalled, and were not seen to do better: what did not help them is not done to the others."""
    if number != CANARY or len(plan["waves"]) == 1 or not plan["limits"].get("canary_better", False):
        return {}
    rows = planned(plan)
    found: dict[str, str] = {}
    for name in members(plan, number):
        step = state.host(name).step
        if step is None or step.status != DONE or not rows[name]["stalled_ms_per_s"]:
            continue
        seen = (step.verdict or {}).get("verdict", UNKNOWN)
        if seen in (SAME, UNKNOWN):
            found[name] = f"{step.remedy} did not help" if seen == SAME else f"it is not known whether {step.remedy} helped"
    return found


def verdict(plan: Mapping[str, Any], state: State, number: int, retry: bool) -> str:
    """Why the campaign ends after a wave, empty if it goes on.

    :param retry: whether a person has seen what stood against it, and wants it to go on
    """
    failed = failed_in(plan, state, number)
    if not failed and not retry and (unproven := unproven_in(plan, state, number)):
        return f"the first wave is not seen to do better ({_listed(unproven)}), so nothing is done to the others"
    most = plan["limits"]["failures_most"]
    everywhere = {name for wave in range(CANARY, number + 1) for name in failed_in(plan, state, wave)}
    if not failed or (number != CANARY and len(everywhere) <= most):
        return ""
    kind = "of the first wave " if number == CANARY else ""
    return f"{host_count(len(failed))} {kind}failed ({_listed(failed)})"


def _listed(whys: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{printable(host, 80)}: {printable(why, 300)}" for host, why in list(whys.items())[:3])
    return reasons + (f"; and {len(whys) - 3} more" if len(whys) > 3 else "")


def refusals(plan: Mapping[str, Any], state: State, boot_ids: Mapping[str, str | None]) -> list[str]:
    """A sentence for each host that is not as it was diagnosed: it was rebooted by others, before anything was begun on it.

    :param boot_ids: host -> of its boot now, None where it is not known
    """
    rows = planned(plan)
    found = []
    for host, boot_id in boot_ids.items():
        known = state.hosts.get(host)
        if (known is None or known.step is None) and (because := plan_check.rebooted(rows[host], boot_id)):
            found.append(f"{printable(host, 80)}: {because}, or take it out of the plan.")
    return found
