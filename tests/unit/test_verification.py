"""Two runs side by side: what the lab would show, on paper. A verdict only from equal probes."""

from __future__ import annotations

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import findings, verification, verify_page, verify_plan
from ansible_collections.fleet.stall.plugins.plugin_utils.verification import Window

from . import simfleet

BAD = "node-a1-2"
STALLS = simfleet.stalls("verify", 20, (0.1, 0.13), (0.7, 1.5))
FAULT = simfleet.fault(f"host:{BAD}", STALLS)
CARD = {"rx_queues": 1}


def window(faults=(), silent=(), **more):
    """A run of the whole fleet; nobody answers the sources that are `silent`."""
    fleet = simfleet.Fleet(
        changes=simfleet.SPARSE,
        faults=faults,
        cards=dict.fromkeys(simfleet.lab_hosts(), CARD),
        silent=lambda flow: flow["source"] in silent,
        **more,
    )
    manifest = fleet.manifest()
    return Window(manifest, fleet.evidence(manifest))


def judged(first, faults=(), silent=(), hosts=(BAD,), gone=(), evidence=lambda found: found, **more):
    """Of a run that verifies `first`."""
    told = findings.build(first.manifest, first.evidence, simfleet.GRADES)
    inventory = {name: {**host, "in_limit": True} for name, host in first.manifest["hosts"].items() if name not in gone}
    choice = verify_plan.choose(told, first.manifest, inventory, hosts, True)
    manifest = verify_plan.manifest_of(choice, first.manifest, told, first.manifest["run"]["parameters"])
    run = first.manifest["run"]
    manifest["run"] |= {"id": "run-2", **{key: run[key] for key in ("started_at", "starts_at", "ends_at", "versions")}}
    again = simfleet.Fleet(
        faults=faults, cards=dict.fromkeys(manifest["hosts"], CARD), silent=lambda flow: flow["source"] in silent, **more
    )
    return verification.build(first, Window(manifest, evidence(again.evidence(manifest))), simfleet.GRADES["grades"])


def only(found):
    (row,) = found["hosts"]
    return row


@pytest.fixture(scope="module")
def bad():
    return window([FAULT])


@pytest.fixture(scope="module")
def clean():
    return window()


def test_the_fault_that_is_still_there_is_the_same(bad):
    row = only(judged(bad, [FAULT]))
    assert (row["verdict"], row["before"]["events"], row["after"]["events"]) == ("same", len(STALLS), len(STALLS))


def test_the_fault_that_is_gone_is_better_and_swapped_worse(bad, clean):
    assert only(judged(bad))["verdict"] == "better"
    assert only(judged(clean, [FAULT]))["verdict"] == "worse"


def test_figures_before_are_those_that_were_found(bad):
    told = findings.build(bad.manifest, bad.evidence, simfleet.GRADES)
    severity = next(row for row in told["hosts"] if row["host"] == BAD)["severity"]
    before = only(judged(bad))["before"]
    assert (before["side"], before["run"]) == ("receiver", "run-1")
    assert before["events"] == severity["events"] and before["stalled_ms_per_s"] == pytest.approx(severity["stalled_ms_per_s"], rel=0.1)


def sources(first, layer):
    return {flow["source"] for flow in first.manifest["flows"] if flow["target"] == BAD and flow["layer"] == layer}


@pytest.mark.parametrize("way", ["gone", "silent", "failed"])
def test_a_way_that_is_not_probed_again_is_unknown_with_the_reason(bad, way):
    (outside,) = sources(bad, "outside")
    failed = {"status": "not_measured", "stage": "connect", "reason": "no route to host", "remedy": "mend it"}
    found = {
        "gone": lambda: judged(bad, gone=[outside]),
        "silent": lambda: judged(bad, silent=[outside]),
        "failed": lambda: judged(bad, evidence=lambda evidence: {**evidence, outside: failed}),
    }[way]()
    row = only(found)
    words = {"gone": "it is no host of stall_hosts any more", "silent": "no icmp was answered", "failed": "no route to host"}[way]
    assert row["verdict"] == "unknown"
    assert f"outside from {outside} ({words}" in row["sentence"], row["sentence"]


def test_a_source_of_several_that_reach_the_same_queue_is_not_missed(bad):
    inner = sorted(sources(bad, "node"))
    assert len(inner) > 1
    row = only(judged(bad, gone=inner[:1]))
    assert (row["verdict"], row["before"]["sources"], row["after"]["sources"]) == ("better", 2, 2)


def test_a_host_that_answers_nobody_is_unknown(bad):
    row = only(judged(bad, silent=simfleet.lab_hosts()))
    assert row["verdict"] == "unknown" and row["after"]["events"] is None


def test_a_host_without_a_result_of_its_own_is_unknown(bad):
    failed = {"status": "not_measured", "stage": "connect", "reason": "no route to host", "remedy": "mend it"}
    row = only(judged(bad, evidence=lambda evidence: {**evidence, BAD: failed}))
    assert row["verdict"] == "unknown" and "not measured now (no route to host" in row["sentence"]


