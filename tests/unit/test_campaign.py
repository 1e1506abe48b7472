"""A kernel campaign: who is to be upgraded, where each host stands, and the fleet by kernel."""

from __future__ import annotations

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import campaign, campaign_report, campaign_rows, remedies
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import fold

OLD, NEW = "6.1.0-50-cloud-amd64", "6.1.0-56-cloud-amd64"
PACKAGE, VERSION = "linux-image-cloud-amd64", "6.1.192-2"


def look(running=OLD, left=("install", "reboot"), refused=()):
    return {
        "host": {"running": running, "boot": {"default": running}},
        "target": {"package": PACKAGE, "version": VERSION, "release": NEW, "spec": f"{PACKAGE}={VERSION}"},
        "left": list(left),
        "refused": list(refused),
    }


def found(host, rate, grade="critical"):
    status = "stalling" if rate else "clear"
    return {
        "host": host,
        "status": status,
        "severity": {"stalled_ms_per_s": rate, "grade": grade if rate else "none"},
        "blame": {"side": "receiver" if rate else None},
    }


FINDINGS = {"hosts": [found("worst", 80.0), found("bad", 9.0, "major"), found("fine", 0), {"host": "dead", "status": "not_measured"}]}
NO_SPACE = {"what": "80 MB are free on /boot, fewer than 150", "remedy": "remove kernels"}
LOOKS = {
    "fine": look(),
    "new": look(NEW, left=()),
    "full": look(refused=[NO_SPACE]),
    "bad": look(),
    "worst": look(),
    "dead": {"unreachable": True, "msg": "ssh: no route"},
    "broken": {"failed": True, "msg": "no python"},
}


@pytest.fixture(scope="module")
def choice():
    return campaign.choose(LOOKS, FINDINGS, remedies.load()["kernel_upgrade"])


def test_the_worst_come_first_and_each_gets_the_version_that_was_seen(choice):
    assert [(row["host"], row["stalled_ms_per_s"], row["side"]) for row in choice.hosts] == [
        ("worst", 80.0, "receiver"),
        ("bad", 9.0, "receiver"),
        ("fine", 0, None),
    ]
    step = choice.hosts[0]["steps"][0]
    assert step["parameters"] == {"kernel": f"{PACKAGE}={VERSION}"} and step["drain"] and step["undo"]
    assert OLD in step["because"] and NEW in step["because"]


def test_hosts_that_can_not_be_upgraded_are_left_out_with_the_reason(choice):
    reasons = {row["host"]: row["because"] for row in choice.left_out}
    assert set(reasons) == {"full", "dead", "broken"}
    assert "80 MB are free on /boot" in reasons["full"] and "remove kernels" in reasons["full"]
    assert "no route" in reasons["dead"] and "no python" in reasons["broken"]
    assert choice.down == ["dead"]


def test_the_report_is_told_of_all(choice):
    assert choice.kernels["new"] == {"running": NEW, "default": NEW, "target": NEW, "left": [], "because": None}
    assert set(choice.kernels) == set(LOOKS) and choice.kernels["dead"]["running"] is None


def event(event, host=None, step=0, **data):
    return {
        "at": "2026-11-22T10:00:00.000Z",
        "host": host,
        "wave": 1,
        "step": step,
        "remedy": "kernel_upgrade",
        "event": event,
        "data": data,
    }


JOURNAL = [
    event("opened"),
    event("step_begun", "worst", before={"kernel": OLD}),
    event("step_done", "worst", changed=True, said=[], undo=None, after={"kernel": NEW}),
    event("verified", "worst", verdict="better", sentence="80 to 0", after={"status": "clear", "grade": "none", "stalled_ms_per_s": 0.0}),
    event("step_begun", "bad", before={"kernel": OLD}),
    event("rolled_back", "bad", because="its gate failed"),
    event("step_failed", "bad", because="the health command said no"),
    event("step_begun", "fine", before={"kernel": OLD}),
    event("step_failed", "fine", because="it was lost"),
]
PLAN = {"plan": "20261122T101500Z-4f2a-campaign", "waves": [["worst"], ["bad", "fine"], ["later"]]}


@pytest.fixture(scope="module")
def rows(choice):
    known = {"hosts": {**choice.kernels, "later": {"running": OLD, "because": None}}}
    return {row.host: row for row in campaign_rows.of_hosts(PLAN, fold(JOURNAL), known, FINDINGS)}


@pytest.mark.parametrize(
    ("host", "wave", "state", "now"),
    [
        ("worst", 1, "upgraded", NEW),
        ("bad", 2, "rolled back", OLD),
        ("fine", 2, "failed", "unknown"),
        ("later", 3, "waits", OLD),
        ("new", None, "has it already", NEW),
        ("full", None, "left out", OLD),
        ("dead", None, "left out", "unknown"),
    ],
)
def test_where_a_host_stands(rows, host, wave, state, now):
    row = rows[host]
    assert (row.wave, row.state, row.now["kernel"]) == (wave, state, now)


def test_severity_is_what_was_measured_and_not_measured_is_not_clear(rows):
    assert (rows["worst"].before["grade"], rows["worst"].now["grade"], rows["worst"].verdict) == ("critical", "clear", "better")
    assert rows["bad"].now["grade"] == "major" and not rows["bad"].verdict
    assert rows["later"].now["grade"] == rows["dead"].now["grade"] == "not measured"


def test_the_fleet_by_kernel(rows):
    before = {kernel.release: kernel for kernel in campaign_rows.by_kernel(row.before for row in rows.values())}
    now = campaign_rows.by_kernel(row.now for row in rows.values())
    assert [kernel.release for kernel in now] == [NEW, OLD, "unknown"]
    assert (before[OLD].hosts, before[OLD].worst_ms_per_s, before[OLD].grades["critical"]) == (5, 80.0, 1)
    assert (now[0].hosts, now[0].grades["clear"], now[0].worst_ms_per_s) == (2, 1, None)
    assert now[1].worst_ms_per_s == 9.0


HOSTILE = "<script>|\n`x`\x1b[2J"


@pytest.mark.parametrize("write", [campaign_report.markdown, campaign_report.html])
def test_the_pages_show_all_and_let_nothing_through(rows, write):
    evil = campaign_rows.Row(HOSTILE, 1, "failed", rows["bad"].before, rows["bad"].now, "", HOSTILE)
    page = write("p-campaign", [*rows.values(), evil], "The campaign was stopped: x.")
    assert "<script>" not in page and "\x1b" not in page
    assert all(
        word in page for word in ("worst", "rolled back", "has it already", NEW, "the health command said no", "The campaign was stopped")
    )


def test_the_table(rows):
    shown = "\n".join(campaign_report.lines(list(rows.values()), "The campaign is not over.", top=3))
    assert f"{OLD} > {NEW}" in shown and "80 > 0" in shown and "and 5 more hosts" in shown
    assert shown.splitlines()[-1].startswith("8 hosts: 3 left out, ") and shown.endswith("The campaign is not over.")
