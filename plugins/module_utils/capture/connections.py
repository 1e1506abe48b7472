# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The established TCP connections that look worst, without sending a packet: stalls of real clients show in them.

Asked over NETLINK_SOCK_DIAG (linux/sock_diag.h, linux/inet_diag.h; struct tcp_info: linux/tcp.h), in this network namespace, and for
connections to the endpoints of services in those of their pods. The kernel hands out some 32 kB at a time and locks one connection at a
time; it still walks its whole table, so the dump is bounded in time and rows. Nothing is asked that would make the kernel load a module.
"""

import heapq
import ipaddress
import math
import os
import socket
import struct
import time
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import netlink
from ansible_collections.fleet.stall.plugins.module_utils.capture import namespaces
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text_or_none

SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
INET_DIAG_INFO = 2
ESTABLISHED = 1
REQUEST = struct.Struct("=BBBBI48x")  # inet_diag_req_v2: family, protocol, extensions, pad, states; any socket
PORTS = struct.Struct("!HH")  # of inet_diag_sockid, in network order
QUEUES = struct.Struct("=IIII")  # receive queue, send queue, uid, inode
SOURCE, DESTINATION, QUEUES_AT, MESSAGE_SIZE = 8, 24, 56, 72
# Offsets in struct tcp_info; what an older kernel's is too short for is not measured.
UNACKED, RTT, RETRANSMITS, MIN_RTT = 24, 68, 100, 148
UNKNOWN = 0xFFFFFFFF
MAPPED = bytes(10) + b"\xff\xff"

MOST_SECONDS = 1.0
MOST_SEEN = 50000
SCAN_S = 0.5
# Of those who probe, whose connections tell who serves; the others of their addresses are for services behind address translation.
MOST_OWN = 20
REQUESTS = ("tcp_kept", "http_kept", "http_new")


# Packed address, port
End = Tuple[bytes, int]


class Connection(NamedTuple):
    """One row of the kernel's answer; times in us, None where the kernel does not tell."""

    local: End
    peer: End
    inode: int
    rtt_us: Optional[int]
    min_rtt_us: Optional[int]
    retransmits: Optional[int]
    unread_bytes: int
    unacked: Optional[int]


def survey(limit: int = 50, asked: Iterable[End] = (), endpoints: Iterable[End] = ()) -> Dict[str, Any]:
    """{rows [{local, peer, pid, comm, rtt_ms, min_rtt_ms, retransmits, unread_bytes, unacked, tells}], seen, complete, unseen}.

    The worst come first. retransmits: since the connection began; unacked: segments on their way; unread_bytes: arrived, but not read by
    the process. pid and comm are null for sockets whose process was not found in time. Those of the clients in `asked` (see there), and
    those with an end in `endpoints`, here or in a pod, tell who serves: they come last if they are not among the worst. `complete` is False
    where a bound left connections unseen; `unseen`: why those of pods could not be looked at, None if they could.
    Raises Unavailable with reason and remedy.
    """
    _must_not_load("tcp_diag")
    _must_not_load("inet_diag")
    endpoints = set(endpoints)
    seen = Seen(asked, endpoints)
    worst = heapq.nlargest(limit, seen, key=badness)
    pods = namespaces.visit({address for address, _port in endpoints}, partial(_served, endpoints)) if endpoints else namespaces.NONE
    chosen = worst + [connection for connection in seen.own() if connection not in worst] + pods.found[:MOST_OWN]
    owners = _owners({connection.inode for connection in chosen if connection.inode})
    return {
        "rows": [row_of(connection, owners.get(connection.inode), seen.tells(connection)) for connection in chosen],
        "seen": seen.count,
        "complete": seen.complete,
        "unseen": pods.reason,
    }


def _served(endpoints: Set[End]) -> List[Connection]:
    """The connections to these ends in the network namespace in which it is called."""
    return [connection for connection in Seen() if connection.local in endpoints]


def ends(pairs: Iterable[Sequence[Any]]) -> Set[End]:
    """The endpoints of a capture plan."""
    return {(_unmapped(ipaddress.ip_address(address).packed), port) for address, port in pairs}


def asked_by(flows: Iterable[Dict[str, Any]]) -> Set[End]:
    """(address of the client, port that it asks) of the flows of a capture plan that ask a service, where the address is known."""
    return {
        (_unmapped(ipaddress.ip_address(flow["source_address"]).packed), flow["port"])
        for flow in flows
        if flow["protocol"] in REQUESTS and flow.get("source_address")
    }


