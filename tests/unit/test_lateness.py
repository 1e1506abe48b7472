"""The prober does not blame others for its own absence."""

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.lateness import LISTED, Lateness, uncovered
from ansible_collections.fleet.stall.plugins.module_utils.probes.flow import Flow, Shared

MS = 1000000
START = 1700000000 * 1000 * MS


def late(*spans):
    lateness = Lateness(threshold_ns=10 * MS, gap_ns=5 * MS)
    for due_ms, late_ms in spans:
        lateness.woke(START + due_ms * MS, late_ms * MS)
    return lateness


def explains(lateness, start_ms, end_ms):
    return lateness.explains(START + start_ms * MS, START + end_ms * MS)


def test_an_event_is_explained_when_less_than_the_threshold_is_left():
    absent = late((100, 60), (160, 0), (165, 0))
    assert explains(absent, 98, 160)
    assert explains(absent, 110, 150)
    assert not explains(absent, 60, 160)
    assert not explains(absent, 100, 300)
    assert not explains(absent, 400, 430)


def test_punctual_wake_ups_explain_nothing():
    assert not explains(late(*[(5 * k, 1) for k in range(100)]), 100, 120)


@given(st.integers(0, 1000), st.integers(1, 500), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 200))))
def test_what_is_uncovered_is_never_negative_nor_more_than_the_event(start, length, gaps):
    spans, at = [], 0
    for gap, span in gaps:
        spans.append((at + gap, at + gap + span))
        at += gap + span
    assert 0 <= uncovered(start, start + length, spans) <= length


def test_the_report_keeps_the_longest_in_order_and_stays_small():
    report = late(*[(10 * k, 6 + (k % 500 == 7) * 100) for k in range(5000)]).report()
    assert len(report["late"]) == LISTED
    assert report["late"] == sorted(report["late"])
    assert sum(duration == 106.0 for _start, duration in report["late"]) == 10
    assert report["max_ms"] == 106.0
    assert 5800 <= report["p50_us"] <= 6200


def test_lateness_that_shows_only_after_the_reply_was_read_explains_it_as_well():
    """A prober that is held up while it reads replies learns of that at its next wake-up."""
    plan = {"token": 1, "reply_timeout_ms": 500, "threshold_ms": 10, "event_limit": 10}
    lateness = Lateness(threshold_ns=10 * MS, gap_ns=5 * MS)
    flow = Flow({"id": 1, "interval_ms": 10}, Shared(plan, lateness, None))
    for number in range(64):
        held_ms = 30 if number == 50 else 1
        flow.answer(flow.begin(START + 10 * number * MS), START + (10 * number + held_ms) * MS)
    flow.settle(START + 1000 * MS)
    lateness.woke(START + 500 * MS, 40 * MS)
    report = flow.report()
    assert (report["events"], report["events_own_lateness"]) == ([], 1)
