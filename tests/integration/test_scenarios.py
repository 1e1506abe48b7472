"""Every scenario of the lab: the right host, status, side and layer, and nobody else."""

from __future__ import annotations

import pytest

from tests.lab import scenario

from .conftest import SOAK

# A stall a minute is for a long look, and so for `make soak`; machines of their own are `make test-vm`'s
NAMES = [name for name in scenario.names() if (SOAK or name != "burst") and not scenario.load(name).virtual]


def named(coincident: list[dict]) -> set[str]:
    return {f"{entry['kind']}:{entry['name']}" for entry in coincident}


@pytest.mark.lab
@pytest.mark.parametrize("name", NAMES)
def test_verdict(diagnoses, name):
    done = diagnoses.of(name)
    assert done.run.rc == 0, done.run.screen
    rows = {row["host"]: row for row in done.run.findings["hosts"]}
    expected = done.expected
    assert set(rows) == set(expected["hosts"])
    wrong = {}
    for host, want in expected["hosts"].items():
        got = {
            "status": rows[host]["status"],
            "rank": rows[host]["rank"],
            "side": rows[host]["blame"]["side"],
            "layer": rows[host]["blame"]["layer"],
        }
        if got["status"] not in want["status"] or any(got[key] != want[key] for key in ("rank", "side", "layer") if key in want):
            wrong[host] = {"want": want, "got": got, "row": rows[host]}
    assert not wrong, f"{wrong}\n{done.run.screen}"
    shared = {entry["component"] for entry in expected["coincident"]}
    shared |= {f"source:{host}" for host, want in expected["hosts"].items() if want.get("side") == "sender"}
    assert named(done.run.findings["coincident"]) == shared


@pytest.mark.lab
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("clean", "unreachable")])
def test_table_names_the_worst_first(diagnoses, name):
    done = diagnoses.of(name)
    table = done.run.screen[done.run.screen.index("stalled ms/s") :]
    order = [row["host"] for row in done.run.findings["hosts"] if row["status"] in ("stalling", "suspect")]
    places = [table.find(f"\n{host} ") for host in order]
    assert all(place >= 0 for place in places), done.run.screen
    assert places == sorted(places), done.run.screen


@pytest.mark.lab
@pytest.mark.parametrize(
    ("name", "host", "ruled_out"),
    [
        ("rx_stall", "node-a1-2", {"sender", "path"}),
        ("nat_only", "node-a2-1", {"sender", "path"}),
        ("app_throttled", "node-b1-1", {"sender", "path"}),
    ],
)
def test_says_what_was_ruled_out_and_why(diagnoses, name, host, ruled_out):
    entries = diagnoses.of(name).run.host(host)["blame"]["ruled_out"]
    assert ruled_out <= {entry["what"] for entry in entries}
    assert all(entry["because"].strip() for entry in entries)


@pytest.mark.lab
def test_clean_has_no_event_that_lateness_does_not_explain(diagnoses):
    done = diagnoses.of("clean")
    assert all(row["status"] == "clear" for row in done.run.findings["hosts"]), done.run.screen
    for row in done.run.findings["hosts"]:
        assert row["coverage"]["upper_bound_ms_per_s"] > 0
        long = [event for flow in done.run.evidence(row["host"])["flows"] for event in flow["events"] if event["duration_ms"] > 20]
        assert not long, f"{row['host']}: {long}"


@pytest.mark.lab
def test_unreachable_hosts_are_named_with_the_reason(diagnoses):
    done = diagnoses.of("unreachable")
    for host in ("node-a2-2", "node-b2-2"):
        row = done.run.host(host)
        assert row["status"] == "not_measured"
        assert row["reason"]
        assert host in done.run.screen