class Seen:
    """The established connections of both families, within the bounds."""

    def __init__(self, asked: Iterable[End] = (), endpoints: Iterable[End] = ()) -> None:
        self.count = 0
        self.complete = True
        self._asked, self._endpoints = set(asked), set(endpoints)
        self._clients = {address for address, _port in self._asked}
        self._exact: List[Connection] = []
        self._others: List[Connection] = []

    def own(self) -> List[Connection]:
        """Those to endpoints, and of the clients, on the ports that they ask before others."""
        return (self._exact + self._others)[:MOST_OWN]

    def tells(self, found: Connection) -> bool:
        """Whether it tells who serves."""
        return found.peer[0] in self._clients or found.local in self._endpoints

    def _keep(self, found: Connection) -> None:
        if self.tells(found):
            is_exact = (found.peer[0], found.local[1]) in self._asked or found.local in self._endpoints
            kept = self._exact if is_exact else self._others
            if len(kept) < MOST_OWN:
                kept.append(found)

    def __iter__(self) -> Iterator[Connection]:
        until = time.monotonic() + MOST_SECONDS
        for family in (socket.AF_INET, socket.AF_INET6):
            question = REQUEST.pack(family, socket.IPPROTO_TCP, 1 << INET_DIAG_INFO - 1, 0, 1 << ESTABLISHED)
            try:
                left = max(0.05, until - time.monotonic())
                for kind, payload in netlink.dump(SOCK_DIAG, SOCK_DIAG_BY_FAMILY, question, left):
                    found = parse(payload) if kind == SOCK_DIAG_BY_FAMILY else None
                    if found is None:
                        continue
                    if self.count >= MOST_SEEN:
                        self.complete = False
                        return
                    self.count += 1
                    self._keep(found)
                    yield found
            except socket.timeout:
                self.complete = False
                return
            except OSError as error:
                if family == socket.AF_INET:
                    raise Unavailable(f"NETLINK_SOCK_DIAG: {error.strerror or error}") from None
                self.complete = False  # a kernel without IPv6


def _must_not_load(module: str) -> None:
    """Raises Unavailable where asking would make the kernel load the module."""
    if not os.path.exists("/proc/modules") or os.path.isdir(f"/sys/module/{module}"):
        return
    built_in = text_or_none(f"/lib/modules/{os.uname().release}/modules.builtin") or ""
    if f"/{module}.ko" not in built_in:
        raise Unavailable(f"{module} is not loaded, and a diagnosis loads no module: modprobe {module} (ss does so, too)")


def parse(message: bytes) -> Optional[Connection]:
    """An inet_diag_msg with its attributes; None if it is too short or of another family."""
    if len(message) < MESSAGE_SIZE:
        return None
    family = message[0]
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    local_port, peer_port = PORTS.unpack_from(message, 4)
    unread, _unsent, _uid, inode = QUEUES.unpack_from(message, QUEUES_AT)
    info = netlink.attributes(message[MESSAGE_SIZE:]).get(INET_DIAG_INFO, b"")
    rtt, least = _word(info, RTT), _word(info, MIN_RTT)
    return Connection(
        (_address(family, message, SOURCE), local_port),
        (_address(family, message, DESTINATION), peer_port),
        inode,
        rtt or None,  # 0 and ~0: not measured yet
        None if least in (0, UNKNOWN) else least,
        _word(info, RETRANSMITS),
        unread,
        _word(info, UNACKED),
    )


def _word(info: bytes, offset: int) -> Optional[int]:
    return struct.unpack_from("=I", info, offset)[0] if len(info) >= offset + 4 else None


def _address(family: int, message: bytes, offset: int) -> bytes:
    return _unmapped(message[offset : offset + (4 if family == socket.AF_INET else 16)])


def _unmapped(address: bytes) -> bytes:
    return address[12:] if address.startswith(MAPPED) and len(address) == 16 else address


def badness(connection: Connection) -> float:
    """How many doublings: of the round trip over its own minimum (from 1 ms on), of retransmits, of what waits unread (from 4 kB on)."""
    rtt, least = connection.rtt_us, connection.min_rtt_us
    ratio = (rtt + 1000) / (least + 1000) if rtt and least else 1.0
    return math.log2(ratio) + math.log2(1 + (connection.retransmits or 0)) + math.log2(1 + connection.unread_bytes / 4096)


def row_of(connection: Connection, pid: Optional[int], tells: bool = False) -> Dict[str, Any]:
    """A row of `connections` in capture.json."""
    return {
        "local": _spelled(*connection.local),
        "peer": _spelled(*connection.peer),
        "pid": pid,
        "comm": text_or_none(f"/proc/{pid}/comm") if pid is not None else None,
        "rtt_ms": _ms(connection.rtt_us),
        "min_rtt_ms": _ms(connection.min_rtt_us),
        "retransmits": connection.retransmits,
        "unread_bytes": connection.unread_bytes,
        "unacked": connection.unacked,
        "tells": tells,
    }


def _ms(microseconds: Optional[int]) -> Optional[float]:
    return None if microseconds is None else round(microseconds / 1000, 3)


def _spelled(address: bytes, port: int) -> str:
    if len(address) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"


def _owners(inodes: Set[int]) -> Dict[int, int]:
    """{inode of a socket: a process that has it open}, as far as they are found within the bound."""
    wanted = {f"socket:[{inode}]".encode(): inode for inode in inodes}
    found: Dict[int, int] = {}
    until = time.monotonic() + SCAN_S
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        if len(found) == len(wanted) or time.monotonic() > until:
            break
        for inode in _socket_inodes(f"/proc/{entry}/fd".encode(), wanted):
            found.setdefault(inode, int(entry))
    return found


def _socket_inodes(directory: bytes, wanted: Dict[bytes, int]) -> Iterator[int]:
    try:
        descriptors = os.listdir(directory)
    except OSError:
        return  # ended meanwhile, or another user's
    for descriptor in descriptors:
        try:
            target = os.readlink(directory + b"/" + descriptor)
        except OSError:
            continue
        if target in wanted:
            yield wanted[target]
