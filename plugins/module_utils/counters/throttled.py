# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cgroups that ran out of CPU quota during the window: an application that stalls while the host's network does not.

Only groups that have a quota are read: cpu.stat of v2 flushes statistics of all CPUs (rstat), which is not free on a big machine.
"""

from typing import Any, Dict, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.counters import cgroupfs
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, number_or_none, text_or_none

WALK_S = 1.0
WALK_MOST = 20000
MOST_READ = 2000
TOP = 10
USUAL_PERIOD_US = 100000


def parse(content: str) -> Dict[str, int]:
    """{periods, throttled, throttled_us} of cpu.stat, v1 (throttled_time, ns) or v2 (throttled_usec)."""
    numbers = cgroupfs.keyed_numbers(content)
    throttled_us = numbers.get("throttled_usec", numbers.get("throttled_time", 0) // 1000)
    return {"periods": numbers.get("nr_periods", 0), "throttled": numbers.get("nr_throttled", 0), "throttled_us": throttled_us}


def quotas() -> cgroupfs.Hierarchy:
    """Where a CPU quota counts. Raises Unavailable."""
    mounted = cgroupfs.hierarchies()
    hierarchy = cgroupfs.with_controller(mounted, "cpu") or cgroupfs.unified(mounted)
    if hierarchy is None:
        raise Unavailable("no cgroup hierarchy with the cpu controller is mounted")
    return hierarchy


def period_us(path: str, version: int) -> int:
    """After how long a group gets its quota anew; the kernel's default where that can't be read."""
    if version == 1:
        return number_or_none(f"{path}/cpu.cfs_period_us") or USUAL_PERIOD_US
    words = (text_or_none(f"{path}/cpu.max") or "").split()
    return int(words[1]) if len(words) == 2 and words[1].isdecimal() else USUAL_PERIOD_US


def read() -> Dict[str, Any]:
    """{groups: {"/path": {periods, throttled, throttled_us}} with a quota, with_quota, looked_at, complete}"""
    hierarchy = quotas()
    walk = cgroupfs.Walk(hierarchy.path, WALK_S, WALK_MOST)
    groups: Dict[str, Any] = {}
    complete = True
    for path in walk:
        if not _has_quota(path, hierarchy.version):
            continue
        if len(groups) >= MOST_READ:
            complete = False
            break
        content = text_or_none(f"{path}/cpu.stat")
        if content:
            groups[path[len(hierarchy.path) :] or "/"] = parse(content)
    return {"groups": groups, "with_quota": len(groups), "looked_at": walk.seen, "complete": complete and walk.complete}


def _has_quota(path: str, version: int) -> bool:
    quota = text_or_none(f"{path}/cpu.cfs_quota_us" if version == 1 else f"{path}/cpu.max")
    return quota is not None and not quota.startswith(("-1", "max"))


def reduce(start: Dict[str, Any], end: Optional[Dict[str, Any]]) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """Both readings with only the groups whose throttling grew in between, the ten that lost most. A group that is new counts from 0.

    Where the first reading was cut short, a group that is not in it may be an old one: its numbers since boot are no growth.
    """
    if end is None:
        return dict(start, groups={}), None
    grown = {}
    # A group that was removed and made again, as at a restart of its unit, is a new one of the same name.
    same = {path for path, now in end["groups"].items() if now["periods"] >= start["groups"].get(path, {}).get("periods", 0)}
    before_of = {path: group for path, group in start["groups"].items() if path in same}
    for path, now in end["groups"].items():
        if path not in start["groups"] and not start["complete"]:
            continue
        before = before_of.get(path, {"throttled": 0, "throttled_us": 0})
        if now["throttled"] > before["throttled"] or now["throttled_us"] > before["throttled_us"]:
            grown[path] = now["throttled_us"] - before["throttled_us"]
    top = sorted(grown, key=lambda path: (-grown[path], path))[:TOP]
    return (
        dict(start, groups={path: before_of[path] for path in top if path in before_of}),
        dict(end, groups={path: end["groups"][path] for path in top}, grown=len(grown)),
    )
