# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a process is: program, systemd unit, cgroup, container, scheduling.

Sources: proc(5), cgroups(7); the spelling of container paths: runc and crun by the drivers "cgroupfs" and "systemd", as docker, podman,
containerd and CRI-O call them; the rule for units: systemd's cg_path_get_unit.
"""

import os
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.counters import threads
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text, text_or_none

CMDLINE_CHARS = 200
PATH_CHARS = 512
PF_KTHREAD = 0x00200000

UNIT = re.compile(r"^[\w:.\\@-]+\.(service|scope|socket|mount|swap)$")
USER_MANAGER = re.compile(r"^user@\d+\.service$")
CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
DELETED = " (deleted)"


def describe(pid: int) -> Dict[str, Any]:
    """A row of `processes` in capture.json: {comm, exe, unit, cgroup, cpu_cgroup, container, policy, priority, cmdline, kernel}.

    Each is null if unknown. Takes the id of a process or of a thread. `priority`: 1 to 99 for fifo and rr, else the nice value. `kernel`:
    whether it is a kernel thread (these have no program and no command line). `unit`: as systemctl takes it; user@1000.service/app.service
    is a unit of that user's manager. Never raises.
    """
    found: Dict[str, Any] = {
        "comm": _line(f"/proc/{pid}/comm"),
        "exe": _link(f"/proc/{pid}/exe"),
        "cmdline": _cmdline(pid),
        "policy": None,
        "priority": None,
        "kernel": None,
    }
    try:
        found.update(parse_stat(text(f"/proc/{pid}/stat")))
    except (Unavailable, ValueError, IndexError):
        pass
    found.update(parse_cgroup(text_or_none(f"/proc/{pid}/cgroup") or ""))
    return found


def fd_path(pid: int, fd: int) -> Optional[str]:
    """What an open descriptor leads to: a path, or such as "socket:[77]"; None if there is none or it can't be seen."""
    return _link(f"/proc/{pid}/fd/{fd}")


def is_32_bit(pid: int) -> bool:
    """Whether a process runs a 32-bit program (elf(5), EI_CLASS); False where that can't be seen."""
    try:
        with open(f"/proc/{pid}/exe", "rb") as file:
            return file.read(5) == b"\x7fELF\x01"
    except OSError:
        return False


def parse_stat(content: str) -> Dict[str, Any]:
    """{policy, priority, kernel} of /proc/PID/stat. Raises ValueError or IndexError for other text."""
    seen = threads.parse_stat(content)
    flags = int(content.rpartition(")")[2].split()[9 - 3])
    real_time = seen["policy"] in ("fifo", "rr")
    return {
        "policy": seen["policy"],
        "priority": seen["rt_priority"] if real_time else seen["nice"],
        "kernel": bool(flags & PF_KTHREAD),
    }


def parse_cgroup(content: str) -> Dict[str, Optional[str]]:
    """{cgroup, cpu_cgroup, unit, container} of /proc/PID/cgroup.

    `cgroup`: the path in the memory hierarchy, else in the first that is not at its root. `cpu_cgroup`: where a CPU quota counts, which v1
    keeps apart. `container`: the innermost one's id.
    """
    groups = _groups(content)
    paths = [path for _names, path in groups if path != "/"]
    by_systemd = [path for names, path in groups if "name=systemd" in names] + [path for names, path in groups if not names]
    return {
        "cgroup": next((path[:PATH_CHARS] for path in paths), "/" if groups else None),
        "cpu_cgroup": next((path[:PATH_CHARS] for names, path in sorted(groups, key=_cpu_first) if "cpu" in names or not names), None),
        "unit": next(filter(None, map(_unit, by_systemd + paths)), None),
        "container": next(filter(None, map(_container, paths)), None),
    }


def _cpu_first(group: Tuple[List[str], str]) -> bool:
    return "cpu" not in group[0]


def _groups(content: str) -> List[Tuple[List[str], str]]:
    """(controllers, path) of each line: that of the memory controller first, then that of v2, which names none."""
    found = []
    for line in content.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and parts[2].startswith("/"):
            path = parts[2][: -len(DELETED)] if parts[2].endswith(DELETED) else parts[2]
            found.append((parts[1].split(",") if parts[1] else [], path))
    return sorted(found, key=lambda group: 0 if "memory" in group[0] else 1 if not group[0] else 2)


def _unit(path: str) -> Optional[str]:
    """The outermost unit below the slices; below a user's manager, that user's unit as well."""
    units = [part.lstrip("_") for part in path.split("/") if UNIT.match(part)]
    if not units:
        return None
    if USER_MANAGER.match(units[0]) and len(units) > 1:
        return f"{units[0]}/{units[1]}"[:PATH_CHARS]
    return units[0][:PATH_CHARS]


def _container(path: str) -> Optional[str]:
    for part in reversed(path.split("/")):
        found = CONTAINER.search(part)
        if found and "conmon" not in part:  # a container's monitor is a process of the host
            return found.group()
    return None


def _line(path: str) -> Optional[str]:
    found = text_or_none(path)
    return found[:PATH_CHARS] if found else None


def _link(path: str) -> Optional[str]:
    try:
        return os.readlink(path.encode()).decode("utf-8", "replace")[:PATH_CHARS]
    except (OSError, ValueError):
        return None


def _cmdline(pid: int) -> Optional[str]:
    try:
        words = text(f"/proc/{pid}/cmdline", limit=4 * CMDLINE_CHARS)
    except Unavailable:
        return None
    return words.replace("\0", " ").strip()[:CMDLINE_CHARS] or None
