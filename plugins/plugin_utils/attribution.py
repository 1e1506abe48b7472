# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose row each verdict goes to: the host at fault, or nobody's where several hosts share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils.blame import Blamed, Verdict, owner
from ansible_collections.fleet.stall.plugins.plugin_utils.network import Network, kind
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall, join


@dataclass(slots=True)
class Share:
    """What concerns one host: what it is blamed for; what it or another host may be to blame for; what one flow alone saw.

    ``set_aside``: hiccups on the way to it that say nothing of it, as their source was late itself or they befell several targets.
    """

    blamed: list[Blamed] = field(default_factory=list)
    undecided: list[Blamed] = field(default_factory=list)
    unexplained: list[Stall] = field(default_factory=list)
    set_aside: int = 0


@dataclass(slots=True)
class Shares:
    """``of``: by host; ``coincident``: what several hosts share (a source's fault is in its own share as well); ``unplaced``: stalls that
    befell several targets of one source, too few to blame anything for."""

    of: dict[str, Share]
    coincident: list[Blamed]
    unplaced: list[Stall]


def shares(verdict: Verdict, network: Network, services: Iterable[Mapping]) -> Shares:
    """Hand out the verdicts."""
    runs_on = {service["name"]: service.get("backend") or service.get("target") for service in services}
    found = Shares(defaultdict(Share), [], [])
    for blamed in verdict.blamed:
        host = None if blamed.kind == "backend" else runs_on.get(blamed.name) if blamed.kind == "app" else owner(blamed.component)
        if blamed.kind in ("path", "fleet", "source") or host is None:
            found.coincident.append(blamed)
        if blamed.kind not in ("path", "fleet") and host is not None:
            found.of[host].blamed.append(blamed)
    for undecided in verdict.undecided:
        for host in sorted(suspected(undecided, network)):
            found.of[host].undecided.append(undecided)
    _place(verdict.unexplained, network, found)
    return found


def _place(events: Iterable[Event], network: Network, found: Shares) -> None:
    by_source: dict[str, list[Event]] = defaultdict(list)
    by_target: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_source[network.flows[event.flow].source].append(event)
    for source in sorted(by_source):
        for stall in join(by_source[source]):
            targets = {network.flows[event.flow].target for event in stall.events}
            if len(targets) == 1 and not network.is_blind(source, stall.start_ns, stall.end_ns):
                by_target[targets.pop()] += stall.events
                continue
            for target in targets:
                found.of[target].set_aside += 1
            if len(targets) > 1:
                found.unplaced.append(stall)
    for target, left in by_target.items():
        found.of[target].unexplained = join(sorted(left, key=lambda event: (event.start_ns, event.end_ns, event.flow)))


def suspected(undecided: Blamed, network: Network) -> set[str]:
    """The hosts that may be to blame: the target of a pair, else each host that explains it as well."""
    if undecided.kind == "pair":
        return {network.flows[event.flow].target for event in undecided.events()}
    return {owner(component) for component in (undecided.component, *undecided.rivals) if kind(component) in ("host", "source", "queue")}
