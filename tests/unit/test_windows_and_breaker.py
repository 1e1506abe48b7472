"""When something may be begun: within a maintenance window, and while not too much has failed lately."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import breaker, windows

NIGHT = {"from": "22:00", "to": "05:00"}
WEEKEND = {"days": ["sat", "sun"], "from": "08:00", "to": "18:00"}
FRIDAY_NIGHT = {"days": ["fri"], **NIGHT}


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        (NIGHT, "2026-11-25T21:59", False),
        (NIGHT, "2026-11-25T22:00", True),
        (NIGHT, "2026-11-26T04:59", True),
        (NIGHT, "2026-11-26T05:00", False),
        (WEEKEND, "2026-11-28T08:00", True),
        (WEEKEND, "2026-11-28T18:00", False),
        (WEEKEND, "2026-11-27T12:00", False),
        # Its days are those on which it begins: the 27th is a Friday.
        (FRIDAY_NIGHT, "2026-11-27T23:00", True),
        (FRIDAY_NIGHT, "2026-11-28T03:00", True),
        (FRIDAY_NIGHT, "2026-11-28T23:00", False),
        (FRIDAY_NIGHT, "2026-11-27T03:00", False),
        ({**NIGHT, "timezone": "Asia/Tokyo"}, "2026-11-25T14:00", True),
        ({**NIGHT, "timezone": "Asia/Tokyo"}, "2026-11-25T21:00", False),
    ],
)
def test_a_window(window, moment, is_open):
    assert (windows.closed([window], at(moment)) == "") is is_open


def test_without_a_window_it_may_always_be():
    assert windows.closed([], at("2026-11-25T12:00")) == ""


def test_which_windows_there_are_is_said():
    said = windows.closed([WEEKEND, NIGHT], at("2026-11-25T12:00"))
    assert said == "no maintenance window is open: sat sun 08:00-18:00 UTC, daily 22:00-05:00 UTC"


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
def test_a_window_and_its_complement_are_never_both_open_or_both_closed(moment, zone):
    moment = moment.replace(tzinfo=timezone.utc)
    day = {"from": "06:00", "to": "20:30", "timezone": zone}
    night = {"from": "20:30", "to": "06:00", "timezone": zone}
    assert bool(windows.closed([day], moment)) is not bool(windows.closed([night], moment))
    local = moment.astimezone(ZoneInfo(zone))
    assert (windows.closed([day], moment) == "") is ("06:00" <= local.strftime("%H:%M") < "20:30")


@pytest.mark.parametrize(
    ("window", "said"),
    [({**NIGHT, "timezone": "Mars/Base"}, "timezone: 'Mars/Base' is no"), ({"from": "05:00", "to": "05:00"}, "never open")],
)
def test_a_window_that_cannot_be(window, said):
    assert said in windows.wrong(window) and windows.wrong(NIGHT) == ""


# -- The circuit breaker

NOW = at("2026-11-25T12:00")


def failure(host, hours_ago, event="step_failed", **data):
    when = (NOW - timedelta(hours=hours_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"at": when, "host": host, "event": event, "data": data}


@pytest.mark.parametrize(
    ("lines", "is_open"),
    [
        ([], False),
        ([failure("a", 1)], False),
        ([failure("a", 1), failure("b", 2)], True),
        ([failure("a", 1), failure("a", 2), failure("a", 3)], False),
        ([failure("a", 1), failure("b", 25)], False),
        ([failure("a", 1), failure("b", 2, "gate_failed")], True),
        ([failure("a", 1), failure("b", 2, "verified", verdict="worse")], True),
        ([failure("a", 1), failure("b", 2, "verified", verdict="same")], False),
        ([failure("a", 1), failure(None, 2, "wave_failed")], False),
    ],
)
def test_the_breaker(lines, is_open):
    said = breaker.tripped(lines, {"failures": 2, "within_h": 24}, NOW)
    assert bool(said) is is_open
    if is_open:
        assert said.startswith("the circuit breaker is open: 2 hosts failed within 24 h (a, b)")
