"""What a plan and a campaign look like to a reader, on a terminal, in a ticket, in a browser; nothing from outside acts there."""

import re

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    journal_state,
    plan_table,
    remediation_page,
    remediation_request,
    remediation_table,
)

from .test_journal_state import line
from .test_plan_file import REBOOT, plan, planned

HOSTILE = "\x1b]0;x\x07<script>alert(1)</script>|[x](y)"
CACHES = {**REBOOT, "remedy": "drop_caches", "drain": False, "temporary": True, "undo": False}


def two(**changes):
    hosts = [planned("node-a0", [CACHES, REBOOT]), {**planned("node-a1", [REBOOT]), "escalate": True}]
    return plan(hosts=[{**hosts[0], "escalate": True}, hosts[1]], **changes)


def test_a_plan_as_a_table():
    assert plan_table.lines(two(), 10) == [
        "wave  host     stalled ms/s  remedy                  risk  then          because of",
        "   1  node-a0          12.5  drop_caches             high  drain_reboot  budget-squeeze",
        "   2  node-a1          12.5  drain_reboot (drained)  high                budget-squeeze",
        "left out: node-b0 (no known cause was found)",
        "2 hosts in 2 waves; away at once at the most: fleet 50%, rack 1; more than 0 failed hosts end it, and one in wave 1, "
        "or one there that is not seen to do better",
        "down already: node-b2",
        "only begun within: sat 22:00-05:00 UTC",
        "valid until 2026-11-26T12:01:00Z",
    ]


def test_who_is_worked_on_in_service_for_want_of_a_driver_is_told():
    hostvars = {"node-a0": {}, "node-a1": {"stall_drain_driver": "command"}}
    assert remediation_request.in_service(two(), hostvars, "none") == ["node-a0"]
    assert remediation_request.in_service(two(), {}, "haproxy") == []
    said = plan_table.lines(two(), 10, ["node-a0", "node-a1"])
    assert "not drained, but worked on in service: node-a0, node-a1 (stall_drain_driver is none)" in said
    assert "(drained)" not in "".join(said)


def test_a_long_plan_is_cut_and_an_empty_one_says_so():
    assert "and 1 more hosts in the plan" in plan_table.lines(two(), 1)
    assert plan_table.lines(plan(hosts=[], waves=[]), 10)[0] == "Nothing is to be done."


LINES = [
    line("opened", None, None),
    line("step_begun", "node-a0", remedy="drop_caches"),
    line("step_done", "node-a0", remedy="drop_caches", changed=True, said=["Dying memory cgroups went from 900 to 12."]),
    line("verified", "node-a0", remedy="drop_caches", verdict="better", sentence="It stalled for 100 ms/s and does so for 1 ms/s now."),
    {**line("wave_passed", None, 1)},
    line("step_begun", "node-a1", 2, remedy="drain_reboot"),
    line("cordon_begun", "node-a1", 2, remedy="drain_reboot", ours=True),
    line("reboot_begun", "node-a1", 2, remedy="drain_reboot"),
    line("gate_failed", "node-a1", 2, remedy="drain_reboot", because="degraded"),
    line("step_failed", "node-a1", 2, remedy="drain_reboot", because=HOSTILE),
    line("stopped", None, 2, because="1 host failed", failed=True),
    line("closed", None, None, outcome="stopped"),
]


def test_a_campaign_as_a_table():
    shown = remediation_table.lines(two(), journal_state.fold(LINES))
    assert shown[:3] == [
        "wave  host     remedy        done     helped  left",
        "   1  node-a0  drop_caches   changed  better",
        "   2  node-a1  drain_reboot  failed           cordoned",
    ]
    assert "node-a0: Dying memory cgroups went from 900 to 12." in shown
    assert "node-a0: drop_caches is temporary: what it helps against comes back by itself" in shown
    assert any(text.startswith("node-a1: it is still cordoned, by this campaign") for text in shown)
    assert shown[-1] == "2 hosts: 1 better, 1 failed. The campaign was stopped: 1 host failed."
    assert all(text.isprintable() for text in shown)


@pytest.mark.parametrize(
    ("lines", "done", "helped"),
    [
        ([], "not begun", ""),
        ([line("step_begun", "node-a0")], "begun", ""),
        ([line("step_begun", "node-a0"), line("step_done", "node-a0", changed=False)], "was so already", ""),
        ([*LINES[1:3], line("verified", "node-a0", verdict="worse"), line("rolled_back", "node-a0")], "rolled back", "worse"),
        ([*LINES[1:3], line("verified", "node-a0", verdict="worse"), line("rollback_failed", "node-a0")], "changed", "worse"),
    ],
)
def test_how_a_step_ended(lines, done, helped):
    (row, *_) = remediation_table.rows(two(), journal_state.fold(lines))
    assert (row.done, row.helped) == (done, helped)


def test_each_step_of_a_ladder_has_a_row():
    lines = [*LINES[1:3], line("verified", "node-a0", verdict="same"), line("step_begun", "node-a0", step=1, remedy="drain_reboot")]
    rows = remediation_table.rows(two(), journal_state.fold(lines))
    assert [(row.host, row.remedy, row.done) for row in rows[:2]] == [
        ("node-a0", "drop_caches", "changed"),
        ("node-a0", "drain_reboot", "begun"),
    ]
    assert remediation_table.totals(journal_state.fold(lines), rows).startswith("2 hosts: 1 begun, 1 not begun.")


def test_documents_hold_what_was_done_and_nothing_that_acts():
    state = journal_state.fold(LINES)
    page, text = remediation_page.html(two(), state, LINES), remediation_page.markdown(two(), state, LINES)
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page + text
    assert "| 1 | node-a0 | drop\\_caches | changed | better |  |" in text and "[x](y)" not in text
    for said in ("Dying memory cgroups went from 900 to 12.", "step failed", "wave passed", "gate failed (degraded)"):
        assert said in page and said in text
    assert re.search(r'<td class="critical">failed</td>', page) and '<td class="clear">better</td>' in page
