"""The clock of a capture: slewed clocks are followed, a clock that is set does not tear the times apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import clock, evidence
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled

MS = 1000000
START = 1700000000000 * MS
EVERY_MS = 100


@pytest.fixture
def host(monkeypatch):
    """A host whose clocks are ours: {mono, ahead} in ns."""
    found = {"mono": 5000 * MS, "ahead": START}
    monkeypatch.setattr(clock, "monotonic_ns", lambda: found["mono"])
    monkeypatch.setattr(clock, "_realtime_ns", lambda: found["mono"] + found["ahead"])
    return found


def run(host, marked, milliseconds, slew_ppm=0):
    for _ in range(milliseconds // EVERY_MS):
        host["mono"] += EVERY_MS * MS
        host["ahead"] += EVERY_MS * slew_ppm
        marked.mark()


@pytest.mark.parametrize(
    ("marks", "at", "offset"),
    [
        ([(100, 7)], 50, 7),
        ([(100, 7)], 500, 7),
        ([(100, 10), (200, 20)], 100, 10),
        ([(100, 10), (200, 20)], 150, 15),
        ([(100, 10), (200, 20)], 999, 20),
        ([(100, 10), (200, 20), (300, 0)], 250, 10),
    ],
)
def test_between_two_marks(marks, at, offset):
    assert clock.offset_at(marks, at) == offset


@pytest.mark.parametrize("slew_ppm", [0, 500, -500, 83333, -83333])
def test_a_slewed_clock_is_followed(host, slew_ppm):
    marked = clock.Clock()
    run(host, marked, 30000, slew_ppm)
    assert marked.problem() is None
    assert marked.real(host["mono"]) == host["mono"] + host["ahead"]
    assert marked.real(host["mono"] - 15000 * MS) == pytest.approx(host["mono"] + host["ahead"] - 15000 * (MS + slew_ppm), abs=1000)


@pytest.mark.parametrize("step_ms", [20, 1000, -20, -1000, 3600000, -3600000])
def test_a_clock_that_is_set_leaves_all_times_on_one_scale(host, step_ms):
    """The stalls of before and after it are as long and as far apart as they were, on the clock that was furthest back."""
    marked = clock.Clock()
    run(host, marked, 10000, 500)
    host["mono"] += EVERY_MS * MS // 2
    host["ahead"] += step_ms * MS
    run(host, marked, 10000, 500)
    behind = host["mono"] + host["ahead"] - max(0, step_ms) * MS
    assert marked.real(host["mono"]) == pytest.approx(behind, abs=MS // 10)
    for back_ms in (1000, 9990, 10040, 10120, 15000):
        assert behind - marked.real(host["mono"] - back_ms * MS) == pytest.approx(back_ms * (MS + 500), abs=MS // 10)
    assert f"{step_ms / 1000:+.3f} s" in marked.problem()


@pytest.mark.parametrize("step_ms", [1000, -1000])
def test_what_a_tool_read_off_the_clock_comes_to_the_same_scale(host, step_ms):
    marked = clock.Clock()
    run(host, marked, 10000)
    early = host["mono"] - 5000 * MS, host["mono"] - 5000 * MS + host["ahead"]
    host["ahead"] += step_ms * MS
    run(host, marked, 10000)
    late = host["mono"] - 5000 * MS, host["mono"] - 5000 * MS + host["ahead"]
    for mono, real in (early, late):
        assert marked.steady(real) == marked.real(mono)


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(10**7, 10**11)), max_size=30), st.integers(-(10**9), 10**13))
def test_times_keep_their_order(steps, at):
    marked = clock.Clock()
    marked._marks, marked._steps = [], []
    mono, offset = 0, START
    marked._add(mono, offset)
    for step, passed in steps:
        mono, offset = mono + passed, offset + step
        marked._add(mono, offset)
    assert marked.real(at) <= marked.real(at + 1000)


def test_rows_of_a_gap_are_on_the_hosts_clock():
    marked = clock.Clock()
    row = Handled(5, 1, 2, 3, "napi/eth0-1", 7, None)
    found = evidence.gap_row({"start_ns": MS, "end_ns": 2 * MS, "cpu": 0, "handled": [row]}, marked)
    assert found["handled"] == [[marked.real(5), 1, 2, 3, "napi/eth0-1", 7, None]]
    assert found["start_ns"] == marked.real(MS)
