"""Hold what was found against what the injectors did."""

from __future__ import annotations

from dataclasses import dataclass, field

Interval = tuple[int, int]


@dataclass
class Comparison:
    """Counts over one host: how many true stalls were found, found once, and with the right length."""

    true: int = 0
    found: int = 0
    right_length: int = 0
    doubled: int = 0
    invented: list[Interval] = field(default_factory=list)
    missed: list[Interval] = field(default_factory=list)
    length_errors_ms: list[float] = field(default_factory=list)

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def overlap(one: Interval, two: Interval) -> int:
    return min(one[1], two[1]) - max(one[0], two[0])


def merge(intervals: list[Interval], gap_ns: int) -> list[Interval]:
    """Stalls closer than a probe interval can't be told apart by probes: they are one."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start - merged[-1][1] < gap_ns:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def compare(
    truth: list[Interval],
    stalls: list[Interval],
    window: Interval,
    interval_ms: float,
    least_ms: float = 30.0,
    slack_ms: float = 3.0,
) -> Comparison:
    """Match stalls with the truth by overlap.

    A stall counts as right in length when it differs by at most one probe interval (plus ``slack_ms``, the time a
    backlog takes to drain on a busy machine). True stalls cut by the window's ends are left out of the truth, and what
    overlaps them is not called invented.
    """
    result = Comparison()
    ms = 1_000_000
    truth = merge(truth, int(interval_ms * ms))
    inside = [t for t in truth if t[0] >= window[0] and t[1] <= window[1]]
    for true in inside:
        length = (true[1] - true[0]) / ms
        if length < least_ms:
            continue
        hits = [s for s in stalls if overlap(true, s) > 0]
        result.true += 1
        if not hits:
            result.missed.append(true)
            continue
        result.found += 1
        result.doubled += len(hits) - 1
        best = max(hits, key=lambda s: overlap(true, s))
        error = (best[1] - best[0]) / ms - length
        result.length_errors_ms.append(error)
        result.right_length += abs(error) <= interval_ms + slack_ms
    near = int(2 * interval_ms * ms)
    for stall in stalls:
        if not any(overlap((t[0] - near, t[1] + near), stall) > 0 for t in truth):
            result.invented.append(stall)
    return result
