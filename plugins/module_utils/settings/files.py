# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that are files of the kernel: sysctls, files below /sys, and the CPUs of interrupts and receive queues."""

import glob
import os
import re
from typing import Any, Callable, Dict, List, Optional, Set

from ansible_collections.fleet.stall.plugins.module_utils import nic
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, cpus_of_list, online_cpus, text
from ansible_collections.fleet.stall.plugins.module_utils.settings import rules, sysctl_d
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Change, Place
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

PROC_SYS = "/proc/sys"
SYS = "/sys"
SAME: Dict[str, Callable[[str, str], bool]] = {"text": rules.same, "list": rules.same_list, "mask": rules.same_mask}


class File(Place):
    """A file of the kernel that holds one value; `form` is text, list or mask (of CPUs)."""

    kind = "file"

    def __init__(self, path: str, form: str = "text") -> None:
        self.path, self.form = path, form

    def described(self) -> Dict[str, Any]:
        return {"path": self.path, "form": self.form}

    def label(self) -> str:
        return sysctl_name(self.path) if self.path.startswith(f"{PROC_SYS}/") else self.path

    def exists(self) -> bool:
        return os.path.exists(self.path)

    def read(self) -> str:
        value = text(self.path).strip()
        return rules.chosen(value) if self.form == "text" and "[" in value else value

    def write(self, value: str) -> None:
        # One write: the kernel takes or refuses it whole.
        with open(self.path, "wb", buffering=0) as file:
            file.write(value.encode())

    def same(self, one: str, other: str) -> bool:
        return SAME[self.form](one, other)

    def recall(self, current: str) -> Optional[str]:
        return sysctl_d.was(self.label(), current) if self.path.startswith(f"{PROC_SYS}/") else None


def sysctl_path(name: str) -> str:
    """The file of a sysctl: dots part its name, as in sysctl(8), where the first separator is no slash. Raises Unfit."""
    swapped = name.translate(str.maketrans("./", "/.")) if "/" not in name.split(".")[0] else name
    parts = swapped.split("/")
    if len(parts) < 2 or not all(re.match(r"[\w@:.-]+$", part) and part.strip(".") for part in parts):
        raise Unfit(f"{name!r} is not the name of a sysctl: give one such as net.core.netdev_budget")
    return "/".join([PROC_SYS, *parts])


def sysctl_name(path: str) -> str:
    return path[len(PROC_SYS) + 1 :].translate(str.maketrans("./", "/."))


def kernel_files(setting: Dict[str, Any], persisted: bool) -> List[Change]:
    """The change of a `sysctl` or a `file` by its rule, and of the sysctl's line where it is to be persisted. Raises Unfit."""
    place = File(sysctl_path(setting["sysctl"]) if setting.get("sysctl") else _below_sys(setting["file"]))
    wrong = rules.problem(setting)
    if wrong:
        raise Unfit(f"{place.label()}: {wrong}")
    optional = bool(setting.get("optional"))
    line = sysctl_d.Line(place.label())
    made: List[str] = []

    def want(current: str, was: str) -> str:
        line.was = was
        made.append(rules.wanted(was if setting.get("times") else current, setting))
        return made[-1]

    if not (persisted and setting.get("sysctl")):
        return [Change(place, want, optional)]
    return [Change(place, want, optional), *([Change(line, lambda _current, _was: made[-1])] if place.exists() or not optional else [])]


def _below_sys(path: str) -> str:
    if not os.path.normpath(path).startswith(f"{SYS}/") or not os.path.realpath(path).startswith(f"{SYS}/"):
        raise Unfit(f"{path!r} is not below {SYS}: only files of the kernel are settings")
    return path


def irq_affinity(setting: Dict[str, Any]) -> List[Change]:
    """Take `avoid_cpu` from the interrupts of the receive queues of `interfaces`. Raises Unfit if no interrupt could go elsewhere."""
    avoid, online = {int(setting["avoid_cpu"])}, set(online_cpus())
    elsewhere = _others(online, avoid)
    irqs = [queue["irq"] for interface in _interfaces(setting) for queue in interface["queues"] if queue["irq"]]
    if not irqs:
        raise Unfit("no interrupt is known of the receive queues of these interfaces: virtual ones have none (rps spreads their packets)")

    def without(current: str, _was: str) -> str:
        return rules.as_list((set(cpus_of_list(current)) & online) - avoid or elsewhere)

    return [Change(File(f"/proc/irq/{irq}/smp_affinity_list", "list"), without) for irq in irqs]


def rps(setting: Dict[str, Any]) -> List[Change]:
    """Have `cpus`, else all that are online but `avoid_cpu`, handle the packets of every receive queue of `interfaces`. Raises Unfit."""
    online = set(online_cpus())
    chosen = set(cpus_of_list(setting["cpus"])) if setting.get("cpus") else online
    if not chosen <= online:
        raise Unfit(f"cpus is {setting['cpus']!r}, online are {rules.as_list(online)}: name some of these")
    avoid_cpu = setting.get("avoid_cpu")
    mask = rules.as_mask(chosen if setting.get("cpus") or avoid_cpu is None else _others(online, {int(avoid_cpu)}))
    paths = [
        path
        for interface in _interfaces(setting)
        for path in sorted(glob.glob(f"{glob.escape(f'{nic.SYS_NET}/' + interface['name'])}/queues/rx-*/rps_cpus"))
    ]
    if not paths:
        raise Unfit("these interfaces have no receive queue, or the kernel was built without CONFIG_RPS")
    return [Change(File(path, "mask"), lambda _current, _was: mask) for path in paths]


def _others(online: Set[int], avoid: Set[int]) -> Set[int]:
    if not online - avoid:
        raise Unfit(f"CPU {min(avoid)} is the only one that is online: there is no other to go to")
    return online - avoid


def _interfaces(setting: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Those named, else those with a default route, each with what it is made of. Raises Unfit."""
    try:
        found = nic.read()["interfaces"] if not setting.get("interfaces") else nic.named(setting["interfaces"])
    except (Unavailable, OSError) as error:
        raise Unfit(f"the interfaces of this host can't be read: {error}") from None
    missing = [name for name in setting.get("interfaces") or [] if name not in [interface["name"] for interface in found]]
    if missing:
        raise Unfit(f"interfaces names {', '.join(missing)}, which this host does not have")
    if setting.get("interfaces"):
        return found
    leading = _made_of(found, [interface["name"] for interface in found if interface["default_route"]])
    if not leading:
        raise Unfit("this host has no default route: name the interfaces")
    return [interface for interface in found if interface["name"] in leading]


def _made_of(found: List[Dict[str, Any]], names: List[str]) -> Set[str]:
    """The interfaces, and all below them."""
    lower = {interface["name"]: interface["lower"] for interface in found}
    reached: Set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += lower.get(name, [])
    return reached
