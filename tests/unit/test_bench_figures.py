"""What the benches make of what they measured: counts, and whether these are within their budgets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import campaign, diagnosis

SUSPECT, CONTROL = {"role": "suspect", "status": "measured"}, {"role": "control", "status": "measured"}


@pytest.mark.parametrize(
    ("wall_s", "captures", "within"),
    [
        (119.9, [SUSPECT, SUSPECT, CONTROL, None], (True, True)),
        (120.1, [SUSPECT, SUSPECT, CONTROL], (False, True)),
        (60.0, [SUSPECT, CONTROL], (True, False)),
        (60.0, [SUSPECT, dict(SUSPECT, status="failed"), CONTROL], (True, False)),
        (30.0, [None, None], (True, False)),
    ],
)
def test_a_diagnosis_counts_with_both_suspects_captured(wall_s, captures, within):
    findings = {"run": {"parameters": {"window_s": 30}}, "hosts": [{"host": str(at), "capture": one} for at, one in enumerate(captures)]}
    found = diagnosis.figures(wall_s, findings)
    assert (found["within_budget"]["wall_s"], found["within_budget"]["both_suspects_captured"]) == within


RACKS = {"a1": "a", "a2": "a", "a3": "a", "b1": "b"}


def journal(*events):
    """Lines of (event, host), a second apart."""
    return [{"event": event, "host": host, "at": f"2026-11-25T12:00:{at:02}.000000Z"} for at, (event, host) in enumerate(events)]


@pytest.mark.parametrize(
    ("events", "most"),
    [
        ([], 0),
        ([("opened", None), ("step_begun", "a1"), ("step_done", "a1"), ("verified", "a1"), ("step_begun", "a2")], 1),
        # done is not seen to be well
        ([("step_begun", "a1"), ("step_done", "a1"), ("step_begun", "a2"), ("step_done", "a2"), ("verified", "a1")], 2),
        ([("step_begun", "a1"), ("step_failed", "a1"), ("step_begun", "a2")], 1),
        # racks do not mix; who begins anew is away once, who ends twice is not less than here
        ([("step_begun", "a1"), ("step_begun", "b1")], 1),
        ([("step_begun", "a1"), ("step_begun", "a1")], 1),
        ([("step_begun", "a1"), ("step_failed", "a1"), ("verified", "a1"), ("step_begun", "a2"), ("step_begun", "a3")], 2),
        ([("step_begun", "a1"), ("step_begun", "a2"), ("step_begun", "a3")], 3),
    ],
)
def test_who_is_away(events, most):
    assert campaign.most_away(journal(*events), RACKS) == most
    assert campaign.most_away(journal(*events)[::-1], RACKS) == most


def test_hosts_touched():
    assert campaign.hosts_touched(journal(("opened", None), ("step_begun", "a1"), ("step_failed", "a1"), ("step_begun", "b1"))) == 2


@pytest.mark.parametrize(
    ("most", "done", "touched", "within"),
    [
        (2, 500, 1, (True, True, True)),
        (3, 500, 1, (False, True, True)),
        (0, 500, 1, (False, True, True)),
        (2, 499, 1, (True, False, True)),
        (2, 500, 2, (True, True, False)),
        (2, 500, 0, (True, True, False)),
    ],
)
def test_a_campaign_is_within_its_limits(most, done, touched, within):
    counts = {"most_away_in_a_rack": most, "hosts_done": done, "hosts_touched": touched}
    assert tuple(campaign.within_budget(counts, 500).values()) == within


def test_the_benches_find_the_collection_by_themselves():
    """As `make bench` starts them: none of the search path that tests have."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    line = [sys.executable, "-c", "import tests.bench.__main__"]
    done = subprocess.run(line, cwd=Path(__file__).resolve().parents[2], env=plain, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bench_that_fails_costs_its_own_figures_alone():
    found = bench.measured({"one": lambda: {"a": 1}, "two": lambda: {"b": 1 / 0}, "three": lambda: {"c": 3}})
    assert found == {"a": 1, "c": 3, "failed": {"two": "ZeroDivisionError: division by zero"}}
