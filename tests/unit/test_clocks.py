"""One time base from probes: corrected where it can be known, said where it can't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import clocks
from tests.unit.simfleet import Fleet, lab_hosts

NAMES = sorted(lab_hosts())


def offsets(fleet: Fleet, change=lambda evidence: None) -> tuple[dict[str, int], list[str]]:
    manifest = fleet.manifest()
    evidence = fleet.evidence(manifest)
    change(evidence)
    return clocks.offsets(manifest, evidence)


@given(st.lists(st.floats(-10, 10), min_size=len(NAMES), max_size=len(NAMES)))
def test_differences_of_clocks_are_recovered_to_a_round_trip(seconds):
    true = dict(zip(NAMES, seconds, strict=True))
    found, _ = offsets(Fleet(offsets_s=true))
    for name in NAMES:
        assert (found[name] - found[NAMES[0]]) / 1e9 == pytest.approx(true[name] - true[NAMES[0]], abs=0.002)


def test_one_wrong_clock_moves_itself_and_not_the_fleet():
    found, warnings = offsets(Fleet(offsets_s={"node-a1-1": 60.0}))
    assert found["node-a1-1"] == pytest.approx(60e9, abs=1e6)
    assert all(abs(found[name]) < 1e6 for name in NAMES if name != "node-a1-1")
    assert warnings == ["The clock is ahead of the fleet's on node-a1-1 (60 s); their times were corrected."]


def test_host_without_samples_keeps_its_clock_and_is_named():
    def drop(evidence):
        for host, result in evidence.items():
            result["clock_samples"] = {} if host == "node-a1-1" else {k: v for k, v in result["clock_samples"].items() if k not in own}

    fleet = Fleet(offsets_s={"node-a1-1": 1.0})
    own = {str(flow["id"]) for flow in fleet.manifest()["flows"] if flow["source"] == "node-a1-1"}
    found, warnings = offsets(fleet, drop)
    assert found["node-a1-1"] == 0
    assert any("No probe ties the clock of node-a1-1" in warning for warning in warnings)


def test_one_direction_is_enough_with_the_round_trip():
    def drop(evidence):
        evidence["outside-1"]["clock_samples"] = {}

    found, warnings = offsets(Fleet(offsets_s={"outside-1": 2.0}), drop)
    assert found["outside-1"] == pytest.approx(2e9, abs=1e6)
    assert not any("No probe ties" in warning for warning in warnings)


def test_clock_that_was_set_during_the_window_is_named():
    def step(evidence):
        evidence["node-b1-1"]["clock"]["stepped"] = True

    assert any("was set during the window on node-b1-1" in warning for warning in offsets(Fleet(), step)[1])
