# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What value a setting is to have: a rule over the value that it has, as text.

A rule is a mapping with exactly one of RULES, and with `field` (1 for the first) where the value is several numbers and one of them is
meant. All rules give the same value again when they meet their own result, `times` if it is given the value from before the first change.
"""

import re
from typing import Any, Callable, Dict, List, Mapping, Set

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import cpus_of_list, cpus_of_mask

RULES = ("value", "at_least", "at_most", "times")
MODIFIERS = ("field", "most")
MASK_WORD = 32


class Unfit(Exception):
    """A setting that can't be made; the message names it, the value and what to do."""


def problem(setting: Mapping[str, Any]) -> str:
    """What is wrong with the rule of a setting, as a sentence; empty where nothing is."""
    given = [name for name in RULES if setting.get(name) is not None]
    if len(given) != 1:
        return f"{', '.join(given) or 'no rule'} is given: give exactly one of {', '.join(RULES)}"
    rule = given[0]
    if rule == "value":
        return "" if isinstance(setting["value"], (str, int)) else f"value is {setting['value']!r}: give text or an integer"
    for name in (rule, "most"):
        number = setting.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float)) or number <= 0):
            return f"{name} is {number!r}: give a number above 0"
    return "" if rule == "times" or setting.get("most") is None else f"most goes with times, not with {rule}"


def wanted(current: str, setting: Mapping[str, Any]) -> str:
    """The value that the setting is to have. Raises Unfit where the rule does not apply to what is there."""
    if setting.get("value") is not None and setting.get("field") is None:
        return str(setting["value"])
    words = current.split()
    at = setting.get("field") or 1
    if setting.get("field") is None and len(words) != 1:
        raise Unfit(f"holds {current!r}, which is not one number: name the one that is meant with field")
    if not 1 <= at <= len(words):
        raise Unfit(f"holds {current!r} and has no field {at}")
    words[at - 1] = _one(words[at - 1], setting)
    return "\t".join(words)


def _one(current: str, setting: Mapping[str, Any]) -> str:
    if setting.get("value") is not None:
        return str(setting["value"])
    if not re.match(r"-?\d+$", current):
        raise Unfit(f"holds {current!r}, which is not a number: only value fits it")
    number = int(current)
    for name, choose in _CHOICES.items():
        if setting.get(name) is not None:
            return str(int(choose(number, setting)))
    raise Unfit(problem(setting))


_CHOICES: Dict[str, Callable[[int, Mapping[str, Any]], float]] = {
    "at_least": lambda number, setting: max(number, setting["at_least"]),
    "at_most": lambda number, setting: min(number, setting["at_most"]),
    # `most` never lowers what somebody has set higher.
    "times": lambda number, setting: (
        max(number, min(number * setting["times"], setting.get("most") or float("inf")))
        if setting["times"] >= 1
        else number * setting["times"]
    ),
}


def chosen(current: str) -> str:
    """The one in brackets of a file that lists its choices ("always [madvise] never"); else the value with single blanks."""
    bracketed = re.search(r"(?:^|\s)\[(\S+)\](?:\s|$)", current)
    return bracketed.group(1) if bracketed else " ".join(current.split())


def same(one: str, other: str) -> bool:
    return chosen(one) == chosen(other)


def as_list(cpus: Set[int]) -> str:
    """The kernel's list format: {0, 1, 2, 8} is "0-2,8"."""
    spans: List[List[int]] = []
    for cpu in sorted(cpus):
        if spans and spans[-1][1] == cpu - 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)


def as_mask(cpus: Set[int]) -> str:
    """The kernel's mask format: {0, 1, 32} is "1,00000003"."""
    bits = sum(1 << cpu for cpu in cpus)
    words = []
    while True:
        words.append(bits & ((1 << MASK_WORD) - 1))
        bits >>= MASK_WORD
        if not bits:
            break
    first, *others = reversed(words)
    return ",".join([f"{first:x}", *(f"{word:08x}" for word in others)])


def same_list(one: str, other: str) -> bool:
    return set(cpus_of_list(one)) == set(cpus_of_list(other))


def same_mask(one: str, other: str) -> bool:
    return set(cpus_of_mask(one)) == set(cpus_of_mask(other))
