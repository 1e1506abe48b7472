"""When control groups were out of CPU quota: from readings of their counters to spans, and whom to read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import throttle
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import Clock
from ansible_collections.fleet.stall.plugins.module_utils.counters import cgroupfs, throttled

MS = 1_000_000


def stat(times, spent_ms, periods=None):
    return {"periods": times if periods is None else periods, "throttled": times, "throttled_us": round(spent_ms * 1000)}


def spans(readings, period_ms=100):
    """In ms; a reading every 100 ms, each of which takes 1 ms."""
    group = throttle.Group("/pod", "/nowhere", 2)
    group._period_ns = period_ms * MS
    for number, seen in enumerate(readings):
        group.add(seen, (100 * number - 1) * MS, 100 * number * MS)
    return [[start / MS, end / MS] for start, end in group.spans]


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([stat(5, 500), stat(5, 500), stat(5, 500)], []),
        ([stat(5, 500)], []),
        ([stat(0, 0), stat(0, 0), stat(1, 85), stat(1, 85)], [[14, 200]]),
        ([stat(0, 0), stat(0, 0), stat(1, 85 * 4)], [[-1, 200]]),  # the sum of four CPUs
        ([stat(0, 0), stat(1, 20), stat(1, 20), stat(1, 20), stat(2, 40)], [[-21, 100], [279, 400]]),
        ([stat(0, 0), stat(1, 20), stat(1, 20), stat(2, 120)], [[-21, 300]]),
        ([stat(0, 0), stat(1, 0), stat(2, 0), stat(3, 250)], [[-1, 300]]),  # it stands still for periods
        ([stat(9, 900, 50), stat(1, 10, 3), stat(1, 10, 4)], []),  # made again
    ],
)
def test_when_a_group_was_out_of_quota(readings, expected):
    assert spans(readings) == expected


def test_a_long_period_may_be_over_for_long():
    assert spans([stat(0, 0), stat(0, 0), stat(1, 600)], period_ms=1000) == [[99 - 600, 200]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300)), max_size=30))
def test_spans_are_apart_in_order_and_end_with_a_reading_that_grew(steps):
    readings, times, spent = [stat(0, 0)], 0, 0
    for more, ms in steps:
        times, spent = times + more, spent + ms * bool(more)
        readings.append(stat(times, spent))
    found = spans(readings)
    assert all(start < end for start, end in found) and all(one[1] < other[0] for one, other in zip(found, found[1:], strict=False))
    grew = [100.0 * (number + 1) for number, (more, _) in enumerate(steps) if more]
    assert all(any(start < at <= end for start, end in found) for at in grew) and all(end in grew for _, end in found)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {"/a": stat(1, 1), "/b": stat(9, 1), "/c": stat(0, 0)}, ["/b", "/a"]),
        ({"/a": stat(1, 1), "/b": stat(9, 1)}, {"/a": stat(2, 80), "/b": stat(9, 1), "/c": stat(3, 90)}, ["/a", "/b"]),
        ({"/a": stat(9, 900)}, {"/a": stat(1, 10), "/b": stat(2, 1)}, ["/b", "/a"]),  # made again
    ],
)
def test_whom_to_read(monkeypatch, before, now, expected):
    monkeypatch.setattr(throttle, "MOST_GROUPS", 2)
    assert throttle.chosen(before, now) == expected


@pytest.fixture
def host(monkeypatch, tmp_path):
    """`host(path, times, spent_ms)` writes the counters of a group of a cgroup hierarchy on paper."""
    monkeypatch.setattr(throttled.cgroupfs, "hierarchies", lambda: [cgroupfs.Hierarchy(str(tmp_path), 2, [], True)])
    monkeypatch.setattr(throttle, "POLL_NS", 0)
    monkeypatch.setattr(throttle, "MOST_SHARE", 1.0)

    def write(path, times, spent_ms):
        directory = tmp_path / path.lstrip("/")
        directory.mkdir(exist_ok=True, parents=True)
        (directory / "cpu.max").write_text("15000 200000\n")
        (directory / "cpu.stat").write_text(f"nr_periods {times + 5}\nnr_throttled {times}\nthrottled_usec {round(spent_ms * 1000)}\n")

    return write


def rows(watch):
    return [(row["path"], len(row["spans"])) for row in watch.rows(Clock())]


def test_a_watch_from_before_the_window_on(host):
    host("/pod", 3, 100)
    host("/ci", 900, 5000)
    watch = throttle.Watch()
    watch.prepare(10.0)
    watch.poll()
    host("/pod", 4, 185)
    watch.poll()
    assert rows(watch) == [("/pod", 1), ("/ci", 0)] and watch.warning is None
    row = watch.rows(Clock())[0]
    (start, end), (began, polled) = row["spans"][0], row["polled"]
    assert began < end <= polled and 85 * MS <= end - start < 10_000 * MS and watch.groups["/pod"]._period_ns == 200 * MS


def test_the_window_is_not_begun_with_a_walk_over_all_groups(host):
    host("/pod", 3, 100)
    watch = throttle.Watch()
    watch.prepare(1.0)
    watch.poll()
    assert watch.rows(Clock()) is None


def test_many_groups_are_looked_at_twice(host, monkeypatch):
    monkeypatch.setattr(throttle, "MOST_GROUPS", 1)
    host("/often", 900, 5000)
    host("/now", 3, 100)
    watch = throttle.Watch()
    watch.prepare(10.0)
    host("/now", 4, 200)
    watch.prepare(9.9)
    assert list(watch.groups) == ["/often"]
    monkeypatch.setattr(throttle, "APART_S", 0.0)
    watch.prepare(8.0)
    assert list(watch.groups) == ["/now"]


@pytest.mark.parametrize(
    ("cgroups", "expected"),
    [
        (["/pod/web"], ["/often", "/pod"]),
        (["/outer/pod"], ["/often", "/pod"]),
        (["/podium", "/"], ["/often", "/idle"]),
        (["/often", "/idle", "/pod"], ["/often", "/idle"]),
        ([], ["/often", "/idle"]),
    ],
)
def test_the_groups_of_who_serves_are_read_from_then_on(host, monkeypatch, cgroups, expected):
    monkeypatch.setattr(throttle, "MOST_GROUPS", 2)
    host("/often", 900, 5000)
    host("/idle", 9, 90)
    host("/pod", 3, 100)
    watch = throttle.Watch()
    watch.prepare(10.0)
    host("/often", 901, 5100)
    watch.poll()
    watch.meet(cgroups)
    assert list(watch.groups) == expected


def test_reading_stops_where_it_is_dear(host, monkeypatch):
    host("/pod", 3, 100)
    watch = throttle.Watch()
    watch.prepare(10.0)
    spent = iter(range(1000))
    monkeypatch.setattr(throttle.time, "process_time", lambda: next(spent))
    for _ in range(throttle.POLLS + 1):
        assert watch.warning is None
        watch.poll()
    assert "took too much" in watch.warning
    polled = watch.rows(Clock())[0]["polled"]
    watch.poll()
    assert abs(watch.rows(Clock())[0]["polled"][1] - polled[1]) < MS


def test_spans_are_bounded_in_number(host, monkeypatch):
    monkeypatch.setattr(throttle, "MOST_SPANS", 3)
    group = throttle.Group("/pod", "/nowhere", 2)
    for number in range(3):
        group.add(stat(number, number), 300 * number * MS, 300 * number * MS)
        group.add(stat(number + 1, number + 1), (300 * number + 100) * MS, (300 * number + 100) * MS)
    monkeypatch.setattr(throttle, "text_or_none", lambda path: pytest.fail("it is read no more"))
    assert len(group.spans) == 3
    group.poll()
