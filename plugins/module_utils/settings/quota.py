# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much CPU a control group may use, as text: per cent of one CPU, or "none" where there is no limit."""

import os
import re
from typing import Any, Callable, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils import systemd
from ansible_collections.fleet.stall.plugins.module_utils.capture import identity
from ansible_collections.fleet.stall.plugins.module_utils.counters import cgroupfs
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text
from ansible_collections.fleet.stall.plugins.module_utils.settings import seen
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Change, Place
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

NONE = "none"
PERIOD_US = 100000
LEAST_US = 1000  # what the kernel takes at the least
EXACT = 0.05
QUOTA = "CPUQuotaPerSecUSec"
SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h)")
SPAN_US = {"us": 1, "ms": 1000, "s": 1000000, "min": 60000000, "h": 3600000000}


class Quota(Place):
    def same(self, one: str, other: str) -> bool:
        if NONE in (one, other):
            return one == other
        return abs(float(one) - float(other)) <= EXACT


class Group(Quota):
    """The quota of a control group's directory, version 1 or 2."""

    kind = "cgroup_quota"

    def __init__(self, path: str) -> None:
        self.path = path

    def described(self) -> Dict[str, Any]:
        return {"path": self.path}

    def label(self) -> str:
        return f"CPU quota of {self.path}"

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def read(self) -> str:
        if os.path.exists(f"{self.path}/cpu.max"):
            quota, period = text(f"{self.path}/cpu.max").split()
        elif os.path.exists(f"{self.path}/cpu.cfs_quota_us"):
            quota, period = text(f"{self.path}/cpu.cfs_quota_us").strip(), text(f"{self.path}/cpu.cfs_period_us").strip()
        else:
            raise Unfit("no CPU quota can be set here: it is the root, or the cpu controller is not enabled for it")
        return NONE if quota in ("max", "-1") else f"{100 * int(quota) / int(period):g}"

    def write(self, value: str) -> None:
        v2 = os.path.exists(f"{self.path}/cpu.max")
        period = int(text(f"{self.path}/cpu.max").split()[1] if v2 else text(f"{self.path}/cpu.cfs_period_us"))
        quota = None if value == NONE else max(LEAST_US, round(float(value) * period / 100))
        if v2:
            self._put("cpu.max", f"{'max' if quota is None else quota} {period}")
        else:
            self._put("cpu.cfs_quota_us", str(-1 if quota is None else quota))

    def _put(self, name: str, value: str) -> None:
        with open(f"{self.path}/{name}", "wb", buffering=0) as file:
            file.write(value.encode())


class Unit(Quota):
    """The quota of a unit of systemd; `persisted`: past the next boot."""

    kind = "unit_quota"

    def __init__(self, unit: str, persisted: bool) -> None:
        self.unit, self.persisted = unit, persisted

    def described(self) -> Dict[str, Any]:
        return {"unit": self.unit, "persisted": self.persisted}

    def label(self) -> str:
        return f"CPUQuota of {self.unit}"

    def exists(self) -> bool:
        return systemd.unit(self.unit)["load"] == "loaded"

    def read(self) -> str:
        return percent(systemd.properties(self.unit, QUOTA).get(QUOTA, ""))

    def write(self, value: str) -> None:
        quota = "" if value == NONE else f"{float(value):g}%"
        systemd.systemctl("set-property", *([] if self.persisted else ["--runtime"]), "--", self.unit, f"CPUQuota={quota}")


def percent(span: str) -> str:
    """Per cent of one CPU of what systemd prints for CPUQuotaPerSecUSec: "500ms" is "50", "1s 500ms" is "150", "infinity" is "none"."""
    if span == "infinity":
        return NONE
    parts = SPAN.findall(span)
    if not parts:
        raise Unfit(f"systemd says {span!r} of the quota, which is no time")
    return f"{sum(float(number) * SPAN_US[word] for number, word in parts) / 10000:g}"


def quota(setting: Dict[str, Any]) -> List[Change]:
    """The change of the quota of `unit`, else of the group of the process `pid`, `comm` that ran `seen_s_ago`. Raises Unfit."""
    if (setting.get("percent") is None) == (setting.get("times") is None):
        raise Unfit("give one of percent and times")
    if setting.get("unit"):
        return [Change(Unit(setting["unit"], bool(setting.get("persisted"))), _want(setting))]
    seen.verified(setting["pid"], setting["comm"], setting["seen_s_ago"])
    return [Change(Group(group_of(setting["pid"])), _want(setting))]


def _want(setting: Dict[str, Any]) -> Callable[[str, str], str]:
    def want(_current: str, was: str) -> str:
        if setting.get("percent") is not None:
            return f"{setting['percent']:g}" if setting["percent"] else NONE
        if was == NONE:
            raise Unfit("there is no quota that could be multiplied: give percent")
        return f"{float(was) * setting['times']:g}"

    return want


def group_of(pid: int) -> str:
    """The directory where the CPU quota of a process counts. Raises Unfit."""
    path = identity.parse_cgroup(text(f"/proc/{pid}/cgroup"))["cpu_cgroup"]
    mounted = cgroupfs.hierarchies()
    hierarchy = cgroupfs.with_controller(mounted, "cpu") or cgroupfs.unified(mounted)
    if hierarchy is None or not hierarchy.whole:
        raise Unfit("no hierarchy of control groups with the cpu controller is mounted as a whole")
    if path in (None, "/"):
        raise Unfit(f"process {pid} is in no control group but the root, whose CPU can't be limited: give it a unit of its own")
    return f"{hierarchy.path}{path}"
