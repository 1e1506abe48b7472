# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow system calls out of the output of strace -T: which kept a CPU, and what they read, by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.module_utils.profile import stracelog
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts
from ansible_collections.fleet.stall.plugins.plugin_utils.slow_calls import WAITING

CALLS_LIMIT = 100_000
_TRACED = re.compile(r"\bstrace\b.*\s(?:-p\s{0,4}|--attach=)(\d{1,10})\b|^(?:strace: )?Process (\d{1,10}) attached", re.ASCII)
# What -y says of a descriptor that is no file
_NO_FILE = ("socket:", "pipe:", "anon_inode:", "UNIX", "TCP", "UDP", "NETLINK", "RAW")
_LINE = re.compile(r"\)\s{0,200}= .{0,200}<\d{1,9}\.\d{1,9}>\s{0,8}$|<\.\.\. \w{1,64} resumed>|<unfinished \.\.\.>\s{0,8}$", re.ASCII)
# Files by how they begin: the kernel's own format of each
_CONTENTS = (
    (re.compile(r"\Acache \d+\nrss \d+\n"), "memory.stat"),
    (re.compile(r"\Aanon \d+\nfile \d+\n"), "memory.stat"),
    (re.compile(r"\Atotal=\d+ N\d+="), "memory.numa_stat"),
    (re.compile(r"\A\s+sl\s+local_address"), "/proc/net/tcp"),
    (re.compile(r"\Aslabinfo - version"), "/proc/slabinfo"),
    (re.compile(r"\APage block order:"), "/proc/pagetypeinfo"),
    (re.compile(r"\A[0-9a-f]+-[0-9a-f]+ [rwxps-]{4} [0-9a-f]+ [^\n]*\n(?:Size:|Rss:)"), "smaps"),
)


@dataclass(frozen=True, slots=True)
class SlowCall:
    """``tid``, ``comm`` None: the log does not say; ``contents``: the file that it is of (-y), or whose format the buffer has."""

    tid: int | None
    name: str
    duration_ms: float
    buffer: str | None
    contents: str | None
    comm: str | None = None

    @property
    def waited(self) -> bool:
        """Whether the call sleeps for as long as it is asked to, so that its length says nothing."""
        return self.name in WAITING or self.name.startswith(("futex", "epoll_"))


@dataclass(slots=True)
class Strace:
    """``pid``: the process that was attached to, of the command line in the log; ``calls``: slow ones in their order."""

    pid: int | None = None
    calls: list[SlowCall] = field(default_factory=list)
    seen: int = 0
    skipped: int = 0
    omitted: int = 0

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing in it says whose calls they are, as without -f where the command line is not in it."""
        return self.pid is None and bool(self.calls) and all(call.tid is None for call in self.calls)

    @property
    def ran(self) -> list[SlowCall]:
        """Those that did not sleep for as long as they were asked to."""
        return [call for call in self.calls if not call.waited]

    def of(self, pid: int, tid: int) -> list[SlowCall]:
        """Slow calls of a thread that kept a CPU, else of its process."""
        ran = self.ran
        own = [call for call in ran if call.tid == tid]
        if own:
            return own
        return ran if self.pid in (pid, tid) or any(call.tid == pid for call in self.calls) else []


def recognises(line: str) -> bool:
    return _LINE.search(line) is not None


def read(lines: Iterable[str], least_ms: float, tid: int | None = None) -> Strace:
    """Calls of ``least_ms`` and longer. Never raises. ``tid``: whose log it is, for a file of -ff."""
    found, counts = Strace(pid=tid), Counts()
    for call in stracelog.parse(_noting_pid(lines, found), counts, tid):
        found.seen += 1
        if call.seconds is None or call.seconds * 1000 < least_ms:
            continue
        if len(found.calls) >= CALLS_LIMIT:
            found.omitted += 1
            continue
        path = call.path if call.path and not call.path.startswith(_NO_FILE) else None
        found.calls.append(
            SlowCall(call.tid, call.name, round(call.seconds * 1000, 3), call.buffer, path or contents(call.buffer), call.comm)
        )
    found.skipped = counts.skipped
    return found


def contents(buffer: str | None) -> str | None:
    """The file that a buffer is of, as its first bytes tell."""
    return next((name for pattern, name in _CONTENTS if buffer and pattern.match(buffer)), None)


def _noting_pid(lines: Iterable[str], found: Strace) -> Iterable[str]:
    for line in lines:
        if ("strace" in line or " attached" in line) and (named := _TRACED.search(line)):
            found.pid = found.pid or int(named[1] or named[2])
            continue
        yield line
