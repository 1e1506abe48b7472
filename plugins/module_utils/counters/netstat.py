# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What TCP did to full receive queues and lost segments, from /proc/net/netstat."""

from typing import Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

PATH = "/proc/net/netstat"
NAMES = (
    "PruneCalled",
    "RcvPruned",
    "OfoPruned",
    "TCPRcvCollapsed",
    "TCPTimeouts",
    "TCPBacklogDrop",
    "TCPRcvQDrop",
    "ListenOverflows",
    "ListenDrops",
    "TCPMemoryPressures",
    "TCPMemoryPressuresChrono",
)


def parse(content: str) -> Dict[str, int]:
    """{name: count since boot} of NAMES: lines of names, each followed by a line of their numbers, both with the protocol first."""
    lines = [line.split() for line in content.splitlines()]
    found = {}
    for names, numbers in zip(lines[::2], lines[1::2]):
        if names[:1] == numbers[:1]:
            found.update({name: int(number) for name, number in zip(names[1:], numbers[1:]) if name in NAMES})
    return found


def read() -> Dict[str, int]:
    found = parse(text(PATH))
    if not found:
        raise Unavailable(f"{PATH}: none of the numbers that are looked for")
    return found
