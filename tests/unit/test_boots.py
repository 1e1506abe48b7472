"""Whether a host was rebooted, and whether it is in health: judged on what it says over time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import boots, health
from ansible_collections.fleet.stall.plugins.plugin_utils.boots import BootError
from ansible_collections.fleet.stall.plugins.plugin_utils.health import Expected, HealthError, Look
from ansible_collections.fleet.stall.plugins.plugin_utils.reach import said

OLD, NEW, OTHER = (f"{digit}0000000-0000-4000-8000-000000000000" for digit in "123")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def saying(looks):
    """One look after the other, the last one for ever."""
    several = list(looks)
    return itertools.chain(several, itertools.repeat(several[-1])).__next__


UP, DOWN, BACK = boots.Look(OLD), boots.Look(silent="Connection refused"), boots.Look(NEW)


@pytest.mark.parametrize(
    ("looks", "after_s"),
    [
        ([BACK], 0),
        # It answers for a while before it goes down, which is no failure
        ([UP, UP, DOWN, DOWN, BACK], 8),
        # It was gone too shortly to be seen
        ([UP, BACK], 2),
        ([DOWN, UP, DOWN, BACK], 6),
        # A greeting without an id: it has not booted yet
        ([DOWN, boots.Look(silent="System is booting up"), BACK], 4),
    ],
)
def test_a_reboot_is_another_boot_id(looks, after_s):
    time = Time()
    assert boots.wait_for_another(OLD, saying(looks), 60, time.clock, time.sleep) == NEW
    assert time.now - 100 == after_s


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ([UP], "still runs the same boot after 60 s"),
        ([UP, DOWN, UP], "answers again, and runs the same boot as before, after 60 s: it was not rebooted"),
        ([UP, DOWN], "did not come back within 60 s: Connection refused"),
        ([boots.Look()], "did not come back within 60 s: no answer"),
    ],
)
def test_no_other_boot_id_is_no_reboot(looks, words):
    time = Time()
    with pytest.raises(BootError, match=words):
        boots.wait_for_another(OLD, saying(looks), 60, time.clock, time.sleep)
    assert time.now - 100 == 60


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{OLD}\n", OLD),
        (f"Welcome to {NEW}!\r\n{OLD}\r\n", OLD),
        ("System is booting up. Unprivileged users are not permitted to log in yet.\n", None),
        (OLD[:-1], None),
        ("", None),
    ],
)
def test_a_boot_id_is_read_past_greetings(text, found):
    assert boots.boot_id(text) == found


@pytest.mark.parametrize(
    ("stderr", "stdout", "words"),
    [
        ("no such pool\r\nShared connection to 198.51.100.1 closed.\r\n", "x", "no such pool"),
        ("Shared connection to h closed.\n", "busy\n", "busy"),
        ("Connection to h closed.\n", "", ""),
    ],
)
def test_the_farewell_of_a_connection_is_no_word_of_the_command(stderr, stdout, words):
    assert said({"stderr": stderr, "stdout": stdout}) == words


# --- Health ----------------------------------------------------------------------------------------------------------------------


def printed(boot_id=NEW, state="running", units=""):
    return f"{boot_id}\n-- fleet.stall --\n{state}\n-- fleet.stall --\n{units}"


UNITS = "● a.service loaded failed failed A\n  b.service loaded failed failed B\n"


def test_what_a_host_prints_is_read():
    assert health.parse(printed(state="degraded", units=UNITS)) == Look(NEW, "degraded", frozenset({"a.service", "b.service"}))
    assert health.parse("Have a nice day\n" + printed()) == Look(NEW, "running")
    assert health.parse("System is booting up.\n").silent


@given(st.text())
def test_whatever_a_host_prints_is_read(text):
    health.parse(text)
    health.parse(printed(units=text))


def look(state="running", units=(), boot_id=NEW):
    return Look(boot_id, state, frozenset(units))


def judge(looks, before=(), boot_id=NEW, command=None, timeout_s=60):
    """The seconds until it is in health. Raises HealthError."""
    time = Time()
    expected = Expected(boot_id, before, command is not None)
    try:
        health.wait(saying(looks), saying(command) if command else None, expected, timeout_s, time.clock, time.sleep)
    except HealthError as error:
        raise HealthError(f"{time.now - 100:g}: {error}") from None
    return time.now - 100


@pytest.mark.parametrize(
    ("looks", "options", "after_s"),
    [
        ([look()], {}, 0),
        ([Look(silent="refused"), look("starting"), look("starting"), look()], {}, 9),
        ([look("degraded", ["a.service"])], {"before": ["a.service", "b.service"]}, 0),
        ([look("degraded", ["a.service"]), look()], {}, 3),
        ([look()], {"command": ["it is not ready", ""]}, 3),
        ([look("offline")], {"command": [""]}, 0),
        ([look(boot_id=OTHER)], {"boot_id": None}, 0),
    ],
)
def test_a_host_in_health_passes(looks, options, after_s):
    assert judge(looks, **options) == after_s


@pytest.mark.parametrize(
    ("looks", "options", "words"),
    [
        ([look("degraded", ["a.service", "c.service"])], {"before": ["a.service"]}, "15: units failed that had not .* before: c.service$"),
        ([look("degraded", ["a.service"])], {"before": None}, "15: units failed .*: a.service; what had failed before is not known"),
        ([look("running", ["a.service"])], {}, "15: units failed"),
        ([look("starting")], {}, "60: its system is starting, after 60 s"),
        ([look("maintenance")], {}, "0: it is in rescue or emergency mode"),
        ([look(), look(boot_id=OTHER)], {"command": ["no", ""]}, "3: it has rebooted once more by itself"),
        ([look("offline")], {}, "15: systemd does not run there.*stall_health_command"),
        ([look("")], {}, "15: systemd does not run there"),
        ([look()], {"command": ["stall_health_command ended with 1"]}, "60: stall_health_command ended with 1, after 60 s"),
        ([look("degraded", ["a.service"])], {"command": [""]}, "15: units failed"),
        ([Look(silent="No route to host")], {}, "60: it does not answer: No route to host, after 60 s"),
        ([Look(state="running")], {}, "60: it does not answer: it tells no boot id"),
    ],
)
def test_a_host_that_is_not_does_not(looks, options, words):
    with pytest.raises(HealthError, match=words):
        judge(looks, **options)
