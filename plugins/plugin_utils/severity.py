# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How badly a host stalls: stalled milliseconds per second of observation, with an interval that says how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, sqrt

from ansible_collections.fleet.stall.plugins.module_utils.histogram import middle
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, merge

# A stall as the article saw them: the length the upper bound of a host without stalls is stated for
REFERENCE_MS = 100.0
# 97.5% quantile of the normal distribution
Z = 1.959964
Interval = tuple[int, int]


def measure(classes: Iterable[Sequence[Interval]], observed_s: float, grades: Mapping[str, float]) -> dict:
    """Severity of one host.

    :param classes: for each receive queue (or flow, where queues are unknown) the stalls it had, as (start, end) in nanoseconds
    :param observed_s: seconds that each was observed
    :param grades: least stalled ms/s of ``critical`` and ``major``
    :return: ``{stalled_ms_per_s, ci95 [low, high], events, max_ms, grade}``: the rate and its interval are the worst queue's,
        events and max_ms of all queues together, no stall counted twice
    :raises ValueError: nothing was observed
    """
    if observed_s <= 0:
        raise ValueError(f"severity over {observed_s} s of observation: nothing was observed")
    queues = [merge(stalls) for stalls in classes if stalls]
    worst = max(queues, key=_total_ms, default=[])
    rate = min(1000.0, _total_ms(worst) / observed_s)
    stalls = merge(stall for queue in queues for stall in queue)
    return {
        "stalled_ms_per_s": round(rate, 3),
        "ci95": [round(bound, 3) for bound in interval95([_ms(stall) for stall in worst], observed_s)],
        "events": len(stalls),
        "max_ms": round(max((_ms(stall) for stall in stalls), default=0.0), 3),
        "grade": grade(rate, grades),
    }


def grade(stalled_ms_per_s: float, grades: Mapping[str, float]) -> str:
    """``critical``, ``major``, ``minor`` (less than major) or ``none``."""
    if stalled_ms_per_s <= 0:
        return "none"
    return next((name for name in ("critical", "major") if stalled_ms_per_s >= grades[name]), "minor")


def interval95(lengths_ms: Sequence[float], observed_s: float) -> tuple[float, float]:
    """95% interval of the long-run stalled ms/s, given the lengths of the stalls seen.

    Stalls are taken to arrive as a compound Poisson process, so the rate is a sum of Poisson counts weighted by their lengths; the interval
    is the gamma interval for such sums (Fay and Feuer, Statistics in Medicine 16:791-801, 1997), which is exact for equal lengths, and
    conservative otherwise. Without a stall: zero to ``upper_bound``.
    """
    if not lengths_ms:
        return 0.0, upper_bound(observed_s)
    rate = sum(lengths_ms) / observed_s
    variance = sum(length**2 for length in lengths_ms) / observed_s**2
    heaviest = max(lengths_ms) / observed_s
    low = variance / (2 * rate) * _chi2(2 * rate**2 / variance, -Z)
    more, wider = rate + heaviest, variance + heaviest**2
    high = wider / (2 * more) * _chi2(2 * more**2 / wider, Z)
    return max(0.0, min(low, rate)), min(1000.0, high)


def upper_bound(observed_s: float) -> float:
    """With 95% confidence a host that showed no stall for so long has at most so many stalled ms/s in stalls of REFERENCE_MS.

    The rule of three (Hanley and Lippman-Hand, JAMA 249:1743-1745, 1983): no event in n trials bounds the rate by 3/n.
    """
    return min(1000.0, 3 * REFERENCE_MS / observed_s)


def quantile_ms(histograms: Iterable[Mapping[str, int]], share: float) -> float | None:
    """The round trip in milliseconds that ``share`` of the answered probes did not exceed, to 1/32 of itself; None without any."""
    counts: Counter[int] = Counter()
    for histogram in histograms:
        for index, count in histogram.items():
            counts[int(index)] += count
    rank = ceil(share * counts.total() - 1e-9)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return round(middle(bucket) / 1000, 3)
    return None


def _chi2(freedom: float, z: float) -> float:
    """Quantile of the chi-squared distribution (Wilson and Hilferty, PNAS 17:684-688, 1931); z: the normal quantile."""
    part = 2 / (9 * freedom)
    return freedom * max(0.0, 1 - part + z * sqrt(part)) ** 3


def _ms(stall: Interval) -> float:
    return (stall[1] - stall[0]) / MS


def _total_ms(stalls: Sequence[Interval]) -> float:
    return sum(_ms(stall) for stall in stalls)
