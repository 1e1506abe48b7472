# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many probes each CPU handled as time went: where none is due, none waits."""

from typing import Any, Dict, Iterable, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled

MOST_BINS, LEAST_BIN_NS = 120, 1000000000
MOST_CPUS = 64


def served(rows: Iterable[Handled], window_ns: Tuple[int, int]) -> Optional[Dict[str, Any]]:
    """{start_ns, bin_ns, cpus {cpu: [probes handled in each bin]}} of the CPUs that handled most; None without rows. Times as in `rows`."""
    start, end = window_ns
    bin_ns = max(LEAST_BIN_NS, -(-(end - start) // MOST_BINS))
    bins = max(1, -(-(end - start) // bin_ns))
    counts: Dict[int, List[int]] = {}
    for row in rows:
        at = (row.at_ns - start) // bin_ns
        if 0 <= at < bins:
            counts.setdefault(row.cpu, [0] * bins)[at] += 1
    if not counts:
        return None
    most = sorted(counts, key=lambda cpu: (-sum(counts[cpu]), cpu))[:MOST_CPUS]
    return {"start_ns": start, "bin_ns": bin_ns, "cpus": {cpu: counts[cpu] for cpu in sorted(most)}}
