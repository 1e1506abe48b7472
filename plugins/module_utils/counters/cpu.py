# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/stat: time per CPU that was stolen by the hypervisor, or went to interrupts."""

import os
from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def parse(content: str) -> Dict[str, Dict[str, int]]:
    """{"<cpu>": {irq, softirq, steal, idle, total}} in clock ticks; total leaves out guest time, which user has already."""
    found = {}
    for line in content.splitlines():
        name, *words = line.split() or [""]
        if name.startswith("cpu") and name[3:].isdecimal():
            times = dict(zip(FIELDS, (int(word) for word in words)))
            found[name[3:]] = {kind: times.get(kind, 0) for kind in ("irq", "softirq", "steal", "idle")}
            found[name[3:]]["total"] = sum(times.values())
    if not found:
        raise Unavailable("/proc/stat: no line of a CPU")
    return found


def read() -> Dict[str, Any]:
    """{ticks_per_s, cpus: {"<cpu>": {irq, softirq, steal, idle, total}}}"""
    return {"ticks_per_s": os.sysconf("SC_CLK_TCK"), "cpus": parse(text("/proc/stat"))}


def sample(start: Dict[str, Any]) -> Dict[str, int]:
    """Clock ticks stolen so far, per CPU. Nothing where none ever was: /proc/stat is dear on a big machine, which is rarely virtual."""
    if not any(times["steal"] for times in start["cpus"].values()):
        return {}
    return {cpu: times["steal"] for cpu, times in read()["cpus"].items()}
