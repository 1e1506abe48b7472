"""What a person reads: the worst first, every host that was not measured named, and nothing from outside but as text."""

import html.parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.action.report import verdict
from ansible_collections.fleet.stall.plugins.plugin_utils import report, table, wording
from tests.unit import contract

HOSTILE = "<script>alert(1)</script>\x1b[31m|{{ 7*7 }}`[x](javascript:1)\u202e"


def row(name, status="clear", rate=0.0, grade="none", reason=None):
    measured, blamed = status != "not_measured", status in ("stalling", "suspect")
    return {
        "host": name,
        "groups": [],
        "rank": 1,
        "status": status,
        "reason": reason,
        "severity": {
            "stalled_ms_per_s": rate if measured else None,
            "ci95": [rate / 2, rate * 2] if measured else None,
            "events": int(rate) if measured else None,
            "max_ms": 130.2 if rate else 0.0,
            "p999_ms": 0.4,
            "grade": grade if measured else None,
            "censored": 0,
        },
        "coverage": {
            "probes_sent": 1500,
            "flows": 4,
            "flows_silent": 0,
            "sources": 3,
            "rx_queues_total": 4,
            "rx_queues_covered": 3,
            "queues_how": "expected",
            "observed_s": 30.0,
            "upper_bound_ms_per_s": 0.42 if status == "clear" else None,
            "upper_bound_stall_ms": 100.0 if status == "clear" else None,
            "loss_ratio": 0.0125,
            "set_aside": 0,
        },
        "blame": {
            "side": "receiver" if blamed else None,
            "layer": "node" if blamed else None,
            "confidence": "high" if blamed else None,
            "components": [f"host:{name}"] if blamed else [],
            "queues": None,
            "some_flows_only": False,
            "ruled_out": [{"what": "nat", "because": "the node address stalls as well"}] if blamed else [],
        },
        "causes": [],
        "trigger": None,
        "events": [],
        "remedies": [],
        "capture": None,
        "evidence_files": [],
    }


def findings(*hosts, coincident=(), warnings=()):
    return {
        "schema_version": 1,
        "run": {
            "id": "20261123T042300Z-1a2b",
            "started_at": "2026-11-23T04:23:00+00:00",
            "finished_at": "2026-11-23T04:23:40+00:00",
            "parameters": {"window_s": 30.0, "interval_ms": 10.0, "threshold_ms": 10.0},
            "versions": {"ansible_core": "2.19"},
            "hosts_total": len(hosts),
            "hosts_measured": sum(host["status"] != "not_measured" for host in hosts),
            "probes_sent": 1500,
            "budget": {"host_pps_limit": 3000.0, "target_pps_limit": 3000.0, "most_sent_pps": 500.0, "most_received_pps": 250.0},
        },
        "hosts": [{**host, "rank": rank} for rank, host in enumerate(hosts, 1)],
        "coincident": list(coincident),
        "warnings": list(warnings),
    }


FAULT = {"kind": "path", "name": "rack_b", "events": 12, "stalled_ms_per_s": 14.5, "because": "all flows into it stalled at once"}
FLEET = findings(
    row("bad", "stalling", 38.2, "critical"),
    row("odd", "suspect", 0.9, reason="one flow of twelve saw it"),
    *(row(f"good-{number}") for number in range(20)),
    row("dead", "not_measured", reason="Connection refused"),
    row("dead2", "not_measured", reason="Connection refused"),
    row("old", "not_measured", reason="its Python is too old"),
    coincident=[FAULT],
    warnings=["the clocks differ"],
)


def test_the_sample_is_a_finding_by_the_contract():
    contract.holds(FLEET)


def test_the_table_shows_the_worst_first_and_as_many_lines_as_asked():
    lines = table.render(FLEET, 3, 160).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["bad", "odd", "good-0"]
    assert lines[1].split()[:2] == ["bad", "critical"] and "38.2" in lines[1] and "receiver, node" in lines[1] and "high" in lines[1]
    assert "under 0.42" in lines[3]
    assert lines[4] == "and 19 more hosts in the report"


