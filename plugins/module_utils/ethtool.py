# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network driver says of its receive queues, by the SIOCETHTOOL ioctl (linux/ethtool.h). Reads only."""

import array
import errno
import fcntl
import os
import socket
import struct
from typing import Any, Dict, List

SIOCETHTOOL = 0x8946
GDRVINFO, GRXFH, GRXFHINDIR, GCHANNELS, GRSSH = 0x03, 0x29, 0x38, 0x3C, 0x46
DRVINFO_SIZE = 196
# struct ethtool_rxfh: cmd, rss_context, indir_size, key_size, hfunc and reserved bytes, reserved word; then table and key.
RXFH = struct.Struct("=IIIIBxxxI")
CHANNELS = struct.Struct("=9I")
HASH_FUNCTIONS = {0: None, 1: "toeplitz", 2: "xor", 4: "crc32"}
FLOW_TYPES = {"tcp4": 1, "udp4": 2, "tcp6": 5, "udp6": 6}
HASH_FIELDS = ((1 << 4, "src_ip"), (1 << 5, "dst_ip"), (1 << 6, "src_port"), (1 << 7, "dst_port"))
MOST_ENTRIES = 4096


def ask(interface: str, request: bytes) -> bytes:
    """The driver's answer to a request, in a buffer of the request's size. Raises OSError (EOPNOTSUPP where the driver has no answer)."""
    buffer = array.array("B", request)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCETHTOOL, struct.pack("16sP", interface.encode()[:15], buffer.buffer_info()[0]).ljust(40, b"\0"))
    return buffer.tobytes()


def driver(interface: str) -> str:
    """The driver's name, such as "mlx5_core"."""
    answer = ask(interface, struct.pack("=I", GDRVINFO).ljust(DRVINFO_SIZE, b"\0"))
    return answer[4:36].partition(b"\0")[0].decode("ascii", "replace")


def channels(interface: str) -> Dict[str, int]:
    """{rx, tx, other, combined} in use; receive queues are rx + combined."""
    answer = CHANNELS.unpack(ask(interface, CHANNELS.pack(GCHANNELS, *[0] * 8)))
    return dict(zip(("rx", "tx", "other", "combined"), answer[5:]))


def rss(interface: str) -> Dict[str, Any]:
    """{function|null, key (hex)|null, indirection [queue, ..], fields {tcp4: [src_ip, ..], ..}}"""
    try:
        empty = ask(interface, RXFH.pack(GRSSH, 0, 0, 0, 0, 0))
        _, _, entries, key_size, _, _ = RXFH.unpack_from(empty)
        request = RXFH.pack(GRSSH, 0, min(entries, MOST_ENTRIES), key_size, 0, 0)
        found = parse_rxfh(ask(interface, request + bytes(4 * entries + key_size)))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        found = {"function": None, "key": None, "indirection": _indirection(interface)}
    found["fields"] = _fields(interface)
    return found


def parse_rxfh(answer: bytes) -> Dict[str, Any]:
    """{function, key, indirection} of a struct ethtool_rxfh with its table and key."""
    _, _, entries, key_size, function, _ = RXFH.unpack_from(answer)
    key = answer[RXFH.size + 4 * entries :][:key_size]
    return {
        "function": HASH_FUNCTIONS.get(function, f"unknown ({function})"),
        # Some drivers hide the key by leaving it zero.
        "key": key.hex() if any(key) else None,
        "indirection": list(struct.unpack_from(f"={entries}I", answer, RXFH.size)),
    }


def _indirection(interface: str) -> List[int]:
    entries = struct.unpack_from("=II", ask(interface, struct.pack("=II", GRXFHINDIR, 0)))[1]
    if not 0 < entries <= MOST_ENTRIES:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    answer = ask(interface, struct.pack("=II", GRXFHINDIR, entries) + bytes(4 * entries))
    return list(struct.unpack_from(f"={entries}I", answer, 8))


def _fields(interface: str) -> Dict[str, List[str]]:
    found = {}
    for name, flow_type in FLOW_TYPES.items():
        try:
            mask = struct.unpack("=IIQ", ask(interface, struct.pack("=IIQ", GRXFH, flow_type, 0)))[2]
        except OSError:
            continue
        found[name] = [field for bit, field in HASH_FIELDS if mask & bit]
    return found
