"""The host's own view of stalls, from who handled which probe when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import gaps
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import (
    Finder,
    Handled,
    Late,
    find,
    handlers,
    heard,
    intervals,
    merged,
    sources,
)

MS = 1000000
INTERVALS = {1: 10 * MS, 2: 20 * MS, None: 10 * MS}
THRESHOLD = 10 * MS


def row(at_ms, flow=1, cpu=3, comm="napi/eth0-1"):
    return Handled(int(at_ms * MS), cpu, 7, 7, comm, flow, None)


def rows(*at_ms, **where):
    return [row(at, **where) for at in at_ms]


def steady(start_ms, end_ms, interval_ms, **where):
    return rows(*range(start_ms, end_ms, interval_ms), **where)


def stalled(start_ms, end_ms, until_ms, interval_ms=10, phase_ms=0, **where):
    """Probes due every interval; those due in the stall are handled at its end, 0.1 ms apart."""
    found, held = [], 0
    for due in range(phase_ms, until_ms, interval_ms):
        if start_ms <= due < end_ms:
            found.append(row(end_ms + 0.1 * held, **where))
            held += 1
        else:
            found.append(row(max(due, end_ms + 0.1 * held) if due >= start_ms else due, **where))
    return found


@pytest.mark.parametrize(
    ("name", "given_rows", "expected"),
    [
        ("nothing", [], []),
        ("steady", steady(0, 1000, 10), []),
        ("a backlog of ten", stalled(200, 300, 600), [(200, 300, 3)]),
        ("the source was silent: no backlog", steady(0, 200, 10) + steady(300, 500, 10), []),
        ("one lost probe", steady(0, 200, 10) + steady(220, 400, 10), []),
        ("below the threshold", steady(0, 200, 10) + rows(208, 210) + steady(220, 400, 10), []),
        (
            "two stalls",
            stalled(200, 300, 500) + [r._replace(at_ns=r.at_ns + 500 * MS) for r in stalled(200, 260, 500)],
            [(200, 300, 3), (700, 760, 3)],
        ),
        ("two flows of one queue", stalled(200, 300, 600) + stalled(200, 300, 600, 20, 5, flow=2), [(200, 300, 3)]),
        ("two queues", stalled(200, 300, 600) + stalled(210, 280, 600, 20, flow=2, cpu=1), [(200, 300, 3), (220, 280, 1)]),
        ("rows without a flow", [r._replace(flow=None) for r in stalled(200, 300, 600)], [(200, 300, 3)]),
        ("a flow that the plan does not know", [r._replace(flow=9) for r in stalled(200, 300, 600)], []),
    ],
)
def test_find(name, given_rows, expected):
    found = find(given_rows, INTERVALS, THRESHOLD)
    assert [(gap["start_ns"] // MS, gap["end_ns"] // MS, gap["cpu"]) for gap in found] == expected, name


def nameless(*parts):
    return [each._replace(flow=None) for part in parts for each in part]


@pytest.mark.parametrize(
    ("name", "given_rows", "expected"),
    [
        ("the other CPU goes on", nameless(stalled(200, 300, 600), steady(0, 600, 10, cpu=1)), [(200, 300, 3)]),
        ("both stall", nameless(stalled(200, 300, 600), stalled(200, 260, 600, cpu=1)), [(200, 260, 1), (200, 300, 3)]),
        (
            "often",
            nameless(*(stalled(at, at + 40, at + 60, phase_ms=at) for at in range(0, 600, 60))),
            [(at, at + 40, 3) for at in range(60, 600, 60)],
        ),
        (
            "a CPU that slow flows come to, two at a time",
            nameless(steady(0, 600, 10), steady(0, 600, 80, cpu=1), steady(2, 600, 80, cpu=1)),
            [],
        ),
    ],
)
def test_find_by_cpu_where_the_trace_names_no_flow(name, given_rows, expected):
    found = find(given_rows, INTERVALS, THRESHOLD)
    assert [(gap["start_ns"] // MS, gap["end_ns"] // MS, gap["cpu"]) for gap in found] == expected, name


SLOW, PROBED_BY = {5: 80 * MS, 6: 80 * MS, None: 80 * MS}, {5: "a", 6: "b"}


@pytest.mark.parametrize(
    ("name", "second", "probed_by", "expected"),
    [
        ("held together", {"start_ms": 230, "end_ms": 250}, PROBED_BY, [(235, 250, 3)]),
        ("one source did not send", {"start_ms": 230, "end_ms": 250}, {5: "a", 6: "a"}, []),
        ("sources that are not known", {"start_ms": 230, "end_ms": 250}, {}, []),
        ("at another time", {"start_ms": 230, "end_ms": 258}, PROBED_BY, []),
        ("another CPU", {"start_ms": 230, "end_ms": 250, "cpu": 1}, PROBED_BY, []),
    ],
)
def test_a_stall_that_holds_one_probe_of_each_flow(name, second, probed_by, expected):
    given_rows = stalled(230, 250, 1000, 80, flow=5) + stalled(**{"until_ms": 1000, "interval_ms": 80, "phase_ms": 75, "flow": 6, **second})
    found = find(given_rows, SLOW, THRESHOLD, probed_by)
    assert [(gap["start_ns"] // MS, gap["end_ns"] // MS, gap["cpu"]) for gap in found] == expected, name


def test_the_sources_of_flows():
    assert sources([{"id": 4, "source": "a"}, {"id": 5, "source": "b"}]) == {4: "a", 5: "b"}


@pytest.mark.parametrize(
    ("name", "given_rows", "expected"),
    [
        ("nothing", [], {}),
        ("steady", steady(0, 1000, 10), {1: [(0, 990)]}),
        ("a backlog", stalled(200, 300, 600), {1: [(0, 190), (300, 590)]}),
        ("a probe lost", steady(0, 200, 10) + steady(220, 400, 10), {1: [(0, 190), (220, 390)]}),
        ("a little late", steady(0, 200, 10) + steady(204, 400, 10), {1: [(0, 394)]}),
        (
            "one held for as long as counts",
            steady(0, 200, 20, flow=2) + rows(210, flow=2) + steady(220, 400, 20, flow=2),
            {2: [(0, 180), (210, 380)]},
        ),
        ("no flow is named", nameless(steady(0, 1000, 10)), {}),
        ("a flow that the plan does not know", steady(0, 1000, 10, flow=9), {}),
        ("two flows", steady(0, 100, 10) + steady(0, 100, 20, flow=2), {1: [(0, 90)], 2: [(0, 80)]}),
    ],
)
def test_heard(name, given_rows, expected):
    found = heard(reversed(given_rows), INTERVALS, THRESHOLD)
    assert {flow: [(start // MS, end // MS) for start, end in spans] for flow, spans in found.items()} == expected, name


def test_heard_is_bounded(monkeypatch):
    monkeypatch.setattr(gaps, "MOST_HEARD", 3)
    assert heard(rows(0, 100, 200, 300, 400), INTERVALS, THRESHOLD) == {1: [(0, 0), (100 * MS, 100 * MS), (200 * MS, 200 * MS)]}


def test_order_of_rows_does_not_matter():
    given_rows = stalled(200, 300, 600) + stalled(200, 300, 600, 20, 5, flow=2)
    assert find(reversed(given_rows), INTERVALS, THRESHOLD) == find(given_rows, INTERVALS, THRESHOLD)


def test_handled_are_those_from_before_to_the_last_of_the_backlog():
    (gap,) = find(stalled(200, 300, 600), INTERVALS, THRESHOLD)
    times = [each.at_ns / MS for each in gap["handled"]]
    assert times[:6] == [150.0, 160.0, 170.0, 180.0, 190.0, 300.0]
    assert times[-1] == pytest.approx(300.9)
    assert len(times) == 5 + 10


def test_another_cpu_is_not_in_the_backlog():
    (gap,) = find(stalled(200, 300, 600) + steady(0, 600, 20, flow=2, cpu=1), INTERVALS, THRESHOLD)
    assert {each.cpu for each in gap["handled"]} == {3}


def test_a_gap_is_told_with_the_second_of_its_backlog():
    finder = Finder(INTERVALS, THRESHOLD)
    assert [finder.add(each) for each in rows(0, 10, 100)] == [None, None, None]
    assert finder.add(row(100.1)) == Late(20 * MS, 100 * MS, 3, 1)
    assert finder.add(row(100.2)) is None


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ([], []),
        ([(0, 10, 1), (5, 12, 1)], [(0, 10, 1)]),
        ([(0, 10, 1), (10, 12, 1)], [(0, 10, 1), (10, 12, 1)]),
        ([(0, 10, 1), (5, 12, 2)], [(0, 10, 1), (5, 12, 2)]),
    ],
)
def test_merged(late, expected):
    assert [each[:3] for each in merged([Late(*each, flow=None) for each in late])] == expected


def test_intervals_and_handlers():
    assert intervals([{"id": 4, "interval_ms": 20}, {"id": 5, "interval_ms": 2.5}]) == {4: 20 * MS, 5: 2500000, None: 2500000}
    assert intervals([]) == {}
    counted = handlers(rows(0, 10, 20) + rows(5, cpu=1, comm="ksoftirqd/1"))
    assert [(each["cpu"], each["comm"], each["packets"]) for each in counted] == [(3, "napi/eth0-1", 3), (1, "ksoftirqd/1", 1)]


ANY_ROWS = st.lists(
    st.builds(
        Handled,
        st.integers(0, 10**12),
        st.integers(0, 3),
        st.just(1),
        st.just(1),
        st.just("x"),
        st.sampled_from([1, 2, 9, None]),
        st.none(),
    ),
    max_size=60,
)


@given(ANY_ROWS)
def test_whatever_comes(given_rows):
    found = find(given_rows, INTERVALS, THRESHOLD)
    for gap in found:
        assert gap["end_ns"] - gap["start_ns"] >= THRESHOLD
        assert gap["end_ns"] in [each.at_ns for each in gap["handled"] if each.cpu == gap["cpu"]]
        assert [each.at_ns for each in gap["handled"]] == sorted(each.at_ns for each in gap["handled"])
        assert len(gap["handled"]) <= gaps.MOST_ROWS + gaps.MOST_ROWS_BEFORE
    for cpu in range(4):
        on_it = [gap for gap in found if gap["cpu"] == cpu]
        assert all(first["end_ns"] <= second["start_ns"] for first, second in zip(on_it, on_it[1:], strict=False))


@given(st.integers(100, 400), st.integers(30, 300))
def test_every_stall_that_holds_back_enough_is_found(start_ms, length_ms):
    found = find(stalled(start_ms, start_ms + length_ms, 1000), INTERVALS, THRESHOLD)
    assert [gap["end_ns"] // MS for gap in found] == [start_ms + length_ms]
    assert 0 <= found[0]["start_ns"] / MS - start_ms < 10


@pytest.mark.parametrize(
    ("seen", "firsts"),
    [
        ([(1, 7), (1, 7), (1, 8), (1, 7)], [True, False, True, False]),
        ([(1, 7), (2, 7)], [True, True]),
        ([(None, 7), (None, 7), (1, None), (1, None)], [True] * 4),
        ([(1, 1), (1, 2), (1, 3), (1, 3), (1, 1)], [True, True, True, False, True]),
    ],
)
def test_second_sightings(monkeypatch, seen, firsts):
    monkeypatch.setattr(gaps, "MOST_SEEN", 2)
    sightings = gaps.Sightings()
    assert [sightings.is_first(row(0, flow)._replace(number=number)) for flow, number in seen] == firsts


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000)), max_size=400))
def test_what_is_remembered_of_sightings_is_bounded(seen):
    sightings = gaps.Sightings()
    for flow, number in seen:
        sightings.is_first(row(0, flow)._replace(number=number))
    assert all(len(numbers) <= gaps.MOST_SEEN for numbers in sightings._seen.values())