def test_a_source_that_stalls_is_probed_from_and_judged(clean):
    fault = simfleet.fault(f"source:{BAD}", STALLS)
    first = window([fault])
    assert only(judged(first, [fault], hosts=()))["verdict"] == "same"
    assert only(judged(first, hosts=()))["verdict"] == "better"


def test_without_the_number_of_queues_each_flow_is_asked_for(bad):
    first = Window(bad.manifest, {name: {**result, "counters": {}} for name, result in bad.evidence.items()})
    inner = sorted(sources(first, "node"))
    row = only(judged(first, gone=inner[:1], evidence=lambda found: {name: {**result, "counters": {}} for name, result in found.items()}))
    assert row["verdict"] == "unknown" and f"node from {inner[0]}" in row["sentence"]


def queues(number, table):
    rss = {"available": True, "function": "toeplitz", "key": "6d5a" * 20, "indirection": table, "fields": {"tcp4": ["src_port"]}}
    return {"rx_queues": number, "rss": rss}


def test_receive_queues_that_are_not_reached_any_more_are_named(bad):
    def card(table):
        return {name: {**CARD, **(queues(4, table) if name == BAD else {})} for name in simfleet.lab_hosts()}

    changes = {**simfleet.SPARSE, "source_ports": 4}
    fleet = simfleet.Fleet(changes=changes, faults=[FAULT], cards=card([0, 1, 2, 3] * 32))
    manifest = fleet.manifest()
    first = Window(manifest, fleet.evidence(manifest))
    told = findings.build(first.manifest, first.evidence, simfleet.GRADES)
    inventory = {name: {**host, "in_limit": True} for name, host in manifest["hosts"].items()}
    made = verify_plan.manifest_of(
        verify_plan.choose(told, manifest, inventory, [BAD], True), manifest, told, manifest["run"]["parameters"]
    )
    made["run"] |= {"id": "run-2", **{key: manifest["run"][key] for key in ("started_at", "starts_at", "ends_at", "versions")}}
    for table, verdict in (([0, 1, 2, 3] * 32, "better"), ([0] * 125 + [1, 2, 3], "unknown")):
        evidence = simfleet.Fleet(cards=card(table)).evidence(made)
        row = only(verification.build(first, Window(made, evidence), simfleet.GRADES["grades"]))
        assert row["verdict"] == verdict, row["sentence"]
    assert "receive queue" in row["sentence"]


def test_who_could_not_be_probed_is_a_row_as_well(bad):
    rows = {row["host"]: row for row in judged(bad, hosts=[BAD, "nobody"])["hosts"]}
    assert (rows[BAD]["verdict"], rows["nobody"]["verdict"]) == ("better", "unknown")
    assert rows["nobody"]["sentence"] == "Not probed: it was not part of that run."


def run(number, manifest, events, status="stalling"):
    severity = {"stalled_ms_per_s": events * 10.0, "ci95": [0.0, 30.0], "events": events}
    told = {"hosts": [{"host": BAD, "status": status, "severity": severity}]}
    return {**manifest, "run": {**manifest["run"], "id": f"run-{number}", "started_at": f"2027-01-15T08:0{number}:00Z"}}, told


def test_the_trend_is_of_runs_with_the_same_probes_oldest_first(bad):
    manifest = bad.manifest
    other = {**manifest, "flows": [{**flow, "interval_ms": 77} for flow in manifest["flows"]]}
    fewer = {**manifest, "flows": [flow for flow in manifest["flows"] if flow["target"] == BAD]}
    runs = [run(3, fewer, 0, "clear"), run(1, manifest, 9), run(2, other, 5)]
    trend = verification.trend(BAD, runs, manifest)
    assert [(entry["run"], entry["events"]) for entry in trend] == [("run-1", 9), ("run-3", 0)]
    assert verification.trend("nobody", runs, manifest) == []


@pytest.fixture
def told(bad):
    found = judged(bad, hosts=[BAD, "<b>\x1b[31m|"])
    for row in found["hosts"]:
        row["trend"] = verification.trend(row["host"], [run(1, bad.manifest, 9), run(2, bad.manifest, 0, "clear")], bad.manifest)
    return {**found, "gone": {"out\x1b": "outside --limit"}}


def test_people_are_shown_before_now_and_verdict(told):
    lines = verify_page.table(told, 100).splitlines()
    assert lines[0].split() == ["host", "verdict", "before", "ms/s", "events", "now", "ms/s", "events", "trend", "ms/s"]
    assert lines[1].split()[:2] == [BAD, "better"] and lines[1].endswith("90 > <30")
    assert "2 hosts verified against run run-1: 1 better, 1 unknown." in lines[-1]
    assert any("outside --limit" in line for line in lines)


def test_nothing_from_outside_is_markup(told):
    for text in (verify_page.table(told, 100), verify_page.html(told), "\n".join(verify_page.markdown(told))):
        assert "\x1b" not in text
    assert "<b>" not in verify_page.html(told) and "\\<b" in "\n".join(verify_page.markdown(told))
