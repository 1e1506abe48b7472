# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection tracking: how full the table is, and what was dropped for it."""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, number_or_none, text

# Our name, and what the header of nf_conntrack_standalone.c calls it; it kept old words for new columns.
SUMMED = {
    "found": "found",
    "invalid": "invalid",
    "insert_failed": "insert_failed",
    "drop": "drop",
    "early_drop": "early_drop",
    "error": "icmp_error",
    "search_restart": "search_restart",
    "clash_resolve": "clashres",
    "chain_toolong": "chainlength",
}


def parse(content: str) -> Dict[str, int]:
    """Sums over the CPUs of /proc/net/stat/nf_conntrack: a header of names, then a row of hexadecimal numbers per CPU."""
    header, *rows = content.splitlines() or [""]
    table = [dict(zip(header.split(), (int(word, 16) for word in row.split()))) for row in rows]
    return {name: sum(row[column] for row in table) for name, column in SUMMED.items() if table and column in table[0]}


def read() -> Dict[str, Any]:
    """{count, max, buckets, stats {drop, early_drop, insert_failed, ..}|null, stats_reason|null}"""
    found: Dict[str, Any] = {
        "count": int(text("/proc/sys/net/netfilter/nf_conntrack_count")),
        "max": number_or_none("/proc/sys/net/netfilter/nf_conntrack_max"),
        "buckets": number_or_none("/proc/sys/net/netfilter/nf_conntrack_buckets"),
        "stats": None,
        "stats_reason": None,
    }
    try:
        found["stats"] = parse(text("/proc/net/stat/nf_conntrack"))
    except Unavailable as error:
        found["stats_reason"] = str(error)
    return found
