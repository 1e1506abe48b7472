"""What was found against what the injectors did: nothing long missed, nothing counted twice, lengths right."""

from __future__ import annotations

import functools
import operator

import pytest

from .truth import Comparison, Interval, compare

FAULTS = [
    ("rx_stall", "node-a1-2"),
    ("rx_stall_mild", "node-b2-1"),
    ("two_bad", "node-a1-2"),
    ("two_bad", "node-b2-1"),
    ("rt_hog", "node-a2-1"),
]
MS = 1_000_000


def stalls(row: dict) -> list[Interval]:
    return [
        (event["start_ns"], event["start_ns"] + int(event["duration_ms"] * MS)) for event in row["events"] if event["window"] == "observe"
    ]


def window(run, host: str) -> Interval:
    """The time in which every source of the host was probing it; this lab has one clock."""
    sources = {flow["source"] for flow in run.manifest["flows"] if flow["target"] == host}
    clocks = [run.evidence(source)["clock"] for source in sources]
    return max(clock["started_ns"] for clock in clocks), min(clock["ended_ns"] for clock in clocks)


@pytest.fixture(scope="module")
def compared(diagnoses) -> dict[tuple[str, str], Comparison]:
    found = {}
    for name, host in FAULTS:
        done = diagnoses.of(name)
        interval_ms = done.run.findings["run"]["parameters"]["interval_ms"]
        found[name, host] = compare(done.truth[host], stalls(done.run.host(host)), window(done.run, host), interval_ms)
    return found


@pytest.fixture(scope="module")
def total(compared) -> Comparison:
    return functools.reduce(operator.add, compared.values())


@pytest.mark.lab
def test_the_injectors_stalled_enough_to_tell(compared, total):
    assert total.true >= 50, compared


@pytest.mark.lab
def test_stalls_of_30_ms_are_found(compared, total):
    assert total.found / total.true >= 0.99, compared


@pytest.mark.lab
def test_lengths_are_right_to_one_probe_interval(compared, total):
    assert total.right_length / total.found >= 0.95, compared


@pytest.mark.lab
def test_no_stall_is_counted_twice(compared, total):
    assert total.doubled == 0, compared


@pytest.mark.lab
def test_no_stall_is_invented(compared):
    """A virtual machine that is itself held up shows stalls that no injector made, so some are allowed: few and short ones are."""
    invented = [stall for comparison in compared.values() for stall in comparison.invented if stall[1] - stall[0] > 20 * MS]
    assert len(invented) <= 1, invented
