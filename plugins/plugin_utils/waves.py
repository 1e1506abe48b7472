# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves: which hosts are worked on at once, so that no failure domain ever lacks more hosts than its limit. Pure.

A limit is a number of hosts or a percentage of those that the domain has, at least one; it holds for those worked on and those down
already, together. The level `fleet` is always there, and every host is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

FLEET = "fleet"

Domains = Mapping[str, Mapping[str, str]]
"""host -> level -> group"""


@dataclass(frozen=True)
class Limits:
    """How many hosts of each group may be away at once; `away` are, whatever is done."""

    most: Mapping[tuple[str, str], int]
    domains: Domains
    away: frozenset[str]

    @classmethod
    def of(cls, per_domain: Mapping[str, int | str], domains: Domains, down: Collection[str]) -> Limits:
        """:param per_domain: level -> hosts, or "x%"
        :param domains: of every host of the fleet: they are what a percentage is of
        """
        sizes = Counter(group for host in domains for group in _groups(host, domains))
        most = {(level, group): hosts_of(per_domain[level], size) for (level, group), size in sizes.items() if level in per_domain}
        return cls(most, domains, frozenset(down))

    def over(self, hosts: Iterable[str]) -> list[str]:
        """A sentence for each group that these hosts would make lack too many; one that is away already takes no more room."""
        taken = {*hosts} - self.away
        touched = {group for host in taken for group in _groups(host, self.domains) if group in self.most}
        count = Counter(group for host in taken | self.away for group in _groups(host, self.domains) if group in touched)
        return [
            f"{level} {group}: {number} hosts would be away at once, {self._of_them_down(level, group)}and {self.most[level, group]} may be"
            for (level, group), number in sorted(count.items())
            if number > self.most[level, group]
        ]

    def _of_them_down(self, level: str, group: str) -> str:
        down = sorted(host for host in self.away if (level, group) in _groups(host, self.domains))
        return f"{len(down)} of them are down already ({and_more(down, 5)}), " if down else ""


def hosts_of(limit: int | str, size: int) -> int:
    """
    >>> [hosts_of(2, 40), hosts_of("25%", 40), hosts_of("25%", 3)]
    [2, 10, 1]
    """
    return max(1, size * int(limit.rstrip("%")) // 100) if isinstance(limit, str) else limit


def plan(hosts: Sequence[str], canary: int, limits: Limits) -> tuple[list[list[str]], dict[str, str]]:
    """Waves over `hosts` in their order, the first of `canary` hosts at the most; and hosts that no wave can take, each with the reason.

    Each wave takes every host that the limits leave room for, so there is no empty one.
    """
    refused = {host: "; ".join(over) for host in hosts if (over := limits.over([host]))}
    left = [host for host in hosts if host not in refused]
    waves: list[list[str]] = []
    while left:
        wave = _wave(left, canary if not waves else len(left), limits)
        waves.append(wave)
        taken = set(wave)
        left = [host for host in left if host not in taken]
    return waves, refused


def _wave(left: Sequence[str], most: int, limits: Limits) -> list[str]:
    count = Counter(group for host in limits.away for group in _groups(host, limits.domains))
    wave: list[str] = []
    for host in left:
        if len(wave) == most:
            break
        groups = [] if host in limits.away else [group for group in _groups(host, limits.domains) if group in limits.most]
        if all(count[group] < limits.most[group] for group in groups):
            wave.append(host)
            count.update(groups)
    return wave


def _groups(host: str, domains: Domains) -> list[tuple[str, str]]:
    return [(FLEET, FLEET), *domains.get(host, {}).items()]


def serial(waves: Sequence[Sequence[Any]]) -> list[int]:
    """Sizes of the batches of a play over all hosts of the waves in their order; a play without hosts still wants one."""
    return [len(wave) for wave in waves if wave] or [1]
