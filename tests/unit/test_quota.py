"""Whether a group's lack of quota and a service's late answers coincide by chance."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import quota


@pytest.mark.parametrize(
    ("hits", "of", "chance", "expected"),
    [
        (0, 5, 0.1, 1.0),
        (1, 1, 0.15, 0.15),
        (3, 3, 0.5, 0.125),
        (2, 3, 0.5, 0.5),
        (3, 3, 0.0, 0.0),
        (3, 3, 1.0, 1.0),
        (9000, 9000, 0.9, 0.0),
    ],
)
def test_how_likely_so_many_are_hit(hits, of, chance, expected):
    assert quota.at_least(hits, of, chance) == pytest.approx(expected)


@given(st.integers(1, 40), st.integers(0, 40), st.floats(0.01, 0.99))
def test_it_is_the_binomial_distribution(of, hits, chance):
    terms = (math.comb(of, k) * chance**k * (1 - chance) ** (of - k) for k in range(hits, of + 1))
    assert quota.at_least(hits, of, chance) == pytest.approx(sum(terms) if hits <= of else 0.0, abs=1e-9)
