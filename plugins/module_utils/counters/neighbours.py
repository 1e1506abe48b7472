# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How full the neighbour tables are and how often they are swept, from /proc/net/stat/arp_cache and ndisc_cache."""

from typing import Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

TABLES = ("arp_cache", "ndisc_cache")
SUMMED = ("allocs", "destroys", "periodic_gc_runs", "forced_gc_runs", "unresolved_discards", "table_fulls")


def parse(content: str) -> Dict[str, int]:
    """{entries, allocs, forced_gc_runs, table_fulls, ..}: a header of names, then a row of hexadecimal numbers per CPU.

    `entries` is that of the whole table in every row; the others are summed up.
    """
    header, *rows = content.splitlines() or [""]
    table = [dict(zip(header.split(), (int(word, 16) for word in row.split()))) for row in rows]
    found = {name: sum(row[name] for row in table) for name in SUMMED if table and name in table[0]}
    if table and "entries" in table[0]:
        found["entries"] = table[0]["entries"]
    return found


def read() -> Dict[str, Dict[str, int]]:
    """{arp_cache: {entries, ..}, ndisc_cache: ..}, as far as the kernel has them."""
    found, reason = {}, ""
    for name in TABLES:
        try:
            found[name] = parse(text(f"/proc/net/stat/{name}"))
        except Unavailable as error:
            reason = reason or str(error)
    if not found:
        raise Unavailable(reason)
    return found
