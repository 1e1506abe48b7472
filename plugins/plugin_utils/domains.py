# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failure domains: what hosts share (a datacenter, a rack), read from their inventory groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase


def of_host(groups: Iterable[str], patterns: Mapping[str, str]) -> dict[str, str]:
    """The group a host belongs to at each level, coarse to fine.

    :param groups: inventory groups of the host
    :param patterns: level -> fnmatch pattern on group names, ordered coarse to fine, e.g. ``{"datacenter": "dc_*", "rack": "rack_*"}``
    :return: level -> group; a level that no group matches is left out; of several matches the first by name counts
    """
    ordered = sorted(groups)
    matches = {level: matching(ordered, pattern) for level, pattern in patterns.items()}
    return {level: found[0] for level, found in matches.items() if found}


def matching(groups: Iterable[str], pattern: str) -> list[str]:
    """Those of ``groups`` that match the fnmatch pattern, in their order."""
    return [group for group in groups if fnmatchcase(group, pattern)]


def crossed(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Failure-domain groups with exactly one of the two ends inside, coarse to fine: what a packet between them must cross.

    >>> crossed({"datacenter": "dc_a", "rack": "rack_a1"}, {"datacenter": "dc_a", "rack": "rack_a2"})
    ['rack_a1', 'rack_a2']
    """
    levels = list(dict.fromkeys([*one, *other]))
    return [side[level] for level in levels for side in (one, other) if level in side and one.get(level) != other.get(level)]
