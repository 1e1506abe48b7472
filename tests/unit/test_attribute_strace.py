"""Stalls that a capture made itself: strace stops its process at each system call, and a service that it has answers late."""

import pytest

from tests.unit.simcapture import STALLS, Capture, row
from tests.unit.test_attribute_application import CONNECTION, IN_POD, late

DURING = STALLS[6:9]


def strace(pid, stalls=DURING):
    """strace on a process from before the first of these stalls until after the last."""

    def add(capture):
        start, end = stalls[0][0] - 0.5, stalls[-1][0] + 0.5
        row_of_it = {"pid": pid, "comm": "web", "start_ns": capture.at(start), "seconds": end - start, "bytes": 1, "calls": 2}
        capture.more["strace"] = {**row_of_it, "slowdown": 20.0, "why": "x"}

    return add


def said(found):
    return [sentence for sentence in found["capture"]["missing"] if "strace slowed it down" in sentence]


@pytest.mark.parametrize("connections", [(CONNECTION,), ()], ids=["it serves", "who serves is not known"])
def test_a_service_that_is_late_while_strace_has_it_is_late_by_that(connections):
    found = late(IN_POD, connections, also=strace(8000))
    assert found["capture"]["explained"] == {"events": 9, "of": 9}
    assert said(found) == [
        "in 3 of 12 stalls the service was late while strace slowed it down: they are the capture's own, and do not count"
    ]
    shown = [event["class"] for event in found["events"] if event["window"] == "capture"]
    assert (shown.count("R"), shown.count(None)) == (9, 3)


def test_a_service_that_strace_did_not_have_is_late_by_itself():
    found = late(IN_POD, also=strace(7000))
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and said(found) == []


def test_what_the_host_held_it_held_with_strace_as_well():
    def add(capture):
        strace(8000)(capture)
        for start, length in STALLS:
            capture.gap(start, start + length).run(start - 0.002, start + length)

    found = late(IN_POD, also=add)
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and said(found) == []


def test_probes_that_the_kernel_answers_are_not_late_by_strace():
    capture = Capture(lacks=("rx_trace", "recorder"), more={"connections": [CONNECTION]})
    strace(8000)(capture)
    found = row(capture)
    assert found["capture"]["explained"]["of"] == 12 and said(found) == []


def test_where_a_service_was_late_at_no_other_time_nobody_is_named():
    found = late(IN_POD, also=strace(8000, STALLS))
    assert found["capture"]["culprits"] == [] and found["capture"]["explained"] == {"events": 0, "of": 0}
    assert found["capture"]["sentence"] == "While it was captured its service was late only as strace slowed it down, which says nothing."
    assert found["causes"] == []
