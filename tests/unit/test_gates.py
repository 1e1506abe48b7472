"""What may go on, and what ends a campaign."""

import re
from datetime import timedelta

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import gates, journal_state, plan_check

from .test_journal_state import line

DOMAINS = {f"{rack}{number}": {"rack": f"rack_{rack}"} for rack in "ab" for number in range(3)}
STEPS = [{"remedy": "sysctl", "undo": True}, {"remedy": "restart_unit", "undo": False}]


def plan(waves, failures_most=0, per_domain=None, down=(), escalate=False, soak_s=0, boot_id=None, better=False):
    row = {"boot_id": boot_id, "escalate": escalate, "steps": STEPS}
    # Of all hosts, that with number 2 did not stall.
    rows = [{"host": host, "stalled_ms_per_s": 0.0 if host.endswith("2") else 9.0, **row} for wave in waves for host in wave]
    limits = {"canary": 1, "canary_better": better, "per_domain": per_domain or {}, "failures_most": failures_most, "soak_s": soak_s}
    return {"hosts": rows, "waves": waves, "limits": limits, "down": list(down)}


SEEN, DARK = {"status": "clear"}, {"status": "not_measured"}


def ended(host, wave=1, event="step_done", verdict="better", step=0, before=None, after=None, **data):
    found = [line("step_begun", host, wave, step), line(event, host, wave, step, **data)]
    told = line("verified", host, wave, step, verdict=verdict, before=before, after=after)
    return [*found, told] if event == "step_done" else found


def passed(wave, at="2026-11-25T12:00:00.000Z"):
    return {**line("wave_passed", None, wave), "at": at}


def state(*lines):
    return journal_state.fold(one for group in lines for one in (group if isinstance(group, list) else [group]))


THREE = plan([["a0"], ["a1", "b0"], ["b1"]])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], [["a0"], ["a1", "b0"], ["b1"]]),
        ([ended("a0")], [[], ["a1", "b0"], ["b1"]]),
        ([ended("a0"), passed(1), line("step_begun", "b0", 2)], [[], ["a1", "b0"], ["b1"]]),
        ([ended("a0", event="step_failed", because="x")], [[], ["a1", "b0"], ["b1"]]),
    ],
)
def test_who_is_left(lines, expected):
    assert gates.left(THREE, state(*lines), retry=False) == expected


def test_what_failed_is_left_where_it_is_tried_again():
    failed = state(ended("a0", event="step_failed", because="x"))
    assert gates.left(THREE, failed, retry=True)[0] == ["a0"]
    assert gates.wave(THREE, failed, 1, retry=True) == gates.Wave(["a0"], 1)
    assert gates.wave(THREE, failed, 1, retry=False) == gates.Wave([], 0)


def test_rounds_are_the_steps_that_the_ladder_has_left():
    ladder = plan([["a0"]], escalate=True)
    assert gates.wave(ladder, state(), 1, False).rounds == 2
    assert gates.wave(ladder, state(ended("a0", verdict="same")), 1, False) == gates.Wave(["a0"], 1)
    assert gates.wave(ladder, state(ended("a0")), 1, False).rounds == 0


def test_a_campaign_is_done_when_its_waves_have_passed():
    assert not gates.is_done(THREE, state(passed(1), passed(2)))
    assert gates.is_done(THREE, state(passed(1), passed(2), passed(3)))
    assert gates.is_done(plan([]), state())


def test_waves_pass_in_their_order():
    assert gates.may_begin(THREE, state(), 1, DOMAINS) == ""
    assert gates.may_begin(THREE, state(), 2, DOMAINS) == "wave 1 has not passed"
    assert gates.may_begin(THREE, state(passed(1)), 3, DOMAINS) == "wave 2 has not passed"


@pytest.mark.parametrize(
    ("lines", "away", "is_refused"),
    [
        ([], (), False),
        ([], ("a2",), True),
        ([ended("a0", event="step_failed", because="x")], (), True),
        ([line("step_begun", "a0"), line("cordon_begun", "a0", ours=True), line("cordoned", "a0")], (), True),
        ([ended("b1", event="step_failed", because="x")], (), True),
        # A host of the wave itself takes no second place
        ([ended("a1", wave=2, event="step_failed", because="x")], (), False),
        ([[*ended("a0", verdict="worse"), line("rolled_back", "a0")]], (), False),
        ([ended("a0", verdict="worse")], (), True),
        ([ended("a0", verdict="unknown", before=SEEN, after=SEEN)], (), False),
        # It could be measured before, and can't be any more.
        ([ended("a0", verdict="unknown", before=SEEN, after=DARK)], (), True),
        ([ended("a0", verdict="unknown", before=DARK, after=DARK)], (), False),
        # It did not answer when its turn was.
        ([line("step_failed", "a0", step=None)], (), True),
    ],
)
def test_what_failed_or_is_out_of_service_counts_as_away(lines, away, is_refused):
    first = [] if any(one["host"] == "a0" for group in lines for one in (group if isinstance(group, list) else [group])) else [ended("a0")]
    said = gates.may_begin(plan(THREE["waves"], per_domain={"rack": 1}), state(*first, *lines, passed(1)), 2, DOMAINS, away)
    assert bool(said) is is_refused
    if is_refused:
        assert re.search(r"2 hosts would be away at once, 1 of them are down already \(\w+\), and 1 may be", said)


