# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What memory management did that can keep a CPU or an allocation waiting, from /proc/vmstat."""

from typing import Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

PATH = "/proc/vmstat"
NAMES = (
    "allocstall_dma",
    "allocstall_dma32",
    "allocstall_normal",
    "allocstall_high",
    "allocstall_movable",
    "compact_stall",
    "compact_fail",
    "drop_pagecache",
    "drop_slab",
    "kswapd_low_wmark_hit_quickly",
    "numa_pte_updates",
    "numa_pages_migrated",
    "pgscan_direct",
    "pgscan_kswapd",
    "thp_fault_alloc",
)


def parse(content: str) -> Dict[str, int]:
    """{name: count since boot} of NAMES, as far as the kernel has them."""
    pairs = (line.split() for line in content.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in NAMES and pair[1].isdecimal()}


def read() -> Dict[str, int]:
    found = parse(text(PATH))
    if not found:
        raise Unavailable(f"{PATH}: none of the numbers that are looked for")
    return found
