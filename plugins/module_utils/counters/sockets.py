# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/net/sockstat and sockstat6: sockets per protocol. Never /proc/net/tcp, whose read is itself a long one."""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text


def parse(content: str) -> Dict[str, Dict[str, int]]:
    """{"TCP": {"inuse": 5, "orphan": 0, "tw": 1, "alloc": 7, "mem": 2}, ..}"""
    found = {}
    for line in content.splitlines():
        protocol, _, rest = line.partition(":")
        words = rest.split()
        found[protocol] = dict(zip(words[::2], map(int, words[1::2])))
    return found


def read() -> Dict[str, Any]:
    found = parse(text("/proc/net/sockstat"))
    try:
        found.update(parse(text("/proc/net/sockstat6")))
    except Unavailable:
        pass  # IPv6 is off: there are no such sockets, and no line says there are
    return found
