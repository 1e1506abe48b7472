"""When a campaign goes on: soak time and maintenance windows."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import pause, windows

WEDNESDAY = datetime(2026, 11, 25, 12, 0, tzinfo=timezone.utc)
NIGHT = {"from": "22:00", "to": "05:00"}


@pytest.mark.parametrize(
    ("window", "opens"),
    [
        (NIGHT, "2026-11-25T22:00:00+00:00"),
        ({**NIGHT, "days": ["mon", "sat"]}, "2026-11-28T22:00:00+00:00"),
        ({**NIGHT, "days": ["wed"], "from": "11:00", "to": "11:30"}, "2026-12-02T11:00:00+00:00"),
        ({**NIGHT, "timezone": "America/New_York"}, "2026-11-26T03:00:00+00:00"),
    ],
)
def test_when_a_window_opens_next(window, opens):
    assert windows.opens_at([window], WEDNESDAY).isoformat() == opens


def test_the_first_of_several_opens_first():
    other = {"days": ["thu"], "from": "01:00", "to": "02:00"}
    assert windows.opens_at([{**NIGHT, "days": ["fri"]}, other], WEDNESDAY).isoformat() == "2026-11-26T01:00:00+00:00"
    assert windows.opens_at([], WEDNESDAY) is None


@pytest.mark.parametrize(
    ("limits", "soak_left_s", "wait_s", "words", "until"),
    [
        ({"windows": [], "soak_s": 0}, 0, 0, "", None),
        ({"windows": [], "soak_s": 60}, 59, 59, "", None),
        ({"windows": [], "soak_s": 86400}, 86000, 0, "soaks for 86400 s", "2026-11-26T11:53:20+00:00"),
        ({"windows": [NIGHT], "soak_s": 0}, 0, 0, "no maintenance window is open", "2026-11-25T22:00:00+00:00"),
        ({"windows": [{"from": "11:00", "to": "12:05"}], "soak_s": 400}, 400, 0, "no maintenance window", "2026-11-26T11:00:00+00:00"),
        ({"windows": [{"from": "11:00", "to": "12:05"}], "soak_s": 100}, 100, 100, "", None),
    ],
)
def test_what_a_wave_waits_for(limits, soak_left_s, wait_s, words, until):
    found = pause.before_wave(limits, soak_left_s, WEDNESDAY)
    assert (found.wait_s, found.until and found.until.isoformat()) == (wait_s, until)
    assert words in found.because and bool(words) == bool(found.because)


CLOCK = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
WINDOW = st.fixed_dictionaries(
    {"from": CLOCK, "to": CLOCK},
    optional={
        "days": st.lists(st.sampled_from(windows.DAYS), min_size=1, unique=True),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
    },
).filter(lambda window: window["from"] != window["to"])


@given(st.lists(WINDOW, min_size=1, max_size=3), st.integers(0, 14 * 24 * 60))
def test_it_is_open_when_it_says_it_opens(several, minutes):
    now = WEDNESDAY + timedelta(minutes=minutes)
    if windows.closed(several, now):
        opens = windows.opens_at(several, now)
        assert opens is not None and opens > now and not windows.closed(several, opens)
