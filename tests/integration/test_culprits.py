"""The suspects opened up: the right process, CPU, class and system call, and nobody who is innocent."""

from __future__ import annotations

import functools
import operator
import re

import pytest

from tests.lab import preflight

from .conftest import CAPTURED
from .culprits import Score, matches, score

FAULTY = sorted(name for name, options in CAPTURED.items() if "capture_hosts" not in options or name == "burst")
# Enough for a share of 95 % to mean something
ENOUGH = 20


def named(row: dict) -> list[dict]:
    return (row["capture"] or {}).get("culprits", [])


def called(want: dict) -> list[str]:
    """How the culprits of a host are to be named: patterns."""
    return [re.escape(culprit["comm"]) for culprit in want.get("culprits", [])]


def scored(done, host: str) -> Score:
    expected = done.expected["hosts"][host]["culprits"]
    return score(done.run.host(host), done.who[host], expected, preflight.stall_cpu(), done.run.capture_span(host))


@pytest.fixture(scope="module")
def scores(diagnoses) -> dict[str, Score]:
    found = {}
    for name in FAULTY:
        done = diagnoses.of(name)
        hosts = [host for host, row in done.expected["hosts"].items() if row.get("culprits")]
        found[name] = functools.reduce(operator.add, (scored(done, host) for host in hosts))
        print(f"{name}: {found[name]}")
    return found


@pytest.mark.lab
def test_of_the_events_95_percent_are_told_right(scores):
    total = functools.reduce(operator.add, scores.values())
    assert total.events >= ENOUGH, total
    assert total.right >= 0.95, total


@pytest.mark.lab
@pytest.mark.parametrize("name", FAULTY)
def test_every_culprit_is_named_and_nobody_else(diagnoses, name):
    done = diagnoses.of(name)
    for host, want in done.expected["hosts"].items():
        row = done.run.host(host)
        got, patterns = [culprit["comm"] for culprit in named(row) if not culprit["usual"]], called(want)
        assert len(got) == len(patterns), f"{host}: {got}\n{done.run.screen}"
        assert all(any(matches(pattern, comm) for comm in got) for pattern in patterns), f"{host}: {got}\n{done.run.screen}"


@pytest.mark.lab
@pytest.mark.parametrize("name", FAULTY)
def test_the_screen_names_the_culprit(diagnoses, name):
    done = diagnoses.of(name)
    for row in done.expected["hosts"].values():
        assert all(re.search(pattern, done.run.screen) for pattern in called(row)), done.run.screen


@pytest.mark.lab
@pytest.mark.parametrize("name", sorted(CAPTURED))
def test_the_control_and_the_innocent_have_no_culprit(diagnoses, name):
    done = diagnoses.of(name)
    for host, want in done.expected["hosts"].items():
        if not want.get("culprits"):
            assert named(done.run.host(host)) == [], done.run.screen
            assert done.run.host(host)["causes"] == [], done.run.screen


@pytest.mark.lab
def test_that_the_throttled_group_serves_is_known_through_the_pod_s_network_namespace(diagnoses):
    """Its connections come through a NodePort, whose NAT hides both of their ends from the prober."""
    done = diagnoses.of("app_throttled")
    (culprit,) = [culprit for host in done.expected["hosts"] for culprit in named(done.run.host(host))]
    assert culprit["because"][0].startswith("its control group "), done.run.screen
    assert not any("is not known" in sentence for sentence in culprit["because"]), done.run.screen


@pytest.mark.lab
def test_a_fleet_without_a_suspect_is_not_captured(diagnoses):
    done = diagnoses.of("clean")
    assert "Nothing is captured" in done.run.screen
    assert not (done.run.dir / "capture").exists()


@pytest.mark.lab
def test_what_the_capture_costs_is_told(diagnoses):
    done = diagnoses.of("two_bad")
    for host in done.run.captured:
        told = done.run.host(host)["capture"]
        assert told["cost"]["cpu_s"] > 0 and told["observer_effect"]["rtt_ratio"], told
