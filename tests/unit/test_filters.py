"""The filters as a playbook sees them."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.filter import rank, severity, suspects

ROWS = [
    {"host": "a", "status": "clear", "severity": {}},
    {"host": "b", "status": "stalling", "severity": {"stalled_ms_per_s": 3.0, "ci95": [1.0, 5.0]}},
    {"host": "c", "status": "stalling", "severity": {"stalled_ms_per_s": 9.0, "ci95": [1.0, 5.0]}},
]


def test_rank():
    assert [row["host"] for row in rank.FilterModule().filters()["rank"](ROWS)] == ["c", "b", "a"]


def test_suspects():
    named = suspects.FilterModule().filters()["suspects"]
    assert named({"hosts": ROWS}) == ["c", "b"]
    assert named({"hosts": ROWS}, most=1) == ["c"]


def test_severity():
    events = [{"start_ns": 0, "duration_ms": 130}, {"start_ns": 50_000_000, "duration_ms": 100}]
    found = severity.FilterModule().filters()["severity"](events, window_s=30)
    assert (found["events"], found["max_ms"], found["stalled_ms_per_s"], found["grade"]) == (1, 150.0, 5.0, "major")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: rank.rank([{"host": "a", "status": "fine"}]), "status 'fine'"),
        (lambda: rank.rank("nonsense"), "rows of findings.json"),
        (lambda: suspects.suspects({}), "content of findings.json"),
        (lambda: severity.severity([], window_s=0), "nothing was observed"),
        (lambda: severity.severity([{"start": 1}], window_s=30), "start_ns"),
    ],
)
def test_bad_input_says_what_is_wanted(call, said):
    with pytest.raises(AnsibleFilterError, match=said):
        call()
