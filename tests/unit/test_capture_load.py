"""How many probes each CPU handled as time went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import load
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled

S = 10**9


def rows(*places):
    return [Handled(round(at * S), cpu, 1, 1, "a", None, None) for at, cpu in places]


@pytest.mark.parametrize(
    ("places", "window", "bin_s", "cpus"),
    [
        ([(1.0, 0), (1.9, 0), (2.0, 0), (2.5, 3)], (1, 4), 1, {0: [2, 1, 0], 3: [0, 1, 0]}),
        ([(0.5, 0), (4.0, 0), (3.9, 0)], (1, 4), 1, {0: [0, 0, 1]}),
        ([(600.0, 0)], (0, 1200), 10, {0: [0] * 60 + [1] + [0] * 59}),
        ([(1.0, 0)], (1, 1), 1, {0: [1]}),
    ],
    ids=["by second", "within the window alone", "a long window", "an empty window"],
)
def test_probes_are_counted_by_cpu_and_time(places, window, bin_s, cpus):
    assert load.served(rows(*places), (window[0] * S, window[1] * S)) == {"start_ns": window[0] * S, "bin_ns": bin_s * S, "cpus": cpus}


def test_without_a_trace_nothing_is_known():
    assert load.served([], (0, 30 * S)) is None


def test_of_many_cpus_those_that_handle_most():
    found = load.served(rows(*[(1.0, cpu) for cpu in range(100)], (1.5, 99)), (0, 2 * S))
    assert sorted(found["cpus"]) == [*range(63), 99]


@given(st.lists(st.tuples(st.integers(-5, 3700), st.integers(0, 300))), st.integers(0, 3600))
def test_it_stays_small_and_counts_each_once(places, seconds):
    found = load.served(rows(*places), (0, seconds * S))
    if found:
        assert len(found["cpus"]) <= load.MOST_CPUS and all(len(row) <= load.MOST_BINS for row in found["cpus"].values())
        assert sum(map(sum, found["cpus"].values())) <= len(places)
