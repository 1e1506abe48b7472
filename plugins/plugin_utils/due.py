# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many probes each CPU was due to handle: what runs where none is due keeps none waiting, and is not excused by that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# A CPU that handled probes in so many of the bins did so all along
ALWAYS = 0.9


class Due:
    """`served` of capture.json: {start_ns, bin_ns, cpus {"<cpu>": [probes in each bin]}}."""

    def __init__(self, capture: Mapping[str, Any]) -> None:
        stated = capture.get("served")
        stated = stated if isinstance(stated, Mapping) else {}
        start, length, rows = stated.get("start_ns"), stated.get("bin_ns"), stated.get("cpus")
        self._counts: dict[int, list[int]] | None = None
        self._start, self._length = 0, 1
        if isinstance(start, int) and isinstance(length, int) and length > 0 and isinstance(rows, Mapping):
            self._start, self._length = start, length
            self._counts = {int(cpu): _counts(row) for cpu, row in rows.items() if str(cpu).isdecimal()}

    def within(self, cpu: int, start_ns: int, end_ns: int) -> float | None:
        """About how many probes came to a CPU between two moments, the captured host's clock; None: not known."""
        if self._counts is None:
            return None
        counts = self._counts.get(cpu, [])
        first, last = ((moment - self._start) // self._length for moment in (start_ns, end_ns))
        return sum(
            counts[at] * self._shared(at, start_ns, end_ns) / self._length for at in range(max(0, first), min(last + 1, len(counts)))
        )

    def _shared(self, at: int, start_ns: int, end_ns: int) -> int:
        begins = self._start + at * self._length
        return max(0, min(end_ns, begins + self._length) - max(start_ns, begins))

    def is_steady(self, cpus: Iterable[int]) -> bool:
        """Whether each of these CPUs is known to have handled probes all along."""
        rows = [(self._counts or {}).get(cpu, []) for cpu in cpus]
        return all(row and sum(count > 0 for count in row) >= ALWAYS * len(row) for row in rows)


def _counts(row: Any) -> list[int]:
    """What makes no sense is none."""
    return [value if isinstance(value, int) and value > 0 else 0 for value in row] if isinstance(row, list) else []
