# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection tracking: how full the table is, and what was dropped for it."""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, number_or_none, text

SUMMED = ("found", "invalid", "insert_failed", "drop", "early_drop", "error", "search_restart", "clash_resolve", "chain_toolong")


def parse(content: str) -> Dict[str, int]:
    """Sums over the CPUs of /proc/net/stat/nf_conntrack: a header of names, then a row of hexadecimal numbers per CPU."""
    header, *rows = content.splitlines() or [""]
    table = [dict(zip(header.split(), (int(word, 16) for word in row.split()))) for row in rows]
    return {name: sum(row[name] for row in table) for name in SUMMED if table and name in table[0]}


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
