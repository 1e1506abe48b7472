"""Stalls of a queue that holds packets back are found once each, with their length, on any path, and nothing else is."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.stalls import Baseline, StallExtractor, chance_run

MS = 1000000
INTERVAL = 10 * MS
LOST = None


def extract(probes, lost_run=2, interval=INTERVAL, threshold=10 * MS, base=None):
    """Events of probes given as (send, round trip or LOST), in ns."""
    events = []
    extractor = StallExtractor(threshold, interval, lost_run, events.append)
    if base is None:
        answers = sorted(rtt for _send, rtt in probes if rtt is not LOST)
        base = answers[len(answers) // 4] if answers else 0
    for send, rtt in probes:
        if rtt is LOST:
            extractor.lost(send)
        else:
            extractor.answered(send, rtt, rtt - base, None)
    extractor.close()
    return events


def path(stalls, base=MS // 10, jitter=0, window=2000 * MS, interval=INTERVAL, phase=0, seed=0):
    """Probes over a path that holds everything back during each (start, end) of `stalls`."""
    draw = random.Random(seed)
    probes = []
    for send in range(phase, window, interval):
        ends = [end for start, end in stalls if start <= send < end]
        held = max(ends) - send if ends else 0
        probes.append((send, held + base + (draw.randrange(jitter) if jitter else 0)))
    return probes


@st.composite
def separate_stalls(draw):
    stalls, at = [], 0
    for _ in range(draw(st.integers(0, 6))):
        start = at + draw(st.integers(15 * MS, 200 * MS))
        end = start + draw(st.integers(21 * MS, 300 * MS))
        stalls.append((start, end))
        at = end
    return stalls


def test_a_sawtooth_is_one_stall():
    events = extract(
        [(INTERVAL * k, (130 - 10 * k) * MS + MS // 10) for k in range(13)] + [(INTERVAL * k, 100000) for k in range(13, 30)], base=100000
    )
    assert [(event["start_ns"], event["duration_ms"], event["packets"], event["censored"]) for event in events] == [(0, 130.0, 13, False)]
    assert events[0]["max_ms"] == 130.1


@given(separate_stalls(), st.sampled_from([20000, 300000, 5 * MS, 40 * MS]), st.integers(0, INTERVAL - 1), st.sampled_from([0, MS, 3 * MS]))
def test_each_stall_is_found_once_with_its_length_to_one_interval(stalls, base, phase, jitter):
    """A path of 40 ms, longer than the interval, is no stall; nor is jitter below the threshold."""
    window = (stalls[-1][1] if stalls else 0) + 3000 * MS
    events = extract(path(stalls, base, jitter, window, phase=phase), base=base)
    assert len(events) == len(stalls)
    for event, (start, end) in zip(events, stalls, strict=True):
        assert 0 <= event["start_ns"] - start <= INTERVAL
        assert abs(event["duration_ms"] * MS - (end - start)) <= INTERVAL + jitter
        assert not event["censored"] and event["lost"] == 0


@given(st.lists(st.integers(0, 9 * MS), min_size=40, max_size=400), st.integers(0, 50 * MS))
def test_jitter_below_the_threshold_is_no_stall(jitters, base):
    assert extract([(k * INTERVAL, base + jitter) for k, jitter in enumerate(jitters)], base=base) == []


@given(st.lists(st.one_of(st.none(), st.integers(0, 400 * MS)), min_size=1, max_size=200), st.sampled_from([1, 2]))
def test_no_probe_is_counted_twice_and_events_do_not_overlap(round_trips, lost_run):
    """Whatever comes back, in whatever order."""
    probes = [(k * INTERVAL, rtt) for k, rtt in enumerate(round_trips)]
    events = extract(probes, lost_run, base=MS)
    assert sum(event["packets"] for event in events) <= len(probes)
    assert sum(event["lost"] for event in events) <= round_trips.count(LOST)
    for before, after in itertools.pairwise(events):
        assert before["start_ns"] + before["duration_ms"] * MS <= after["start_ns"] + 1000
    for send, rtt in probes:
        if rtt is not LOST and rtt - MS >= 10 * MS:
            assert sum(event["start_ns"] <= send <= event["start_ns"] + event["duration_ms"] * MS + 1000 for event in events) == 1


def test_stalls_back_to_back_are_two_and_a_queue_that_drains_slowly_is_one():
    two = extract(path([(103 * MS, 200 * MS), (205 * MS, 300 * MS)]))
    assert [round(event["duration_ms"]) for event in two] == [90, 90]
    slow = [(k * INTERVAL, 100000) for k in range(40)]
    slow += [(400 * MS + k * INTERVAL, int((100 - 1.5 * k) * MS)) for k in range(60)] + [
        (1000 * MS + k * INTERVAL, 100000) for k in range(20)
    ]
    one = extract(slow, base=100000)
    assert len(one) == 1
    assert one[0]["packets"] >= 60


def test_the_tail_of_a_stall_counts_as_packets():
    (event,) = extract(path([(100 * MS, 195 * MS)]))
    assert (event["packets"], event["duration_ms"]) == (10, 95.0)


def test_one_that_overtook_the_held_ones_is_not_held():
    (event,) = extract([(0, 300 * MS)] + [(k * INTERVAL, 100000) for k in range(1, 60)], base=100000)
    assert (event["packets"], round(event["duration_ms"])) == (1, 300)


@pytest.mark.parametrize(
    ("lost", "lost_run", "interval", "events"),
    [
        pytest.param(1, 2, INTERVAL, [], id="one lost datagram is loss"),
        pytest.param(2, 2, INTERVAL, [(20.0, 2)], id="two in a row are a stall cut off"),
        pytest.param(50, 2, INTERVAL, [(500.0, 50)], id="an outage"),
        pytest.param(3, 2, MS, [], id="three in a row at 1 ms are shorter than the threshold"),
        pytest.param(1, 1, 2000 * MS, [(2000.0, 1)], id="silence on a connection"),
    ],
)
def test_lost_probes(lost, lost_run, interval, events):
    probes = [(k * interval, LOST if 30 <= k < 30 + lost else 100000) for k in range(60 + lost)]
    found = extract(probes, lost_run, interval)
    assert [(event["duration_ms"], event["lost"]) for event in found] == events
    assert all(event["censored"] and event["start_ns"] == 30 * interval for event in found)


def test_a_stall_longer_than_the_timeout_is_one_stall_with_its_drain():
    """Probes held for more than 2 s are given up as lost; those behind them show when the queue drained."""
    probes = []
    for k in range(600):
        held = max(0, 4000 * MS - k * INTERVAL) if k >= 100 else 0
        probes.append((k * INTERVAL, LOST if held > 2000 * MS else held + 100000))
    (event,) = extract(probes, base=100000)
    assert (event["duration_ms"], event["lost"], event["packets"], event["censored"]) == (3000.0, 100, 300, False)


def test_a_queue_that_overflows_keeps_its_drain_time():
    probes = [(k * INTERVAL, 100000) for k in range(30)]
    probes += [(300 * MS + k * INTERVAL, (100 - 10 * k) * MS + 100000 if k < 4 else LOST) for k in range(10)]
    probes += [(400 * MS + k * INTERVAL, 100000) for k in range(30)]
    (event,) = extract(probes, base=100000)
    assert (event["duration_ms"], event["packets"], event["lost"], event["censored"]) == (100.0, 10, 6, False)


def test_an_outage_at_the_end_of_the_window_is_shown():
    (event,) = extract([(k * INTERVAL, 100000 if k < 30 else LOST) for k in range(40)])
    assert (event["duration_ms"], event["censored"]) == (100.0, True)


def test_the_baseline_is_that_of_the_quiet_path():
    """A host that stalls two thirds of the time is not its own baseline; a path that gets longer for good is, soon."""
    baseline = Baseline()
    for k in range(6000):
        baseline.add(100000 if k % 3 == 0 else 80 * MS)
    assert baseline.ns < 110000
    for _ in range(2000):
        baseline.add(40 * MS)
    assert 39 * MS < baseline.ns < 41 * MS


def test_no_answer_is_no_baseline():
    baseline = Baseline()
    baseline.refresh()
    assert baseline.ns is None


@pytest.mark.parametrize(("sent", "singles", "longest"), [(3000, 0, 2), (3000, 30, 4), (3000, 243, 7), (0, 0, 2)])
def test_runs_that_chance_explains(sent, singles, longest):
    assert chance_run(sent, singles) == longest