@pytest.mark.parametrize("top", [1, 100])
@pytest.mark.parametrize("width", [40, 100, 200])
def test_the_table_always_names_what_was_not_measured_and_what_limits_it(top, width):
    shown = " ".join(table.render(FLEET, top, width).split())
    assert "not measured: dead, dead2 (Connection refused)" in shown
    assert "not measured: old (its Python is too old)" in shown
    assert "in common: path rack_b: 12 stalls, 14.5 ms/s (all flows into it stalled at once)" in shown
    assert "note: the clocks differ" in shown
    assert shown.endswith("25 hosts: 1 stalling, 1 suspect, 20 clear, 3 not measured. Window 30 s.")


def test_the_table_says_why_and_what_is_ruled_out():
    shown = " ".join(table.render(FLEET, 10, 100).split())
    assert "bad: nat is ruled out: the node address stalls as well" in shown
    assert "odd: one flow of twelve saw it; nat is ruled out" in shown
    assert "good-0:" not in shown


def test_the_figures_fit_the_screen():
    assert all(len(line) <= 100 for line in table.render(FLEET, 30, 100).splitlines())


def test_a_fleet_that_was_not_measured_is_never_shown_as_clear():
    shown = table.render(findings(row("a", "not_measured", reason="x")), 10, 100)
    assert "clear" not in shown and "1 not measured" in shown


@given(st.text(min_size=1), st.text())
def test_names_and_reasons_can_only_be_text(name, reason):
    hostile = findings(
        row(name, "stalling", 5.0, "major", reason=reason), row(name + "x", "not_measured", reason=reason), warnings=[reason]
    )
    for rendered in (table.render(hostile, 10, 100), report.markdown(hostile), report.html(hostile)):
        assert all(character == "\n" or character.isprintable() for character in rendered)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _value in attrs)

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_holds_no_script_and_loads_nothing():
    page = Page()
    page.feed(report.html(findings(row(HOSTILE, "stalling", 5.0, "major", reason=HOSTILE), warnings=[HOSTILE])))
    assert "script" not in page.tags and not page.tags & {"img", "link", "iframe", "object"}
    assert any("<script>alert(1)</script>\\x1b[31m" in text for text in page.text)


def test_markdown_keeps_its_table_whatever_the_names():
    lines = report.markdown(findings(row(HOSTILE, "stalling", 5.0, "major"))).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "\\<script\\>" in rows[2] and "\\[x\\]" in rows[2]


@pytest.mark.parametrize("render", [report.markdown, report.html])
def test_the_reports_name_every_host(render):
    shown = render(FLEET)
    assert all(host["host"] in shown for host in FLEET["hosts"])
    assert "Connection refused" in shown and "38.2" in shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (0, "0"), (0.0, "0"), (0.4217, "0.422"), (38.25, "38.2"), (130.2, "130"), (2, "2"), (True, "")]
)
def test_a_figure_that_was_not_measured_is_not_a_zero(value, shown):
    assert wording.number(value) == shown


@pytest.mark.parametrize(
    ("fail_on", "grade", "fails"),
    [
        ("", "critical", False),
        ("critical", "critical", True),
        ("critical", "major", False),
        ("major", "critical", True),
        ("minor", "minor", True),
        ("minor", "none", False),
    ],
)
def test_a_scheduler_is_told_of_hosts_as_bad_as_it_asked_for(fail_on, grade, fails):
    result = verdict(findings(row("bad", "stalling", 9.0, grade), row("good")), fail_on)
    assert bool(result.get("failed")) is fails
    assert not fails or "as bad or worse: bad." in result["msg"]


def test_a_suspect_does_not_fail_the_play():
    assert verdict(findings(row("odd", "suspect", 9.0)), "minor") == {}


def test_a_fleet_that_was_not_measured_fails_the_play_in_any_case():
    result = verdict(findings(row("a", "not_measured", reason="refused")), "")
    assert result["failed"] and "no host was measured (a: refused)" in result["msg"]


@pytest.mark.parametrize("render", [report.markdown, report.html])
def test_probes_of_others_do_not_make_a_host_look_measured(render):
    unmeasured = row("a", "not_measured", reason="refused") | {"severity": row("a", "clear", 77.7)["severity"]}
    assert "77.7" not in render(findings(unmeasured)) and "1.25%" not in render(findings(unmeasured))
