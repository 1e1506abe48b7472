# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sockets and the options Python has no names for: filters, kernel timestamps, timer slack.

Sources: linux/Documentation/networking/timestamping.rst, asm-generic/socket.h (x86, arm, ppc, s390), prctl(2).
"""

import array
import errno
import functools
import os
import socket
import struct
from typing import Any, Dict, List, Optional, Sequence, Tuple

SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SO_TIMESTAMPING = 37
IPPROTO_IPV6_CHECKSUM = 7
PR_SET_TIMERSLACK = 29

# SOF_TIMESTAMPING_*: TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY
_BOTH_WAYS = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 11
_ERROR_LEVELS = ((socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25))  # IP_RECVERR, IPV6_RECVERR
_ORIGIN_TIMESTAMPING = 4
_TIMESPEC = struct.Struct("@qq")
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
_WIDE = struct.calcsize("P") == 8  # 32-bit kernels hand out 32-bit times by these options

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
ANCILLARY_SIZE = 256


def capability(available: bool, how: Optional[str], reason: Optional[str] = None) -> Dict[str, Any]:
    """One row of `capabilities` in observe.json."""
    return {"available": available, "how": how, "reason": reason}


def reason_of(error: OSError) -> str:
    """The error without numbers that would make every occurrence another text."""
    if isinstance(error, socket.gaierror):  # whose numbers are of another kind
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else str(error)


def attach_filter(sock: socket.socket, program: Sequence[Tuple[int, int, int, int]]) -> None:
    """SO_ATTACH_FILTER, then throw away what came in before it."""
    code = array.array("B", b"".join(struct.pack("@HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), code.buffer_info()[0]))
    try:
        while True:
            sock.recv(1)
    except BlockingIOError:
        pass


def widen(sock: socket.socket, size: int) -> None:
    """Room for the replies of a whole stall; as much as the kernel allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def stamp_received(sock: socket.socket) -> Optional[str]:
    """Ask for receive timestamps; the reason if there are none."""
    if not _WIDE:
        return "32-bit Python"
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError as error:
        return "SO_TIMESTAMPNS: " + reason_of(error)
    return None


def stamp_both(sock: socket.socket) -> Optional[str]:
    """Ask for receive and transmit timestamps, numbered from 0 again; the reason if there are none."""
    if not _WIDE:
        return "32-bit Python"
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _BOTH_WAYS)
    except OSError as error:
        return "SO_TIMESTAMPING: " + reason_of(error)
    return None


def stamp_of(ancillary: List[Tuple[int, int, bytes]]) -> int:
    """The kernel's receive time, in epoch nanoseconds; 0 without one."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind in (SO_TIMESTAMPING, SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return seconds * 1000000000 + nanoseconds
    return 0


def next_sent(sock: socket.socket) -> Optional[Tuple[int, int]]:
    """The next transmit timestamp from the error queue as (number of the packet, epoch nanoseconds).

    None when the queue is empty; (-1, 0) for another message.
    """
    try:
        ancillary = sock.recvmsg(0, ANCILLARY_SIZE, socket.MSG_ERRQUEUE)[1]
    except OSError:
        return None
    for level, kind, data in ancillary:
        if (level, kind) in _ERROR_LEVELS:
            _errno, origin, _type, _code, _pad, _info, number = _EXTENDED_ERROR.unpack_from(data)
            if origin == _ORIGIN_TIMESTAMPING:
                return number, stamp_of(ancillary)
    return -1, 0


@functools.lru_cache(maxsize=None)
def destination(family: int, address: str, port: int = 0) -> Any:
    """The socket address of a literal address or a name; OSError if there is none in this family."""
    found = socket.getaddrinfo(address, port, FAMILIES[family], socket.SOCK_DGRAM)
    return found[0][4]


def packed(family: int, address: str) -> bytes:
    return socket.inet_pton(FAMILIES[family], address.partition("%")[0])


def raw(family: int, protocol: int, target: Any) -> socket.socket:
    """A non-blocking raw socket, connected: the source address is settled and foreign packets stay out."""
    sock = socket.socket(FAMILIES[family], socket.SOCK_RAW, protocol)
    return _connected(sock, target)


def ping(family: int, target: Any) -> socket.socket:
    """An unprivileged ping socket (net.ipv4.ping_group_range)."""
    protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
    return _connected(socket.socket(FAMILIES[family], socket.SOCK_DGRAM, protocol), target)


def _connected(sock: socket.socket, target: Any) -> socket.socket:
    try:
        sock.setblocking(False)
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock


def bind(sock: socket.socket, local: Any, port: int) -> None:
    """Bind to the address of the socket name `local` (IPv6: its scope, too)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((local[0], port) + tuple(local[2:]))


def reserve_port(family: int, local: Any, port: Optional[int]) -> Tuple[socket.socket, Optional[str]]:
    """Bind, but do not listen: the kernel hands the port to nobody else, and answers a SYN-ACK to it with RST.

    Another port and the reason, where the wanted one is taken.
    """
    sock = socket.socket(FAMILIES[family], socket.SOCK_STREAM)
    refused = None
    try:
        try:
            bind(sock, local, port or 0)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            refused = f"source port {port}: {reason_of(error)}, another one was used"
            bind(sock, local, 0)
    except OSError:
        sock.close()
        raise
    return sock, refused


def sharpen_timers(nanoseconds: int = 1) -> Dict[str, Any]:
    """PR_SET_TIMERSLACK for this process, so that sleeps end when asked."""
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        done = libc.prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds), 0, 0, 0) == 0
        return capability(done, "prctl" if done else None, None if done else os.strerror(ctypes.get_errno()))
    except (ImportError, OSError, AttributeError) as error:
        return capability(False, None, f"ctypes: {error}")
