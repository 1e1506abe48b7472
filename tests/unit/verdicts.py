"""Findings of a fleet on paper, and what tests ask of them."""

from __future__ import annotations

from ansible_collections.fleet.stall.plugins.plugin_utils import findings
from tests.unit import contract
from tests.unit.simfleet import GRADES, PARAMETERS, SPARSE, Fleet

WINDOW = {"dense": PARAMETERS["window_s"], "sparse": SPARSE["window_s"]}
BAD, MILD, HELD = ((0.1, 0.13), (0.7, 1.5)), ((0.03, 0.05), (1.5, 2.5)), ((0.06, 0.12), (0.8, 1.6))


def run(fleet: Fleet, missing: dict | None = None) -> dict:
    manifest = fleet.manifest()
    evidence = {**fleet.evidence(manifest), **(missing or {})}
    found = findings.build(manifest, evidence, GRADES)
    contract.holds(found)
    assert len(found["hosts"]) == len(fleet.hosts)
    return found


def rows(found: dict) -> dict[str, dict]:
    return {row["host"]: row for row in found["hosts"]}


def verdict(row: dict) -> tuple:
    return row["status"], row["blame"]["side"], row["blame"]["layer"]


def others_clear(found: dict, *bad: str) -> bool:
    return {row["host"]: row["status"] for row in found["hosts"] if row["host"] not in bad and row["status"] != "clear"} == {}


def because(row: dict) -> dict[str, str]:
    return {item["what"]: item["because"] for item in row["blame"]["ruled_out"]}
