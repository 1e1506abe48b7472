"""Better or worse beyond noise: right as often as it says, the same whichever run comes first, and nothing from what was not measured."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import compare, severity
from ansible_collections.fleet.stall.plugins.plugin_utils.compare import BETTER, SAME, UNKNOWN, WORSE
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS

GRADES = {"critical": 20, "major": 2}
SWAPPED = {BETTER: WORSE, WORSE: BETTER, SAME: SAME, UNKNOWN: UNKNOWN}


def seen(lengths_ms, observed_s=10.0, **more):
    """A host's figures in a run with stalls of these lengths."""
    at, stalls = 0, []
    for length in lengths_ms:
        stalls.append((at, at + round(length * MS)))
        at += round(length * MS) + MS
    measured = severity.measure([stalls], observed_s, GRADES)
    found = {"run": "r", "status": "stalling" if stalls else "clear", "reason": None, "side": None, "observed_s": observed_s}
    return {**found, "loss_ratio": 0.0, **measured, "lengths_ms": list(lengths_ms), **more}


NOT_MEASURED = seen([], status="not_measured", reason="no answer within 60 s", events=None, stalled_ms_per_s=None)
lengths = st.lists(st.integers(10, 3000), max_size=25)
windows = st.sampled_from([5.0, 10.0, 30.0])


@pytest.mark.parametrize(
    ("before", "after", "verdict", "words"),
    [
        (
            seen([100] * 9),
            seen([]),
            BETTER,
            "9 stalls in 10 s (90 ms/s, the longest 100 ms) before, no stall in 10 s now: the stalls are gone",
        ),
        (seen([100] * 6), seen([]), BETTER, "gone"),
        (seen([100] * 5), seen([]), UNKNOWN, "a longer window"),
        (seen([3000]), seen([]), UNKNOWN, "1 stall in 10 s"),
        (seen([2000, 2000]), seen([]), UNKNOWN, "chance does as much"),
        (seen([100] * 20), seen([100] * 6), BETTER, "it stalls less, and still does"),
        (seen([100] * 12), seen([20] * 12), BETTER, "it stalls less, and still does"),
        (seen([100] * 12), seen([110] * 9), SAME, "no difference beyond chance"),
        (seen([100] * 12), seen([100] * 12), SAME, "no difference beyond chance"),
        (seen([]), seen([]), SAME, "no stall in 10 s before, no stall in 10 s now."),
        (seen([]), seen([100] * 9), WORSE, "it did not stall before"),
        (seen([]), seen([100] * 2), UNKNOWN, "chance does as much"),
        (seen([100] * 6), seen([100] * 20), WORSE, "it stalls more"),
        (seen([20] * 30), seen([1000] * 6), SAME, "fewer stalls, but more time in them"),
        (seen([20] * 20), seen([100, 100, 100, 100, 100]), SAME, "fewer stalls, but as much time in them"),
        (seen([100] * 9), seen([], observed_s=1.0), UNKNOWN, "no stall in 1 s"),
        (seen([100] * 9), seen([100] * 90, observed_s=100.0), SAME, "no difference"),
        (seen([100] * 9), NOT_MEASURED, UNKNOWN, "not measured now (no answer within 60 s)"),
        (NOT_MEASURED, seen([]), UNKNOWN, "not measured before"),
        (seen([100] * 9), seen([], observed_s=0.5, events=None), UNKNOWN, "not measured now (no probe was answered)"),
        (seen([100] * 9), seen([], loss_ratio=0.2), UNKNOWN, "20% of the probes were lost now, and a lost probe shows no stall"),
        (seen([100] * 9, loss_ratio=0.05), seen([]), BETTER, "gone"),
        (seen([100] * 9, loss_ratio=0.5), seen([], loss_ratio=0.4), BETTER, "gone"),
    ],
)
def test_the_verdict_and_its_figures(before, after, verdict, words):
    found, sentence = compare.verdict(before, after)
    assert (found, words in sentence) == (verdict, True), sentence
    assert compare.verdict(after, before)[0] == SWAPPED[verdict]


@given(lengths, lengths, windows, windows)
def test_swapped_runs_swap_better_and_worse(one, two, first_s, second_s):
    before, after = seen(one, first_s), seen(two, second_s)
    assert compare.verdict(after, before)[0] == SWAPPED[compare.verdict(before, after)[0]]


@given(lengths, windows)
def test_equal_runs_are_the_same(one, observed_s):
    assert compare.verdict(seen(one, observed_s), seen(one, observed_s))[0] == SAME


@given(lengths, lengths, windows)
def test_more_observation_of_the_same_makes_no_difference_vanish(one, two, observed_s):
    found = compare.verdict(seen(one, observed_s), seen(two, observed_s))[0]
    assume(found in (BETTER, WORSE))
    assert compare.verdict(seen(one * 2, observed_s * 2), seen(two * 2, observed_s * 2))[0] == found


@given(st.lists(st.integers(10, 3000), min_size=6, max_size=25), windows)
def test_no_stall_where_six_were_is_better(one, observed_s):
    assert compare.verdict(seen(one, observed_s), seen([], observed_s))[0] == BETTER


@given(lengths, st.integers(10, 3000), windows)
def test_a_stall_more_never_makes_it_better(one, length, observed_s):
    before = seen([100] * 12, observed_s)
    order = [WORSE, SAME, BETTER]
    found = [compare.verdict(before, seen(stalls, observed_s))[0] for stalls in (one, [*one, length])]
    assume(UNKNOWN not in found)
    assert order.index(found[1]) <= order.index(found[0])


@given(lengths, lengths)
def test_what_was_not_measured_is_unknown(one, two):
    for run in (seen(one), seen(two, loss_ratio=None)):
        assert compare.verdict(run, NOT_MEASURED)[0] == compare.verdict(NOT_MEASURED, run)[0] == UNKNOWN


def poisson(rng, rate_s, observed_s, of):
    found, at = [], rng.expovariate(rate_s)
    while at < observed_s:
        found.append(rng.choice(of))
        at += rng.expovariate(rate_s)
    return found


@pytest.mark.parametrize(("rate_s", "of"), [(0.8, [115]), (1.0, [20, 50, 300]), (0.3, [10, 2000])])
def test_chance_alone_is_rarely_called_a_difference(rate_s, of):
    rng, rounds = random.Random(11), 400
    pairs = [[seen(poisson(rng, rate_s, 10, of)) for _ in "ab"] for _ in range(rounds)]
    told = [compare.verdict(*pair)[0] for pair in pairs]
    assert told.count(BETTER) <= 0.04 * rounds and told.count(WORSE) <= 0.04 * rounds


@given(st.lists(st.integers(0, 50), max_size=12), st.floats(0.1, 0.9))
def test_the_chances_of_all_sums_are_one(weights, share):
    chances = compare.sums(weights, share)
    assert sum(chances) == pytest.approx(1)
    assert sum(at * chance for at, chance in enumerate(chances)) == pytest.approx(share * sum(weights), abs=1e-6)