def test_who_was_taken_out_of_service_is_named_with_the_way_to_say_that_it_is_back():
    narrow, first = plan(THREE["waves"], per_domain={"rack": 1}), state(ended("a0"), passed(1))
    said = "; campaigns took a2 out of service; one that was put back by hand: -e stall_given_back=<host>"
    assert gates.may_begin(narrow, first, 2, DOMAINS, ("a2",)).endswith(said)
    down = {**narrow, "down": ["a2"]}
    assert "given_back" not in gates.may_begin(down, first, 2, DOMAINS) != ""


def test_the_way_on_from_a_wave_that_failed():
    failed = state(ended("a0", event="step_failed", because="x"))
    assert gates.way_on(THREE, failed, 1) == "put it right and go on with -e stall_retry=true, or make a new plan"
    worse = state(ended("a0", verdict="worse"))
    assert "nothing of the kind is done to a0" in gates.way_on(THREE, worse, 1) and "stall_retry" not in gates.way_on(THREE, worse, 1)


@pytest.mark.parametrize(
    ("waves", "lines", "number", "failures_most", "said"),
    [
        ([["a0"]], [ended("a0")], 1, 0, ""),
        ([["a0"]], [ended("a0", verdict="same")], 1, 0, ""),
        ([["a0"]], [ended("a0", verdict="unknown")], 1, 0, ""),
        ([["a0"]], [ended("a0", verdict="worse")], 1, 5, "1 host of the first wave failed (a0: it did worse after sysctl)"),
        ([["a0"]], [ended("a0", event="step_failed", because="it broke")], 1, 5, "1 host of the first wave failed (a0: it broke)"),
        ([["a0"]], [line("step_begun", "a0")], 1, 0, "1 host of the first wave failed (a0: sysctl was begun and did not end)"),
        ([["a0"]], [], 1, 0, "1 host of the first wave failed (a0: nothing was begun on it)"),
        ([["a0"]], [[line("step_begun", "a0"), line("cordon_begun", "a0", ours=True), line("step_done", "a0")]], 1, 0, "still cordoned"),
        ([["b1"], ["a0", "a1"]], [ended("b1"), ended("a0", 2, "step_failed", because="x"), ended("a1", 2)], 2, 0, "1 host failed (a0: x)"),
        ([["b1"], ["a0", "a1"]], [ended("b1"), ended("a0", 2, "step_failed", because="x"), ended("a1", 2)], 2, 1, ""),
        ([["b1"], ["a0", "a1"]], [ended("b1")], 2, 1, "2 hosts failed (a0: nothing was begun on it; a1: nothing"),
        (
            [["a0"], ["a1"]],
            [ended("a0"), ended("a1", 2, verdict="unknown", before=SEEN, after=DARK)],
            2,
            0,
            "it could not be measured any more",
        ),
        # Failures add up over the waves, those of hosts that were lost as well
        ([["b1"], ["a0"], ["a1"]], [ended("b1")], 3, 1, "1 host failed (a1: nothing was begun on it)"),
        (
            [["b1"], ["a0"], ["a1"]],
            [
                ended("b1"),
                *(
                    [line("step_begun", host, 2), line("cordon_begun", host, 2, ours=True), line("step_done", host, 2)]
                    for host in ("a0", "a1")
                ),
            ],
            3,
            1,
            "1 host failed (a1: it is still cordoned)",
        ),
        (
            [["b1"], ["a0"], ["a1"]],
            [ended("b1"), *(ended(host, 2, "step_failed", because="x") for host in ("a0", "a1"))],
            3,
            1,
            "1 host failed",
        ),
    ],
)
def test_what_ends_it(waves, lines, number, failures_most, said):
    found = gates.verdict(plan(waves, failures_most), state(*lines), number, retry=False)
    assert said in found and bool(said) is bool(found)


