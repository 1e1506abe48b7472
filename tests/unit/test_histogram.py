"""A duration is known to 1/32 of itself, and what hosts measured apart can be added up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import histogram
from ansible_collections.fleet.stall.plugins.module_utils.histogram import Histogram

durations = st.integers(0, histogram.LARGEST_US)


@pytest.mark.parametrize(("value", "index"), [(0, 0), (31, 31), (32, 32), (63, 63), (64, 64), (65, 64), (66, 65), (127000, 414), (-5, 0)])
def test_the_layout_is_the_documented_one(value, index):
    assert histogram.index_of(value) == index


@given(durations)
def test_a_value_is_in_its_bucket_to_one_in_32(value):
    index = histogram.index_of(value)
    low, next_low = histogram.lower_bound(index), histogram.lower_bound(index + 1)
    assert low <= value < next_low
    assert next_low - low <= max(1, low / 32)


@given(st.lists(durations, min_size=1), st.floats(0, 1))
def test_a_quantile_is_the_ranked_value_to_one_in_32(values, share):
    filled = Histogram()
    for value in values:
        filled.add(value)
    rank = max(1, -(-share * len(values) // 1))
    exact = sorted(values)[int(rank) - 1]
    assert abs(filled.quantile(share) - exact) <= max(1, exact / 32)


@given(st.lists(durations), st.lists(durations))
def test_merging_is_measuring_together(left, right):
    together, merged, other = Histogram(), Histogram(), Histogram()
    for value in left + right:
        together.add(value)
    for value in left:
        merged.add(value)
    for value in right:
        other.add(value)
    merged.merge(Histogram.from_dict(other.to_dict()))
    assert merged.to_dict() == together.to_dict()
    assert merged.total() == len(left) + len(right)


def test_empty():
    assert Histogram().quantile(0.99) == 0
    assert Histogram().to_dict() == {}
