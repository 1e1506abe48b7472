"""What only loses packets does not stall: ICMP that a firewall limits, and hosts that go away while they are looked at."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import findings
from tests.unit import contract
from tests.unit.simfleet import EPOCH_S, GRADES, PARAMETERS, SPARSE, Fleet, fault, lab_hosts, not_measured, stalls
from tests.unit.verdicts import BAD, others_clear, rows, verdict

WINDOW_S = 30
BAD_HOST = "node-a1-2"
Spans = list[tuple[float, float]]


def lose(fleet: Fleet, hits: Callable[[dict], bool], spans: Spans) -> tuple[dict, dict]:
    """Manifest and evidence, with each probe of these flows lost that is sent in a span (start, length in seconds)."""
    manifest = fleet.manifest()
    evidence = copy.deepcopy(fleet.evidence(manifest))
    planned = {flow["id"]: flow for flow in manifest["flows"]}
    for result in evidence.values():
        for row in result["flows"]:
            if hits(planned[row["id"]]):
                _lose(row, planned[row["id"]]["interval_ms"] / 1000, spans)
    return manifest, evidence


def _lose(row: dict, interval: float, spans: Spans) -> None:
    phase = random.Random(row["id"]).uniform(0, interval)
    for start, length in spans:
        first = phase + interval * -(-(start - phase) // interval)
        lost = int((start + length - first) // interval) + 1
        row["lost"] += lost
        row["received"] -= lost
        if lost > 1:
            row["events"].append(silence(first, lost * interval, lost))
    row["events_total"] = len(row["events"])
    row["events"] = sorted(row["events"], key=lambda event: -event["duration_ms"])[: PARAMETERS["event_limit"]]
    row["events_omitted"] = row["events_total"] - len(row["events"])
    row["events"].sort(key=lambda event: event["start_ns"])


def silence(start: float, length: float, lost: int) -> dict:
    return {
        "start_ns": EPOCH_S * 10**9 + round(start * 1e9),
        "duration_ms": round(length * 1000, 3),
        "packets": lost,
        "lost": lost,
        "max_ms": round(length * 1000, 3),
        "censored": True,
        "tx_delay_ms": None,
    }


def judged(manifest: dict, evidence: dict) -> dict:
    found = findings.build(manifest, evidence, GRADES)
    contract.holds(found)
    return found


# --- ICMP alone ----------------------------------------------------------------------------------------------------------------

POLICER = [(second + 0.33, 0.66) for second in range(WINDOW_S)]
BUCKET = [(tenth / 10 + 0.005, 0.07) for tenth in range(10 * WINDOW_S)]


def echoes_of(host: str) -> Callable[[dict], bool]:
    return lambda flow: flow["protocol"] == "icmp" and host in (flow["source"], flow["target"]) and flow["layer"] in ("node", "outside")


@pytest.mark.parametrize("spans", [POLICER, BUCKET], ids=["policer", "token bucket"])
@pytest.mark.parametrize("changes", [{}, {**SPARSE, "window_s": WINDOW_S}], ids=["dense", "sparse"])
@pytest.mark.parametrize("cards", [{}, {BAD_HOST: {"rx_queues": 1}}], ids=["queues unknown", "one queue"])
def test_icmp_that_a_firewall_limits_is_loss_and_no_stall(spans, changes, cards):
    found = judged(*lose(Fleet(changes=changes, cards=cards), echoes_of(BAD_HOST), spans))
    row = rows(found)[BAD_HOST]
    assert row["status"] == "suspect" and row["severity"]["events"] == 0 and row["severity"]["grade"] == "none"
    assert (
        row["reason"].startswith("ICMP is dropped or limited on the way: ")
        and "TCP of the same pairs was answered, no stall" in row["reason"]
    )
    assert row["blame"]["directions"] == [] and row["blame"]["side"] is None
    assert others_clear(found, BAD_HOST)


@pytest.mark.parametrize(("late", "confidence"), [([], "medium"), ([(2.0, 0.1)], "high")])
def test_a_stall_that_loses_all_that_it_holds_is_one_still_but_less_sure(late, confidence):
    """TCP shows it as well, as where a ring overflows. Bursts of loss on the way look the same, unless something comes back late."""
    true = [(start, length) for start, length in stalls("rx", WINDOW_S, (0.2, 0.3), (0.7, 1.5)) if start > 3]
    found = judged(*lose(Fleet(faults=[fault(f"host:{BAD_HOST}", late)]), passes(BAD_HOST), true))
    row = found["hosts"][0]
    assert (row["host"], verdict(row), row["blame"]["confidence"]) == (BAD_HOST, ("stalling", "receiver", "node"), confidence)


def test_icmp_that_is_late_is_a_stall_though_tcp_is_not():
    """A receive queue that no probed port hashes to."""
    found = Fleet(faults=[fault(f"host:{BAD_HOST}", stalls("rx", WINDOW_S, *BAD), echoes_of(BAD_HOST))])
    manifest = found.manifest()
    assert rows(judged(manifest, found.evidence(manifest)))[BAD_HOST]["status"] == "stalling"


def test_a_host_that_limits_icmp_and_stalls_is_stalling():
    true = [(second + 0.05, 0.12) for second in range(2, WINDOW_S, 3)]
    fleet = Fleet(faults=[fault(f"host:{BAD_HOST}", true, lambda flow: flow["protocol"] != "icmp")])
    row = judged(*lose(fleet, echoes_of(BAD_HOST), POLICER))["hosts"][0]
    assert (row["host"], row["status"], row["severity"]["events"]) == (BAD_HOST, "stalling", len(true))


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0, 29), st.floats(0.02, 0.9)), max_size=8))
def test_loss_of_icmp_alone_makes_no_host_stall(spans):
    separate: Spans = []
    for start, length in sorted(spans):
        if not separate or start > sum(separate[-1]) + 0.05:
            separate.append((start, length))
    found = judged(*lose(Fleet(changes={"services": []}), echoes_of(BAD_HOST), separate))
    assert {row["status"] for row in found["hosts"]} <= {"clear", "suspect"} and others_clear(found, BAD_HOST)
    assert all(row["severity"]["events"] == 0 for row in found["hosts"])


# --- What goes away ------------------------------------------------------------------------------------------------------------

AWAY = [(15.0, WINDOW_S - 15.0)]
SAID = "it stopped answering at 08:00:1"


def passes(host: str) -> Callable[[dict], bool]:
    return lambda flow: f"host:{host}" in flow["components"]


@pytest.mark.parametrize("how", ["powered off", "cut off"])
@pytest.mark.parametrize(
    "hosts", [lab_hosts(), {name: lab_hosts()[name] for name in ("node-a1-1", BAD_HOST, "node-b1-1")}], ids=["nine", "three"]
)
def test_a_host_that_goes_away_is_an_outage_and_no_stall(hosts, how):
    """Powered off it leaves no result; with its link down it says that all the others went away."""
    services = {} if len(hosts) == 9 else {"services": []}
    manifest, evidence = lose(Fleet(hosts=hosts, changes=services), passes(BAD_HOST), AWAY)
    if how == "powered off":
        evidence[BAD_HOST] = not_measured("connect", "SSH: no route to host", "check the host")
    found = judged(manifest, evidence)
    row = rows(found)[BAD_HOST]
    assert row["status"] == "not_measured" and SAID in row["reason"] and "did not answer again" in row["reason"]
    assert ("SSH: no route to host" in row["reason"]) == (how == "powered off")
    assert row["severity"]["stalled_ms_per_s"] is None and row["severity"]["events"] is None and row["events"] == []
    assert row["coverage"]["observed_s"] == pytest.approx(15, abs=0.2)
    assert others_clear(found, BAD_HOST) and found["coincident"] == []


def test_of_two_hosts_that_lose_each_other_neither_stalls():
    hosts = {name: lab_hosts()[name] for name in ("node-a1-1", BAD_HOST)}
    found = judged(*lose(Fleet(hosts=hosts, changes={"services": []}), lambda flow: True, AWAY))
    assert {row["status"] for row in found["hosts"]} == {"not_measured"} and all(SAID in row["reason"] for row in found["hosts"])


def test_a_host_that_stalls_and_then_goes_away_is_both():
    true = [(start, length) for start, length in stalls("rx", WINDOW_S, *BAD) if start < 14]
    found = judged(*lose(Fleet(faults=[fault(f"host:{BAD_HOST}", true)]), passes(BAD_HOST), AWAY))
    row = found["hosts"][0]
    assert (row["host"], verdict(row), row["severity"]["events"]) == (BAD_HOST, ("stalling", "receiver", "node"), len(true))
    assert SAID in row["reason"] and row["severity"]["max_ms"] < 200
    assert row["severity"]["stalled_ms_per_s"] == pytest.approx(1000 * sum(length for _, length in true) / 15, rel=0.15)
    assert others_clear(found, BAD_HOST)


def test_a_host_that_answers_again_stalls():
    found = judged(*lose(Fleet(), passes(BAD_HOST), [(5.0, 3.0), (12.0, 4.0), (20.0, 5.0)]))
    assert (found["hosts"][0]["host"], verdict(found["hosts"][0])) == (BAD_HOST, ("stalling", "receiver", "node"))


def test_an_overlay_address_that_goes_away_is_said_and_no_stall():
    found = judged(*lose(Fleet(), lambda flow: flow["layer"] == "overlay" and flow["target"] == BAD_HOST, AWAY))
    row = rows(found)[BAD_HOST]
    assert (
        row["status"] == "clear" and row["reason"].startswith("its overlay address went away at 08:00:1") and row["severity"]["events"] == 0
    )
    assert others_clear(found)


def test_a_rack_that_is_cut_off_has_hosts_that_answer_within():
    found = judged(*lose(Fleet(), lambda flow: "path:rack_a1" in flow["components"], AWAY))
    assert not any("stopped answering" in (row["reason"] or "") for row in found["hosts"])
    assert [entry["kind"] for entry in found["coincident"]] == ["path"] and others_clear(found)


def test_silence_of_less_than_a_second_at_the_end_may_be_a_stall():
    row = rows(judged(*lose(Fleet(), passes(BAD_HOST), [(5.0, 0.3), (12.0, 0.4), (WINDOW_S - 0.5, 0.5)])))[BAD_HOST]
    assert verdict(row) == ("stalling", "receiver", "node") and row["severity"]["events"] == 3
