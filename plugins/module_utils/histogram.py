# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log-linear (HDR-style) histograms of microseconds; the bucket layout is stated in docs/ARCHITECTURE.md.

32 sub-buckets per power of two, so a value is known to 1/32 of itself. Merging is adding.
"""

import math
from typing import Dict, List

SUB_BUCKETS = 32
LARGEST_US = (1 << 32) - 1
BUCKETS = (LARGEST_US.bit_length() - 6 + 2) * SUB_BUCKETS


def index_of(value_us: int) -> int:
    """The bucket of a duration; beyond the ends the nearest bucket."""
    if value_us < SUB_BUCKETS:
        return value_us if value_us > 0 else 0
    if value_us > LARGEST_US:
        value_us = LARGEST_US
    shift = value_us.bit_length() - 6
    return (shift + 1) * SUB_BUCKETS + ((value_us >> shift) - SUB_BUCKETS)


def lower_bound(index: int) -> int:
    """The smallest duration, in microseconds, that falls into a bucket."""
    if index < SUB_BUCKETS:
        return index
    shift = index // SUB_BUCKETS - 1
    return (index % SUB_BUCKETS + SUB_BUCKETS) << shift


def middle(index: int) -> int:
    """The duration, in microseconds, that stands for a bucket."""
    return (lower_bound(index) + lower_bound(index + 1)) // 2


class Histogram:
    """Counts per bucket. `counts` is public so that a hot loop may add to it in place."""

    def __init__(self) -> None:
        self.counts: List[int] = [0] * BUCKETS

    def add(self, value_us: int) -> None:
        self.counts[index_of(value_us)] += 1

    def total(self) -> int:
        return sum(self.counts)

    def merge(self, other: "Histogram") -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts)]

    def quantile(self, share: float) -> int:
        """The duration in microseconds that `share` (0..1) of the values do not exceed; 0 when empty."""
        rank = max(1, math.ceil(share * self.total() - 1e-9))
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return middle(index)
        return 0

    def to_dict(self) -> Dict[str, int]:
        return {str(index): count for index, count in enumerate(self.counts) if count}

    @classmethod
    def from_dict(cls, counts: Dict[str, int]) -> "Histogram":
        histogram = cls()
        for index, count in counts.items():
            histogram.counts[int(index)] += count
        return histogram
