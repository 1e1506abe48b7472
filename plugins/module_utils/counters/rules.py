# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many packet filter rules there are, without listing them.

Listing a legacy iptables table sums its counters over all CPUs and can itself be a stall. So legacy tables are asked for their size
alone (IPT_SO_GET_INFO, constant time), and only those that are loaded; nftables is dumped over netlink, which the kernel does in small
pieces, up to a bound of rules and time. Nothing is asked that would make the kernel load a module.
"""

import os
import socket
import struct
from typing import Any, Dict, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import netlink
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

# linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h: struct ipt_getinfo
SO_GET_INFO = 64
GET_INFO = struct.Struct("=32s I 5I 5I I I")
NUM_ENTRIES = 12
FAMILIES = (
    ("ip_tables", socket.AF_INET, socket.IPPROTO_IP, "/proc/net/ip_tables_names"),
    ("ip6_tables", socket.AF_INET6, socket.IPPROTO_IPV6, "/proc/net/ip6_tables_names"),
)

# linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWRULE, NFT_MSG_GETRULE = 6, 7
MOST_RULES = 50000


def parse(content: str) -> "list[str]":
    """Table names of /proc/net/ip_tables_names."""
    return content.split()


def read() -> Dict[str, Any]:
    """{ip_tables: {table: entries}|null, ip6_tables: .., nf_tables: rules|null, complete, reasons {what: why not}}

    An entry of a legacy table is a rule or the end of a chain. `complete` is False where nf_tables holds more rules than were counted.
    """
    found: Dict[str, Any] = {"nf_tables": None, "complete": True, "reasons": {}}
    for name, family, level, names_path in FAMILIES:
        try:
            found[name] = {table: _legacy_entries(family, level, table) for table in parse(text(names_path))}
        except (Unavailable, OSError) as error:
            found[name], found["reasons"][name] = None, _reason(error)
    try:
        found["nf_tables"], found["complete"] = _nft_rules()
    except (Unavailable, OSError) as error:
        found["reasons"]["nf_tables"] = f"nf_tables: {_reason(error)}"
    if len(found["reasons"]) == 3:
        raise Unavailable("; ".join(sorted(set(found["reasons"].values()))))
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _legacy_entries(family: int, level: int, table: str) -> int:
    try:
        import ctypes
    except ImportError:
        raise Unavailable("this Python was built without ctypes, by which a table is asked for its size") from None
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel reads the name from the buffer that it answers in, which Python's own getsockopt has no way to fill.
    answer = ctypes.create_string_buffer(GET_INFO.pack(table.encode(), *[0] * 13), GET_INFO.size)
    size = ctypes.c_uint32(GET_INFO.size)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
        if libc.getsockopt(asking.fileno(), level, SO_GET_INFO, answer, ctypes.byref(size)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"size of table {table}: {os.strerror(code)}")
    return GET_INFO.unpack(answer.raw)[NUM_ENTRIES]


def _nft_rules() -> Tuple[int, bool]:
    if not os.path.isdir("/sys/module/nf_tables") and os.path.exists("/proc/modules"):
        raise Unavailable("not loaded; not asked, since asking would load it")
    rules, question = 0, struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    for kind, _ in netlink.dump(netlink.NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, question):
        rules += kind == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE)
        if rules >= MOST_RULES:
            return rules, False
    return rules, True
