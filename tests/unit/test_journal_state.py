"""What a journal comes to, after any prefix of it: a controller that comes back goes on, does nothing twice and forgets no host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import gates, journal_state
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import NOTHING, ROLL_BACK, STEP, UNDRAIN, VERIFY, Host, Next

from .simcampaign import Controller, Killed, World


def line(event, host="h", wave=1, step=0, remedy="sysctl", **data):
    place = {"wave": wave, "step": step, "remedy": remedy} if host else {"wave": wave, "step": None, "remedy": None}
    return {"at": "2026-11-25T12:00:00.000Z", "by": "c:1", "host": host, **place, "event": event, "data": data}


def of(*lines):
    return journal_state.fold(lines).hosts.get("h") or Host("h")


ROW = {"host": "h", "escalate": False, "steps": [{"remedy": "sysctl", "undo": True}, {"remedy": "reboot", "undo": False}]}
BEGUN = line("step_begun", before={"boot_id": "b"})
CORDONED = (BEGUN, line("cordon_begun", ours=True), line("cordoned"))
REBOOTING = (*CORDONED, line("drained"), line("reboot_begun", boot_id="b"))
DONE = (BEGUN, line("step_done", changed=True, undo={}))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), Next(STEP, 0)),
        ((BEGUN,), Next(STEP, 0, resumed=True)),
        (CORDONED, Next(STEP, 0, resumed=True)),
        (REBOOTING, Next(STEP, 0, resumed=True)),
        ((*CORDONED, line("drain_failed", because="budget"), line("step_failed", because="budget")), Next(UNDRAIN, 0)),
        ((*CORDONED, line("step_failed", because="x"), line("undrained")), Next(NOTHING, because="x")),
        ((BEGUN, line("cordon_begun", ours=False), line("step_failed", because="x")), Next(NOTHING, because="x")),
        ((*REBOOTING, line("step_failed", because="gone")), Next(NOTHING, because="it is cordoned, and its health gate did not pass")),
        (
            (*REBOOTING, line("rebooted", boot_id="c"), line("gate_failed"), line("step_failed", because="sick")),
            Next(NOTHING, because="it is cordoned, and its health gate did not pass"),
        ),
        ((*REBOOTING, line("rebooted", boot_id="c"), line("gate_passed"), line("step_done")), Next(UNDRAIN, 0)),
        ((*REBOOTING, line("rebooted"), line("gate_passed"), line("step_done"), line("undrain_begun")), Next(UNDRAIN, 0)),
        ((*REBOOTING, line("rebooted"), line("gate_passed"), line("step_done"), line("undrained")), Next(VERIFY, 0)),
        (DONE, Next(VERIFY, 0)),
        ((*DONE, line("verified", verdict="better")), Next(NOTHING)),
        ((*DONE, line("verified", verdict="same")), Next(NOTHING)),
        ((*DONE, line("verified", verdict="unknown")), Next(NOTHING)),
        ((*DONE, line("verified", verdict="worse")), Next(ROLL_BACK, 0)),
        ((BEGUN, line("step_done", changed=False, undo=None), line("verified", verdict="worse")), Next(NOTHING)),
        # The host could not be given back: what was done is not done again for that
        (
            (*REBOOTING, line("rebooted"), line("gate_passed"), line("step_done"), line("step_failed", because="no API server")),
            Next(UNDRAIN, 0),
        ),
        (
            (*REBOOTING, line("rebooted"), line("gate_passed"), line("step_done"), line("step_failed", because="x"), line("undrained")),
            Next(VERIFY, 0),
        ),
        ((*DONE, line("verified", verdict="worse"), line("rolled_back")), Next(NOTHING)),
        # Killed while it was drained, or rebooted, for that: it is taken back all the same
        ((*DONE, line("verified", verdict="worse"), line("cordon_begun", ours=True)), Next(ROLL_BACK, 0)),
        ((*DONE, line("verified", verdict="worse"), line("cordon_begun", ours=True), line("reboot_begun")), Next(ROLL_BACK, 0)),
        ((*DONE, line("verified", verdict="worse"), line("cordon_begun", ours=True), line("rolled_back")), Next(UNDRAIN, 0)),
        ((*DONE, line("verified", verdict="worse"), line("rollback_failed")), Next(NOTHING)),
    ],
)
def test_what_is_next(lines, expected):
    assert journal_state.next_of(of(*lines), ROW) == expected


@pytest.mark.parametrize(("verdict", "expected"), [("same", Next(STEP, 1)), ("better", Next(NOTHING)), ("unknown", Next(NOTHING))])
def test_the_ladder_goes_on_where_the_plan_allows_it_and_the_remedy_was_seen_not_to_help(verdict, expected):
    row = {**ROW, "escalate": True}
    assert journal_state.next_of(of(*DONE, line("verified", verdict=verdict)), row) == expected
    end = (
        *DONE,
        line("verified", verdict="same"),
        line("step_begun", step=1),
        line("step_done", step=1),
        line("verified", step=1, verdict="same"),
    )
    assert journal_state.next_of(of(*end), row) == Next(NOTHING)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), Next(NOTHING)),
        ((BEGUN,), Next(NOTHING)),
        (CORDONED, Next(UNDRAIN, 0)),
        (REBOOTING, Next(STEP, 0, resumed=True)),
        ((*REBOOTING, line("rebooted"), line("gate_passed"), line("step_done")), Next(UNDRAIN, 0)),
        (DONE, Next(NOTHING)),
        ((*DONE, line("verified", verdict="same")), Next(NOTHING)),
    ],
)
def test_what_is_finished_where_no_more_may_be_begun(lines, expected):
    host = of(*lines)
    assert journal_state.only_finish(host, journal_state.next_of(host, {**ROW, "escalate": True})) == expected


def test_what_failed_is_tried_again_only_where_that_is_asked_for():
    failed = of(BEGUN, line("step_failed", because="x"))
    assert journal_state.next_of(failed, ROW) == Next(NOTHING, because="x")
    assert journal_state.next_of(failed, ROW, retry=True) == Next(STEP, 0)
    again = of(BEGUN, line("step_failed", because="x"), BEGUN)
    assert journal_state.next_of(again, ROW) == Next(STEP, 0, resumed=True)


def test_a_host_that_could_not_be_measured_after_its_step_is_looked_at_again_only_where_that_is_asked_for():
    before, after = {"status": "stalling"}, {"status": "not_measured"}
    dark = (*DONE, line("verified", verdict="unknown", before=before, after=after))
    assert of(*dark).has_failed and journal_state.next_of(of(*dark), ROW) == Next(NOTHING)
    assert journal_state.next_of(of(*dark), ROW, retry=True) == Next(VERIFY, 0)
    well = of(*dark, line("verified", verdict="better", before=before, after={"status": "clear"}))
    assert not well.has_failed and journal_state.next_of(well, ROW, retry=True) == Next(NOTHING)
    unknown = of(*DONE, line("verified", verdict="unknown", before=after, after=after))
    assert journal_state.next_of(unknown, ROW, retry=True) == Next(NOTHING)


def test_a_host_that_was_cordoned_by_others_is_not_ours_to_give_back():
    assert not of(BEGUN, line("cordon_begun", ours=False), line("cordoned"), line("drained"), line("step_done")).cordoned


def test_a_cordon_of_ours_stays_ours_when_the_driver_finds_it_done_already():
    assert of(*CORDONED, line("cordon_begun", ours=False), line("cordoned")).cordoned


def test_the_campaign():
    state = journal_state.fold([line("opened", host=None), line("wave_begun", host=None), line("wave_failed", host=None, because="x")])
    assert (state.opened, state.waves, state.outcome) == (True, {1: "failed"}, None)
    stopped = [line("stopped", host=None, because="x", failed=True), line("closed", host=None, outcome="stopped")]
    assert journal_state.fold(stopped).stopped["because"] == "x" and journal_state.fold(stopped).outcome == "stopped"
    assert journal_state.fold([*stopped, line("resumed", host=None)]).stopped is None


# -- Killed anywhere, any number of times

LATE = (*REBOOTING, line("gate_failed"), line("step_failed", because="it did not come back"))
RETRIED = (*LATE, line("step_begun", before={"boot_id": "b-late"}))


def test_a_host_that_came_back_late_is_tried_again_and_given_back_only_in_health():
    again = of(*RETRIED)
    assert again.boot_ids == ["b-late"] and again.reboot is None and not again.is_healthy
    refused = (*RETRIED, line("step_failed", because="it is busy"))
    assert journal_state.next_of(of(*refused), ROW) == Next(NOTHING, because="it is cordoned, and its health gate did not pass")
    assert journal_state.next_of(of(*refused), ROW, retry=True) == Next(STEP, 0)
    assert not of(*refused, line("step_begun", before={"boot_id": "b-late"})).is_healthy
    well = (*RETRIED, line("reboot_begun", boot_id="b-late"), line("rebooted", boot_id="b-new"), line("gate_passed"), line("step_done"))
    assert of(*well).is_healthy and journal_state.next_of(of(*well), ROW) == Next(UNDRAIN, 0)
    # Given up before it was ever rebooted, it is the boot that was diagnosed.
    assert of(*LATE, line("step_begun", before={"boot_id": "b"})).boot_ids == []


STEPS = st.lists(
    st.sampled_from(
        [
            {"remedy": "sysctl", "drain": False, "undo": True},
            {"remedy": "caches", "drain": False, "undo": False},
            {"remedy": "restart", "drain": True, "undo": True},
            {"remedy": "reboot", "drain": True, "undo": False},
        ]
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda step: step["remedy"],
)
VERDICTS = st.lists(st.sampled_from(["better", "same", "same", "worse", "unknown"]), max_size=3)


@st.composite
def campaigns(draw):
    hosts = [f"node-{index}" for index in range(draw(st.integers(1, 4)))]
    cuts = sorted(draw(st.sets(st.integers(1, len(hosts)), max_size=2)))
    waves = [wave for wave in (hosts[start:end] for start, end in zip([0, *cuts], [*cuts, len(hosts)], strict=True)) if wave]
    stalled = st.sampled_from([None, 0.0, 9.0])
    rows = [{"host": host, "stalled_ms_per_s": draw(stalled), "escalate": draw(st.booleans()), "steps": draw(STEPS)} for host in hosts]
    limits = {"failures_most": draw(st.integers(0, 2)), "canary_better": draw(st.booleans())}
    plan = {"hosts": rows, "waves": waves, "limits": limits}
    some = st.frozensets(st.sampled_from(hosts), max_size=1)
    return plan, {host: draw(VERDICTS) for host in hosts}, draw(some), draw(some)


def uninterrupted(plan, verdicts, fails, unhealthy):
    world, lines = World(verdicts, fails, unhealthy), []
    return Controller(plan, world, lines).run(), world, lines


@given(campaigns(), st.lists(st.integers(1, 60), max_size=12))
def test_killed_behind_any_line_it_ends_as_if_it_had_not_been(campaign, lives):
    plan, verdicts, fails, unhealthy = campaign
    ended, expected, _ = uninterrupted(plan, verdicts, fails, unhealthy)
    world, lines = World(verdicts, fails, unhealthy), []
    for life in lives:
        try:
            Controller(plan, world, lines, lives=life).run()
        except Killed:
            continue
    assert Controller(plan, world, lines).run() is ended
    assert (world.applied, world.boots) == (expected.applied, expected.boots)
    assert all(count <= 1 for count in world.boots.values())
    # Out of service is only what is known to be sick, and that is said.
    assert world.cordoned == expected.cordoned == {host for host, known in journal_state.fold(lines).hosts.items() if known.cordoned}
    assert world.cordoned <= unhealthy
    for event in ("step_begun", "step_done", "step_failed", "verified", "rolled_back"):
        entries = [(entry["host"], entry["step"]) for entry in lines if entry["event"] == event]
        assert len(entries) == len(set(entries))


@given(campaigns())
def test_every_prefix_folds_and_has_something_next_or_is_at_its_end(campaign):
    plan, verdicts, fails, unhealthy = campaign
    ended, _, lines = uninterrupted(plan, verdicts, fails, unhealthy)
    for size in range(len(lines) + 1):
        state = journal_state.fold(lines[:size])
        for number in range(1, len(plan["waves"]) + 1):
            for host, next_ in gates.nexts(plan, state, gates.members(plan, number), retry=False).items():
                assert next_.what in (STEP, UNDRAIN, VERIFY, ROLL_BACK, NOTHING)
                assert (next_.index is None) == (next_.what == NOTHING)
                if state.hosts.get(host, Host(host)).cordoned and state.hosts[host].is_healthy:
                    assert next_.what != NOTHING
    assert gates.is_done(plan, journal_state.fold(lines)) is ended


@given(campaigns())
def test_a_finished_campaign_does_nothing_the_second_time(campaign):
    plan, verdicts, fails, unhealthy = campaign
    ended, world, lines = uninterrupted(plan, verdicts, fails, unhealthy)
    if not ended:
        return
    assert [hosts for hosts in gates.left(plan, journal_state.fold(lines), retry=False) if hosts] == []
