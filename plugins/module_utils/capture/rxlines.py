# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tracer printed, as rows. Pure; the lines are as rxprogram.py describes them, behind a mark that nobody else can know."""

import posixpath
import struct
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ansible_collections.fleet.stall.plugins.module_utils.capture import callprogram, rxprogram, syscalls
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled

# Where these file systems are mounted everywhere. Hierarchies of cgroup v1 are one level below: which one, the names don't tell.
MOUNTS = {"proc": "/proc", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup/*", "cgroup2": "/sys/fs/cgroup", "debugfs": "/sys/kernel/debug"}
KINDS = {"sockfs": "socket", "pipefs": "pipe", "anon_inodefs": "anon_inode"}


class SlowCall(NamedTuple):
    """`file`: type of the file system, then the names from the file upwards, as far as they were read; () if it is about no file.

    `path`: where the tracer itself knows it.
    """

    start_ns: int
    duration_ns: int
    on_cpu_ns: Optional[int]
    cpu: Optional[int]
    pid: int
    tid: int
    comm: str
    call: str
    fd: Optional[int]
    file: Tuple[str, ...]
    how: str = "bpf"
    path: Optional[str] = None


class Heartbeat(NamedTuple):
    """`refused`: TCP rows of this turn that were not written, being too many."""

    at_ns: int
    refused: int = 0


class Watched(NamedTuple):
    """How many system calls were looked at in this turn: of this process, or of all (None), which comes after those."""

    pid: Optional[int]
    calls: int


Line = Union[Heartbeat, Handled, SlowCall, Watched, None]


class Parser:
    """Knows the flows of the plan, so that a TCP segment finds its own."""

    def __init__(self, flows: Sequence[Dict[str, Any]], mark: str) -> None:
        self.mark = mark
        self._rows = (f"@r{mark}a[", f"@r{mark}b[")
        self._watched, self._loud = f"@n{mark}: ", f"@l{mark}["
        self._echo = {flow["id"]: flow["id"] for flow in flows if flow["protocol"] == "icmp"}
        self._tcp: Dict[Tuple[int, int, int, Optional[int]], int] = {}
        for flow in flows:
            if flow["protocol"] != "icmp":
                key = (flow["family"], rxprogram.address_word(flow.get("source_address")), flow["port"], flow.get("source_port"))
                self._tcp.setdefault(key, flow["id"])

    def parse(self, line: str) -> Line:
        """None for what is not understood: a line cut off, a line of someone else's."""
        try:
            if line.startswith(self._rows):
                return self._handled(line)
            if line.startswith(self._watched):
                return Watched(None, callprogram.COUNTED_SHARE * int(line[len(self._watched) :]))
            if line.startswith(self._loud):
                pid, _, calls = line[len(self._loud) :].partition("]: ")
                return Watched(int(pid), callprogram.COUNTED_SHARE * int(calls))
            if not line.startswith(self.mark):
                return None
            kind, _, rest = line[len(self.mark) :].partition(" ")
            if kind == "c":
                return _slow_call(rest.split(" ", 9))
            if kind == "h":
                at, tcp = map(int, rest.split(" "))
                return Heartbeat(at, max(0, tcp - rxprogram.TCP_ROWS))
            return None
        except (ValueError, IndexError, OverflowError):
            return None

    def _handled(self, line: str) -> Handled:
        key, _, comm = line.partition("]: ")
        at, cpu, pid, tid, kind, address, words = map(int, key.partition("[")[2].split(", "))
        first, second = _two_words(words)
        if kind == 0:
            return Handled(at, cpu, pid, tid, comm, self._echo.get(first), second)
        source_port, port = divmod(first, 65536)
        return Handled(at, cpu, pid, tid, comm, self.flow_of(kind, address, port, source_port), second)

    def flow_of(self, family: int, address: int, port: int, source_port: int) -> Optional[int]:
        """The flow of a segment; one whose source or source port the plan leaves open takes what no other does."""
        for at, of in ((address, source_port), (address, None), (0, source_port), (0, None)):
            found = self._tcp.get((family, at, port, of))
            if found is not None:
                return found
        return None


def _two_words(value: int) -> Tuple[int, int]:
    """Two words as they lay in a packet, as the numbers that they mean."""
    first, second = struct.unpack("!II", (value & (1 << 64) - 1).to_bytes(8, sys.byteorder))
    return first, second


def _slow_call(words: List[str]) -> SlowCall:
    start, duration, on_cpu, cpu, pid, tid, number, compat, fd = map(int, words[:9])
    comm, *file = words[9].rsplit("|", 5)
    call = syscalls.name(number, compat=compat != 0)
    by_fd = syscalls.takes_descriptor(call) and fd < 1 << 31
    about = tuple(file) if by_fd and file and file[0] else ()
    return SlowCall(start, duration, on_cpu, cpu, pid, tid, comm, call, fd if by_fd else None, about)


def path_of(file: Sequence[str], link: Optional[str]) -> Optional[str]:
    """The path of a file from its file system and names. `link`: what the descriptor leads to now, which may be another file.

    "*/" stands for what was not read.
    """
    if not file:
        return None
    kind, names = file[0], list(file[1:])
    if link and posixpath.basename(link.partition(" (deleted)")[0])[: rxprogram.NAME_BYTES - 1] == names[0]:
        return link
    if kind in KINDS:
        return f"{KINDS[kind]}:{names[0]}"
    whole = "/" in names
    below = "/".join(reversed(names[: names.index("/")] if whole else [name for name in names if name]))
    if kind in MOUNTS:
        return f"{MOUNTS[kind]}/{'' if whole else '*/'}{below}"
    return f"*/{below}"
