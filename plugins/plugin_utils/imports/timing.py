# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What short commands print of a host: `time cat .../memory.stat`, /proc/cgroups, cgroup.stat, a list of cgroups, `uname -a`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_UNAME = re.compile(r"Linux (\S{1,253}) (\d{1,3}\.\d{1,5}[\w.+~-]{0,100}) #", re.ASCII)
# time of bash and dash (and -p), then of zsh
_REAL = re.compile(r"real\s{1,8}(?:(\d{1,6})m)?(\d{1,9}(?:[.,]\d{1,9})?)s?\s{0,8}", re.ASCII)
_TOTAL = re.compile(r"\bcpu (?:(\d{1,6}):)?(\d{1,9}(?:[.,]\d{1,9})?) total\b", re.ASCII)
_OTHER_TIMES = re.compile(r"(?:user|sys)\s{1,8}(?:\d{1,6}m)?\d{1,9}(?:[.,]\d{1,9})?s?\s{0,8}", re.ASCII)
_CGROUPS = re.compile(r"([a-z_]{1,32})\s{1,20}\d{1,10}\s{1,20}(\d{1,10})\s{1,20}[01]\s{0,20}", re.ASCII)
_DESCENDANTS = re.compile(r"nr_(dying_)?descendants (\d{1,10})\s{0,20}", re.ASCII)
_DIRECTORY = re.compile(r"/sys/fs/cgroup/(?:memory|unified)?[^\0\n]{0,4000}")
# perf script --header
_HEADER = re.compile(r"# (hostname|os release) : (\S{1,253})\s{0,8}", re.ASCII)
MEMORY_STAT = "memory.stat"


@dataclass(slots=True)
class Facts:
    """None: not in the log. ``read_ms``: one read of memory.stat; ``timed``: what else was timed; ``memory_cgroups``: dying ones, too."""

    kernel: str | None = None
    host: str | None = None
    read_ms: float | None = None
    memory_cgroups: int | None = None
    live: int | None = None
    dying: int | None = None
    timed: str | None = None

    def named(self) -> dict[str, float]:
        """By the names of the catalogue (facts.TABLE)."""
        found = {"memory_cgroups.live": self.live, "memory_cgroups.dying": self.dying_found(), "memory_cgroups.read_ms": self.read_ms}
        found["cgroups.memory.num"] = self.memory_cgroups
        return {name: float(value) for name, value in found.items() if value is not None}

    def dying_found(self) -> int | None:
        """As stated, else those that the kernel counts and that have no directory any more."""
        if self.dying is not None or self.memory_cgroups is None or self.live is None:
            return self.dying
        return max(0, self.memory_cgroups - self.live)

    def add(self, other: Facts) -> None:
        """What another file says and this does not yet; of two timed reads the longer."""
        for name in ("kernel", "host", "memory_cgroups", "live", "dying", "timed"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(other, name))
        if other.read_ms is not None:
            self.read_ms = max(self.read_ms or 0.0, other.read_ms)


def recognises(line: str) -> bool:
    rows = (_REAL, _OTHER_TIMES, _CGROUPS, _DESCENDANTS)
    return any(row.fullmatch(line) for row in rows) or bool(_TOTAL.search(line) or _UNAME.search(line)) or _is_directory(line)


def read(lines: Iterable[str], name: str = "") -> Facts:
    """Never raises. ``name``: of the file, which may say what was timed where the text does not."""
    facts, reads, directories, command = Facts(), [], 0, ""
    for line in lines:
        if _is_directory(line):
            directories += "/memory" in line or "/sys/fs/cgroup/memory" not in line
        elif found := _REAL.fullmatch(line) or _TOTAL.search(line):
            reads.append((_ms(found[1], found[2]), line if "total" in line else command))
        elif found := _UNAME.search(line):
            facts.host, facts.kernel = facts.host or found[1], facts.kernel or found[2]
        elif (found := _CGROUPS.fullmatch(line)) and found[1] == "memory":
            facts.memory_cgroups = int(found[2])
        elif found := _DESCENDANTS.fullmatch(line):
            if found[1]:
                facts.dying = int(found[2])
            else:
                facts.live = int(found[2])
        elif line.strip() and not _OTHER_TIMES.fullmatch(line):
            command = line
    if directories:
        facts.live = directories
    for ms, what in reads:
        if MEMORY_STAT in (what or name) or MEMORY_STAT in name:
            facts.read_ms = max(facts.read_ms or 0.0, ms)
        else:
            facts.timed = facts.timed or what or "nothing says what"
    return facts


def noting_header(lines: Iterable[str], facts: Facts) -> Iterator[str]:
    """The lines of a recording, as they are; the host and its kernel, which the comments above it name, go to ``facts``."""
    above = True
    for line in lines:
        above = above and (line.startswith("#") or not line.strip())
        if above and (found := _HEADER.fullmatch(line)):
            facts.add(Facts(host=found[2]) if found[1] == "hostname" else Facts(kernel=found[2]))
        yield line


def _is_directory(line: str) -> bool:
    return line.startswith("/sys/fs/cgroup/") and _DIRECTORY.fullmatch(line) is not None and not line.endswith(MEMORY_STAT)


def _ms(minutes: str | None, seconds: str) -> float:
    return round(60_000 * int(minutes or 0) + 1000 * float(seconds.replace(",", ".")), 3)
