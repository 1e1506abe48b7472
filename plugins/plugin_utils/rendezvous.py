# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who probes whom: rendezvous hashing across failure domains with a bound on what one source carries.

Highest random weight (Thaler and Ravishankar, 1998): each target ranks the candidates by a hash of both names, so that the
choice is the same run after run and a host that comes or goes moves only its own share. A source that has its fill (twice the
fair share) passes to the next in rank.

Ranking everybody for every target takes targets x hosts steps. A large fleet without failure domains is therefore laid out on a ring
by hash (Karger and others, 1997), and a target ranks only those next to its own place there.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from math import ceil

# The part of a host that the choice looks at: {"domains": {level: group}, ...}
Hosts = Mapping[str, Mapping]
# A pool without domains that is larger than this is ranked by neighbourhoods of that many
RANKED_WHOLE, RANKED = 128, 32


def number(*parts: str) -> int:
    """A stable 64-bit number for these strings."""
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")


class _Pool:
    """Candidates of one kind (cluster or outside), their load and the most that one of them takes."""

    def __init__(self, seed: str, hosts: Hosts, members: Sequence[str], slots: int) -> None:
        self.seed = seed
        self.members = list(members)
        self.most = max(1, ceil(2 * slots / len(members))) if members else 0
        self.load = dict.fromkeys(members, 0)
        self.by_group: dict[str, dict[str, list[str]]] = {}
        for name in members:
            for level, group in hosts[name]["domains"].items():
                self.by_group.setdefault(level, {}).setdefault(group, []).append(name)
        self.ring = sorted((number(seed, "ring", name), name) for name in members) if self._is_large() else []

    def take(self, target: str, candidates: Iterable[str], taken: Sequence[str]) -> str | None:
        free = [name for name in candidates if self.load[name] < self.most and name != target and name not in taken]
        if not free:
            return None
        key = f"{self.seed}\0{target}\0"
        best = max(free, key=lambda name: (blake2b((key + name).encode(), digest_size=8).digest(), name))
        self.load[best] += 1
        return best

    def take_any(self, target: str, taken: Sequence[str]) -> str | None:
        """One of all."""
        return self.take(target, self._around(target, taken) if self.ring else self.members, taken)

    def take_near(self, target: str, domains: Mapping[str, str], taken: Sequence[str]) -> str | None:
        """One from the same finest domain: it reaches the target without crossing a path that others must cross."""
        if not domains:
            return None
        level = list(domains)[-1]
        return self.take(target, self.by_group.get(level, {}).get(domains[level], ()), taken)

    def take_far(self, target: str, hosts: Hosts, levels: Sequence[str], taken: Sequence[str]) -> str | None:
        """One from a domain that neither the target nor a source taken so far is in, coarsest level first."""
        for level in levels:
            used = {hosts[name]["domains"].get(level) for name in (target, *taken)}
            groups = [group for group in self.by_group.get(level, {}) if group not in used]
            for group in sorted(groups, key=lambda group: (number(self.seed, target, group), group)):
                if found := self.take(target, self.by_group[level][group], taken):
                    return found
        return self.take_any(target, taken)

    def _is_large(self) -> bool:
        return not self.by_group and len(self.members) > RANKED_WHOLE

    def _around(self, target: str, taken: Sequence[str]) -> list[str]:
        """Those with room that follow the target's place on the ring. At most half are full, so that few are passed over."""
        start = bisect(self.ring, (number(self.seed, "ring", target), ""))
        found: list[str] = []
        for step in range(len(self.ring)):
            name = self.ring[(start + step) % len(self.ring)][1]
            if self.load[name] < self.most and name != target and name not in taken:
                found.append(name)
                if len(found) == RANKED:
                    break
        return found


def choose(hosts: Hosts, targets: Sequence[str], sources: Sequence[str], outside: set[str], wanted: int, levels: Sequence[str], seed: str):
    """Sources of every target.

    :param hosts: name -> at least ``{"domains": {level: group}}``
    :param targets: hosts to be probed
    :param sources: hosts that can probe
    :param outside: names of hosts outside the cluster
    :param wanted: sources per target
    :param levels: failure-domain levels, coarse to fine
    :param seed: the same seed gives the same choice
    :return: target -> sources, at most ``wanted``, the outside one first, then the near one; empty where nobody can probe it
    """
    inner = [name for name in sorted(sources) if name not in outside]
    outer = [name for name in sorted(sources) if name in outside]
    inside_targets = [name for name in targets if name not in outside]
    cluster = _Pool(seed, hosts, inner, wanted * len(targets) - (len(inside_targets) if outer else 0))
    beyond = _Pool(seed, hosts, outer, len(inside_targets))
    chosen: dict[str, list[str]] = {}
    for target in sorted(targets, key=lambda name: (number(seed, name), name)):
        taken: list[str] = []
        if target not in outside and (first := beyond.take_any(target, taken)):
            taken.append(first)
        if (taken or wanted > 1) and len(taken) < wanted and (near := cluster.take_near(target, hosts[target]["domains"], taken)):
            taken.append(near)
        while len(taken) < wanted and (far := cluster.take_far(target, hosts, levels, taken)):
            taken.append(far)
        chosen[target] = taken
    _fill(chosen, cluster, beyond, wanted)
    return {target: chosen[target] for target in targets}


def _fill(chosen: dict[str, list[str]], cluster: _Pool, beyond: _Pool, wanted: int) -> None:
    """Where a target is short because the others were full or too few, anyone will do."""
    cluster.most = beyond.most = len(chosen) + 1
    for target, taken in chosen.items():
        for pool in (cluster, beyond):
            while len(taken) < wanted and (found := pool.take_any(target, taken)):
                taken.append(found)
