"""How badly: nothing counted twice, an interval that covers, and an order that depends on nothing else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.histogram import Histogram
from ansible_collections.fleet.stall.plugins.plugin_utils import ranking, severity
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, SLACK_NS, Event, join, merge

GRADES = {"critical": 20, "major": 2}
spans = st.lists(st.tuples(st.integers(0, 30_000), st.integers(10, 500)).map(lambda s: (s[0] * MS, (s[0] + s[1]) * MS)), max_size=30)


def event(start_ms: float, length_ms: float, flow: int = 1, interval_ms: float = 10, censored: bool = False) -> Event:
    start, end = round(start_ms * MS), round((start_ms + length_ms) * MS)
    return Event(flow, start, end, start - round(interval_ms * MS), 1, 0, censored, False)


def joined(*events: Event) -> list[tuple[float, float, int]]:
    found = join(sorted(events, key=lambda e: (e.start_ns, e.end_ns, e.flow)))
    return [(stall.start_ns / MS, stall.end_ns / MS, len(stall.events)) for stall in found]


def test_views_of_one_stall_by_several_flows_are_one_stall():
    assert joined(event(100, 130, 1), event(104, 126, 2), event(108, 122, 3)) == [(100, 230, 3)]


def test_sparse_flow_that_meets_only_the_end_sees_the_same_stall():
    assert joined(event(100, 130, 1), event(180, 50, 2, interval_ms=100)) == [(100, 230, 2)]


def test_stalls_that_follow_each_other_stay_apart():
    assert len(joined(event(100, 60, 1), event(101, 59, 2), event(165, 60, 1), event(166, 59, 2))) == 2


def test_short_blip_within_an_outage_is_not_the_outage():
    assert len(joined(event(0, 5000, 1), event(2000, 30, 2))) == 2


@given(spans)
def test_every_event_is_in_exactly_one_stall(found):
    events = sorted(
        (event(start / MS, (end - start) / MS, flow) for flow, (start, end) in enumerate(found)), key=lambda e: (e.start_ns, e.end_ns)
    )
    stalls = join(events)
    assert sorted(e.flow for stall in stalls for e in stall.events) == list(range(len(found)))
    for stall in stalls:
        assert all(e.start_ns < stall.end_ns + SLACK_NS and e.end_ns > stall.start_ns - SLACK_NS for e in stall.events)


@given(spans)
def test_union_counts_no_time_twice(found):
    merged = merge(found)
    assert merged == merge(merged) == merge(reversed(found))
    assert all(one[1] < two[0] for one, two in zip(merged, merged[1:], strict=False))
    assert all(any(m[0] <= s[0] and s[1] <= m[1] for m in merged) for s in found)


@given(spans)
def test_seeing_a_stall_twice_changes_nothing_and_one_more_makes_it_worse(found):
    once = severity.measure([found], 60, GRADES)
    assert severity.measure([found + found], 60, GRADES) == once
    assert severity.measure([found, found], 60, GRADES) == once
    more = severity.measure([[*found, (40_000 * MS, 40_100 * MS)]], 60, GRADES)
    assert more["stalled_ms_per_s"] > once["stalled_ms_per_s"] and more["events"] == once["events"] + 1
    assert once["ci95"][0] <= once["stalled_ms_per_s"] <= once["ci95"][1]


def test_worst_queue_sets_the_rate_and_all_queues_the_count():
    found = severity.measure([[(0, 100 * MS)], [(1000 * MS, 1200 * MS), (2000 * MS, 2100 * MS)]], 30, GRADES)
    assert found["stalled_ms_per_s"] == 10.0
    assert (found["events"], found["max_ms"], found["grade"]) == (3, 200.0, "major")


@pytest.mark.parametrize(("rate", "grade"), [(0, "none"), (0.5, "minor"), (2, "major"), (19.9, "major"), (20, "critical")])
def test_grades(rate, grade):
    assert severity.grade(rate, GRADES) == grade


def test_nothing_observed_is_an_error_not_a_zero():
    with pytest.raises(ValueError, match="nothing was observed"):
        severity.measure([], 0, GRADES)


def test_interval_covers_the_true_rate_as_often_as_it_says():
    rng = random.Random(7)
    rate_s, true, hits, rounds = 0.2, 0.2 * 100, 0, 1000
    for _ in range(rounds):
        lengths, at = [], rng.expovariate(rate_s)
        while at < 30:
            lengths.append(rng.choice([50, 100, 150]))
            at += rng.expovariate(rate_s)
        low, high = severity.interval95(lengths, 30)
        hits += low <= true <= high
    assert hits / rounds >= 0.94


@pytest.mark.parametrize(("count", "low", "high"), [(1, 0.0253, 5.572), (3, 0.6187, 8.767), (10, 4.795, 18.39), (50, 37.11, 65.92)])
def test_interval_of_equal_stalls_is_the_exact_one_of_poisson(count, low, high):
    found = severity.interval95([1.0] * count, 1.0)
    assert found[1] == pytest.approx(high, rel=0.01)
    assert found[0] == pytest.approx(low, rel=0.08 if count > 1 else 0.6)


def test_upper_bound_without_a_stall():
    assert severity.upper_bound(30) == 10.0
    assert severity.interval95([], 300) == (0.0, 1.0)


def test_quantile_of_merged_histograms():
    one, two = Histogram(), Histogram()
    for _ in range(999):
        one.add(400)
    two.add(130_000)
    assert severity.quantile_ms([one.to_dict(), two.to_dict()], 0.999) == pytest.approx(0.4, rel=1 / 32)
    assert severity.quantile_ms([one.to_dict(), two.to_dict()], 1.0) == pytest.approx(130, rel=1 / 32)
    assert severity.quantile_ms([], 0.999) is None


def row(host: str, status: str, rate: float | None, low: float = 0.0) -> dict:
    return {"host": host, "status": status, "severity": {"stalled_ms_per_s": rate, "ci95": [low, 1000] if rate is not None else None}}


def test_worst_first_and_not_measured_above_clear():
    rows = [
        row("e", "clear", 0.0),
        row("d", "not_measured", None),
        row("c", "suspect", 5.0),
        row("b", "stalling", 3.0, 1.0),
        row("a", "stalling", 3.0, 2.0),
    ]
    assert [(r["rank"], r["host"]) for r in ranking.ranked(rows)] == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]
    assert ranking.suspects(rows) == ["a", "b"]
    assert ranking.suspects(rows, 1) == ["a"]


@given(st.permutations([row(f"h{i}", ranking.STATUSES[i % 4], float(i % 3)) for i in range(12)]))
def test_order_of_the_input_has_no_part(rows):
    assert ranking.ranked(rows) == ranking.ranked(sorted(rows, key=lambda r: r["host"]))


def test_unknown_status_is_refused():
    with pytest.raises(ValueError, match="h: status 'well'"):
        ranking.ranked([row("h", "well", 0.0)])
