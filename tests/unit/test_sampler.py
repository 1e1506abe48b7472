"""What is read when, and that one source in trouble costs no other."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import sampler
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable


def collected(monkeypatch, readers, static=(), stop_after=None):
    """The counters of a window of three seconds on a clock that only sleeping moves."""
    clock = SimpleNamespace(now=100.0, sleeps=0)

    def wait(seconds):
        clock.now += seconds
        clock.sleeps += 1
        return stop_after is not None and clock.sleeps >= stop_after

    monkeypatch.setattr(sampler, "READERS", readers)
    monkeypatch.setattr(sampler, "STATIC", static)
    monkeypatch.setattr(sampler, "time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: 5e8 + clock.now))
    return sampler.collect(105.0, 108.0, wait), clock


def reader_that(**functions):
    return SimpleNamespace(**functions)


def fails(error):
    def read():
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("/proc/net/ip_vs: No such file or directory"), "/proc/net/ip_vs: No such file or directory"),
        (PermissionError(13, "Permission denied", "/dev/kmsg"), "/dev/kmsg: Permission denied"),
        (ValueError("invalid literal"), "unknown format: ValueError: invalid literal"),
    ],
)
def test_what_can_not_be_read_says_why_and_costs_no_other(monkeypatch, error, reason):
    found, _ = collected(monkeypatch, {"bad": reader_that(read=fails(error)), "good": reader_that(read=lambda: {"n": 1})})
    assert (found["bad"]["available"], found["bad"]["reason"], found["bad"]["end"]) == (False, reason, None)
    assert (found["good"]["start"], found["good"]["end"]) == ({"n": 1}, {"n": 1})


def test_read_before_and_after_the_window_and_sampled_within(monkeypatch):
    times = []
    growing = reader_that(
        read=lambda: times.append(sampler.time.monotonic()) or {}, sample=lambda start: {"0": int(sampler.time.monotonic() * 10)}
    )
    found, clock = collected(monkeypatch, {"growing": growing})
    assert times == [103.5, 108.0]
    assert found["growing"]["series"] == {
        "start_ns": 500000105 * 10**9,
        "offsets_ms": [1000, 2000, 3000],
        "increments": {"0": [10, 10, 10]},
    }
    assert found["growing"]["end_ns"] - found["growing"]["start_ns"] == 4500000000


def test_what_goes_away_and_comes_back_has_not_grown_by_all_that_it_ever_counted():
    samples = iter([{"0": 1000, "1": 50}, {"0": 1010}, {"0": 1020, "1": 57}])
    series = sampler.Series(reader_that(sample=lambda start: next(samples)))
    for _ in range(3):
        series.add({})
    assert series.result()["increments"] == {"0": [10, 10], "1": [0, 7]}


def test_what_does_not_change_is_read_once(monkeypatch):
    reads = []
    found, _ = collected(monkeypatch, {"kernel": reader_that(read=lambda: reads.append(1) or {"release": "6"})}, static=("kernel",))
    assert (len(reads), found["kernel"]["end"]) == (1, None)


def test_an_early_end_is_read_at_once(monkeypatch):
    found, clock = collected(monkeypatch, {"one": reader_that(read=lambda: {"n": 1}, sample=lambda start: {"n": 1})}, stop_after=1)
    assert clock.now < 105.0
    assert found["one"]["end"] == {"n": 1}


def test_a_source_that_goes_away_is_told_at_the_end(monkeypatch):
    answers = iter([{"n": 1}])
    found, _ = collected(monkeypatch, {"one": reader_that(read=lambda: next(answers, None) or fails(Unavailable("gone"))())})
    assert (found["one"]["available"], found["one"]["end"], found["one"]["reason"]) == (True, None, "at the end: gone")


@given(st.floats(0, 1e6), st.floats(0.01, 86400), st.floats(1, 200))
def test_instants_begin_and_end_with_the_window(starts, length, interval):
    instants = sampler.instants(starts, starts + length, interval)
    assert (instants[0], instants[-1]) == (starts, starts + length)
    assert instants == sorted(instants)


def test_a_process_that_dies_is_no_reading(monkeypatch):
    monkeypatch.setattr(sampler, "collect", lambda starts, ends, wait: 1 / 0)
    now = time.monotonic()
    found = sampler.Sampler(now, now).result(now + 10)
    assert {counter["reason"] for counter in found.values()} == {"the process that reads the counters died"}
    assert not any(counter["available"] for counter in found.values())


def test_a_read_that_hangs_does_not_hold_the_result(monkeypatch):
    monkeypatch.setattr(sampler, "collect", lambda starts, ends, wait: time.sleep(60))
    now = time.monotonic()
    found = sampler.Sampler(now, now).result(now + 0.2)
    assert {counter["reason"] for counter in found.values()} == {"the counters were not read in time"}
