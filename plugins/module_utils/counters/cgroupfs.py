# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the cgroup hierarchies are mounted, and a bounded walk of their live directories."""

import os
import time
from typing import Dict, Iterator, List, NamedTuple, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text


class Hierarchy(NamedTuple):
    """A mounted cgroup tree; `whole` is False where only a part of it is visible, as in a container (see `hierarchies`)."""

    path: str
    version: int
    controllers: List[str]
    whole: bool


def parse_mountinfo(content: str) -> List[Hierarchy]:
    """The hierarchies in /proc/self/mountinfo."""
    found = []
    for line in content.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, mount_point = left.split()[3:5]
        controllers = options.split()[-1].split(",") if kind == "cgroup" else []
        found.append(Hierarchy(_unescaped(mount_point), 1 if kind == "cgroup" else 2, controllers, root == "/"))
    return found


def _unescaped(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def hierarchies() -> List[Hierarchy]:
    """The hierarchies that are mounted here. In a cgroup namespace of its own a container's part looks like the root of a tree."""
    return [
        hierarchy._replace(whole=hierarchy.whole and is_root(hierarchy.path, hierarchy.version))
        for hierarchy in parse_mountinfo(text("/proc/self/mountinfo"))
    ]


def is_root(path: str, version: int) -> bool:
    """Whether a directory is the root of its hierarchy: there alone v1 has a release_agent, and v2 no cgroup.events."""
    return os.path.exists(f"{path}/release_agent") if version == 1 else not os.path.exists(f"{path}/cgroup.events")


def with_controller(found: List[Hierarchy], controller: str) -> Optional[Hierarchy]:
    """The v1 hierarchy that a controller is bound to."""
    return next((hierarchy for hierarchy in found if controller in hierarchy.controllers), None)


def unified(found: List[Hierarchy]) -> Optional[Hierarchy]:
    return next((hierarchy for hierarchy in found if hierarchy.version == 2), None)


class Walk:
    """Live cgroup directories below and including `top`, breadth first; `complete` turns False when a bound cut the walk short."""

    def __init__(self, top: str, seconds: float, most: int) -> None:
        self.top, self.most = top, most
        self.until = time.monotonic() + seconds
        self.seen = 0
        self.complete = True

    def __iter__(self) -> Iterator[str]:
        level = [self.top]
        while level:
            below: List[str] = []
            for path in level:
                if self.seen >= self.most or time.monotonic() > self.until:
                    self.complete = False
                    return
                self.seen += 1
                yield path
                below.extend(_directories(path))
            level = below


def _directories(path: str) -> List[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # removed while we walked: no longer live


def keyed_numbers(content: str) -> Dict[str, int]:
    """{name: value} of a flat keyed file such as cpu.stat or cgroup.stat."""
    pairs = (line.split() for line in content.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
