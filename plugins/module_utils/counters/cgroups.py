# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many cgroups there are, and how many of them are dying: removed, yet held by memory that is still charged to them.

Dying memory cgroups make every read of memory.stat above them dearer. v2 counts them (cgroup.stat); for v1 it is num_cgroups of
/proc/cgroups, which counts dying ones, less the live directories. memory.stat itself is never read: that read can be the stall.
"""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters import cgroupfs
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text, text_or_none

WALK_S = 1.0
WALK_MOST = 100000


def parse(content: str) -> Dict[str, Dict[str, int]]:
    """{"memory": {hierarchy, num_cgroups}, ..} of /proc/cgroups; hierarchy 0 is v2 or unused. Disabled controllers are left out."""
    found = {}
    for line in content.splitlines():
        words = line.split()
        if len(words) == 4 and not line.startswith("#") and words[3] == "1":
            found[words[0]] = {"hierarchy": int(words[1]), "num_cgroups": int(words[2])}
    return found


def read() -> Dict[str, Any]:
    """{controllers, memory {version, num_cgroups, live, dying|null, reason|null}, v2 {live, dying}|null}"""
    controllers = parse(text("/proc/cgroups"))
    mounted = cgroupfs.hierarchies()
    v2 = _v2(cgroupfs.unified(mounted))
    return {"controllers": controllers, "memory": _memory(controllers, mounted, v2), "v2": v2}


def _v2(hierarchy: Any) -> Any:
    content = text_or_none(f"{hierarchy.path}/cgroup.stat") if hierarchy else None
    if content is None:
        return None
    numbers = cgroupfs.keyed_numbers(content)
    return {"live": numbers.get("nr_descendants"), "dying": numbers.get("nr_dying_descendants"), "whole": hierarchy.whole}


def _memory(controllers: Dict[str, Dict[str, int]], mounted: Any, v2: Any) -> Dict[str, Any]:
    row = controllers.get("memory")
    hierarchy = cgroupfs.with_controller(mounted, "memory")
    found: Dict[str, Any] = {
        "version": 1 if hierarchy else 2,
        "num_cgroups": row and row["num_cgroups"],
        "live": None,
        "dying": None,
        "reason": None,
    }
    if hierarchy is None:
        if v2 is None:
            found["reason"] = "no cgroup v1 memory hierarchy is mounted, and the v2 tree has no cgroup.stat"
        else:
            found.update(live=v2["live"], dying=v2["dying"])
            found["reason"] = None if v2["whole"] else "only a part of the cgroup tree is visible"
        return found
    walk = cgroupfs.Walk(hierarchy.path, WALK_S, WALK_MOST)
    found["live"] = sum(1 for _ in walk)
    if not hierarchy.whole:
        found["reason"] = f"{hierarchy.path} shows only a part of the tree"
    elif not walk.complete:
        found["reason"] = f"the walk of {hierarchy.path} was cut off after {walk.seen} directories"
    elif row is None:
        found["reason"] = "/proc/cgroups has no line for memory"
    else:
        found["dying"] = max(0, row["num_cgroups"] - found["live"])
    return found