@pytest.mark.parametrize(
    ("host", "lines", "said"),
    [
        ("a0", ended("a0"), ""),
        (
            "a0",
            ended("a0", verdict="same"),
            "the first wave is not seen to do better (a0: sysctl did not help), so nothing is done to the others",
        ),
        ("a0", ended("a0", verdict="unknown"), "(a0: it is not known whether sysctl helped)"),
        ("a0", ended("a0")[:-1], "(a0: it is not known whether sysctl helped)"),
        ("a0", [*ended("a0", verdict="same"), *ended("a0", step=1)], ""),
        # What did not stall can't do better
        ("a2", ended("a2", verdict="same"), ""),
        ("a2", ended("a2", verdict="unknown"), ""),
        ("a0", ended("a0", event="step_failed", because="x"), "1 host of the first wave failed (a0: x)"),
    ],
)
def test_what_did_not_help_the_first_wave_is_not_done_to_the_others(host, lines, said):
    careful = plan([[host], ["a1"]], better=True)
    assert gates.verdict({**careful, "waves": [[host]]}, state(ended(host, verdict="same")), 1, retry=False) == "", "there are no others"
    found = gates.verdict(careful, state(lines), 1, retry=False)
    assert said in found and bool(said) is bool(found)
    if "first wave is not" in said:
        assert gates.verdict(careful, state(lines), 1, retry=True) == ""
    # Of later waves it is not asked.
    assert gates.verdict(careful, state(lines, ended("a1", 2, verdict="same")), 2, retry=False) == ""


def test_who_did_not_answer_is_away_until_the_campaign_was_at_it():
    racked = plan(THREE["waves"], per_domain={"rack": 1})
    opened, later = line("opened", None, silent=["a2"]), [ended("a0"), passed(1)]
    assert "1 of them are down already" in gates.may_begin(racked, state(opened, *later), 2, DOMAINS)
    assert gates.may_begin(racked, state(opened, *later, line("resumed", None, silent=[])), 2, DOMAINS) == ""
    # What the controller says of it is no answer of its own.
    told = [ended("a0"), line("verified", "a2", verdict="unknown"), line("step_failed", "a2"), passed(1)]
    assert "1 of them are down already" in gates.may_begin(racked, state(opened, *told), 2, DOMAINS)
    # It was down in our own reboot, and came back.
    assert gates.may_begin(racked, state(line("resumed", None, silent=["a0"]), *later), 2, DOMAINS) == ""


def test_hosts_that_any_campaign_left_out_of_service_are_known():
    def at(moment, *lines):
        return state(*({**one, "at": f"2026-11-25T{moment}:00.000Z"} for one in lines))

    begun, cordoned = line("step_begun", "a0"), line("cordon_begun", "a0", ours=True)
    left_behind = at("10:00", begun, cordoned)
    assert gates.out_of_service([left_behind, at("09:00", line("step_begun", "b0"))]) == {"a0"}
    assert gates.out_of_service([at("11:00", begun, cordoned, line("undrained", "a0")), left_behind]) == set()


def test_who_does_worse_after_what_can_be_taken_back_is_not_left_so():
    worse = state([line("step_begun", "a0"), line("step_done", "a0", undo={}), line("verified", "a0", verdict="worse")], ended("a1", 2))
    assert gates.in_flight(THREE, worse, ["a0", "a1"]) == ["a0"]


def test_the_soak_time_counts_from_the_wave_before():
    soaking, now = plan(THREE["waves"], soak_s=600), plan_check.moment("2026-11-25T12:04:00Z")
    assert gates.soak_left_s(soaking, state(), now) == 0
    assert gates.soak_left_s(soaking, state(passed(1)), now) == 360
    assert gates.soak_left_s(soaking, state(passed(1)), now + timedelta(hours=1)) == 0


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([line("step_begun", "a0")], []),
        ([line("step_begun", "a0"), line("cordon_begun", "a0", ours=True)], ["a0"]),
        ([line("step_begun", "a0"), line("cordon_begun", "a0", ours=False)], []),
        ([line("step_begun", "a0"), line("reboot_begun", "a0")], ["a0"]),
        ([ended("a0")], []),
    ],
)
def test_what_must_not_be_left_as_it_is(lines, expected):
    assert gates.in_flight(THREE, state(*lines), ["a0", "a1"]) == expected


def test_another_boot_is_refused_before_anything_was_begun_and_no_more_after():
    booted = plan([["a0"], ["a1"]], boot_id="b-1")
    (said,) = gates.refusals(booted, state(), {"a0": "b-2", "a1": "b-1"})
    assert said.startswith("a0: it has been rebooted since it was diagnosed")
    assert gates.refusals(booted, state(line("step_begun", "a0")), {"a0": "b-2", "a1": None}) == []
