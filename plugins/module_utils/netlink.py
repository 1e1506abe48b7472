# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps over netlink: the question, and the messages of the answer (linux/netlink.h, linux/rtnetlink.h)."""

import os
import socket
import struct
import time
from typing import Dict, Iterator, List, Optional, Tuple

HEADER = struct.Struct("=IHHII")
REQUEST_DUMP = 0x1 | 0x300
ERROR, DONE = 2, 3
FAMILIES = (socket.AF_INET, socket.AF_INET6)
ROUTE, NETFILTER = 0, 12
RTM_NEWADDR, RTM_GETADDR = 20, 22
IFADDRMSG = struct.Struct("=BBBBI")
IFA_ADDRESS, IFA_LOCAL = 1, 2


def messages(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """(type, payload) of each message in a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind = HEADER.unpack_from(data, offset)[:2]
        if length < HEADER.size:
            return
        yield kind, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def dump(protocol: int, kind: int, body: bytes, seconds: float = 1.0) -> Iterator[Tuple[int, bytes]]:
    """The messages of a dump until the kernel says that it is done. Raises OSError; also (ETIMEDOUT) when `seconds` have passed."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as asking:
        asking.settimeout(seconds)
        asking.sendto(HEADER.pack(HEADER.size + len(body), kind, REQUEST_DUMP, 1, 0) + body, (0, 0))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for answer, payload in messages(asking.recv(1 << 16)):
                if answer in (ERROR, DONE):
                    # A dump that breaks off says why at its end.
                    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
                    if code > 0:
                        raise OSError(code, os.strerror(code))
                    return
                yield answer, payload
    raise socket.timeout(f"no end of the dump within {seconds:g} s")


def attributes(data: bytes) -> Dict[int, bytes]:
    """{type: value} of the attributes that follow a message's fixed part."""
    found: Dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def parse_address(payload: bytes) -> Optional[Tuple[int, str]]:
    """(interface index, address) of an RTM_NEWADDR message; None if it is of another family than IPv4 and IPv6."""
    family, _prefix, _flags, _scope, index = IFADDRMSG.unpack_from(payload)
    if family not in FAMILIES:
        return None
    found = attributes(payload[IFADDRMSG.size :])
    # On a point-to-point interface IFA_ADDRESS is the peer's, IFA_LOCAL our own.
    packed = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
    return (index, socket.inet_ntop(family, packed)) if packed else None


def addresses() -> Dict[str, List[str]]:
    """{interface: [address, ..]} of this network namespace. Raises OSError."""
    names = dict(socket.if_nameindex())
    found: Dict[str, List[str]] = {}
    body = IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    answers = [payload for kind, payload in dump(ROUTE, RTM_GETADDR, body) if kind == RTM_NEWADDR]
    for index, address in filter(None, map(parse_address, answers)):
        found.setdefault(names.get(index, str(index)), []).append(address)
    return found
