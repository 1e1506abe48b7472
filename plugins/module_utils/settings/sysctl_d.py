# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls that outlast a reboot: lines of a file of sysctl.d(5) that is ours alone, each below a comment with what was before."""

import glob
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.fleet.stall.plugins.module_utils import statedir
from ansible_collections.fleet.stall.plugins.module_utils.settings import rules
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Place

PATH = "/etc/sysctl.d/90-fleet-stall.conf"
HEAD = "# Written by fleet.stall: what its remedies have set. A rollback takes it out again."
WAS = "# was: "
LATER = ("/etc/sysctl.d/*.conf", "/run/sysctl.d/*.conf", "/usr/lib/sysctl.d/*.conf", "/lib/sysctl.d/*.conf")
LAST = "/etc/sysctl.conf"


class Entry(NamedTuple):
    value: str
    was: Optional[str]


def parse(content: str) -> Dict[str, Entry]:
    """{name: Entry} of the file."""
    found: Dict[str, Entry] = {}
    was: Optional[str] = None
    for line in content.splitlines():
        if line.startswith(WAS):
            was = line[len(WAS) :]
        elif "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            found[name.strip()] = Entry(value.strip(), was)
            was = None
    return found


def render(entries: Dict[str, Entry]) -> str:
    lines = [HEAD]
    for name, entry in sorted(entries.items()):
        lines += [] if entry.was is None else [WAS + entry.was]
        lines.append(f"{name} = {entry.value}")
    return "\n".join(lines) + "\n"


def entries() -> Dict[str, Entry]:
    try:
        with open(PATH) as file:
            return parse(file.read())
    except FileNotFoundError:
        return {}


def was(name: str, current: str) -> Optional[str]:
    """What the sysctl was before it was persisted, if it still is what the file says: all that is known of it after a reboot."""
    entry = entries().get(name)
    return entry.was if entry and rules.same(entry.value, current) else None


class Line(Place):
    """A line of the file; the value "" is no line."""

    kind = "sysctl_line"

    def __init__(self, name: str, was: Optional[str] = None) -> None:
        self.name, self.was = name, was

    def described(self) -> Dict[str, Any]:
        return {"name": self.name}

    def label(self) -> str:
        return f"{self.name} in {PATH}"

    def exists(self) -> bool:
        return True

    def read(self) -> str:
        entry = entries().get(self.name)
        return entry.value if entry else ""

    def write(self, value: str) -> None:
        known = entries()
        before = known.pop(self.name, None)
        if value:
            known[self.name] = Entry(value, before.was if before else self.was)
        if known:
            os.makedirs(os.path.dirname(PATH), exist_ok=True)
            statedir.write_whole(PATH, render(known).encode())
        elif os.path.exists(PATH):
            os.unlink(PATH)

    def same(self, one: str, other: str) -> bool:
        return rules.same(one, other)


def overriding(name: str) -> List[str]:
    """Files that are read after ours at boot and set the sysctl as well."""
    ours = os.path.basename(PATH)
    later = {os.path.basename(path): path for pattern in reversed(LATER) for path in glob.glob(pattern)}
    paths = [path for base, path in sorted(later.items()) if base > ours] + [LAST]
    spelled = re.compile(rf"^\s*-?\s*({re.escape(name)}|{re.escape(name.translate(str.maketrans('./', '/.')))})\s*=", re.MULTILINE)
    found: List[str] = []
    for path in paths:
        try:
            with open(path, errors="replace") as file:
                sets = bool(spelled.search(file.read()))
        except OSError:
            continue
        if sets and not any(os.path.samefile(path, other) for other in found):
            found.append(path)
    return found
