# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/net/softnet_stat: packets per CPU (net/core/net-procfs.c, softnet_seq_show).

A row is a CPU, but offline CPUs have no row: since 5.10 column 12 says which CPU it is. Before that the rows are those of the online CPUs.
"""

from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, online_cpus, text

PATH = "/proc/net/softnet_stat"
COLUMNS = {"processed": 0, "dropped": 1, "time_squeeze": 2, "received_rps": 9, "flow_limit": 10, "backlog": 11}
CPU_COLUMN = 12


def parse(content: str, online: Optional[List[int]] = None) -> Dict[str, Any]:
    """{cpu_from: column|online_list, cpus: {"<cpu>": {processed, dropped, ..}}}; a column that the kernel lacks is left out."""
    rows = [[int(word, 16) for word in line.split()] for line in content.splitlines() if line.strip()]
    if not rows:
        raise Unavailable(f"{PATH}: empty")
    has_column = all(len(row) > CPU_COLUMN for row in rows)
    if has_column:
        cpus = [row[CPU_COLUMN] for row in rows]
    elif online is not None and len(online) == len(rows):
        cpus = online
    else:
        raise Unavailable(
            f"{PATH}: {len(rows)} rows without a CPU column, and {len(online or [])} CPUs are online: which row is which is unknown"
        )
    return {
        "cpu_from": "column" if has_column else "online_list",
        "cpus": {str(cpu): {name: row[column] for name, column in COLUMNS.items() if column < len(row)} for cpu, row in zip(cpus, rows)},
    }


def read() -> Dict[str, Any]:
    return parse(text(PATH), online_cpus())


def sample(start: Dict[str, Any]) -> Dict[str, int]:
    """Packets processed so far, per CPU."""
    return {cpu: row["processed"] for cpu, row in read()["cpus"].items()}
