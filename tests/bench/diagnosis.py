"""A whole diagnosis as `make diagnose` makes it: the lab raised, its fleet watched, two suspects opened up, and the lab taken down."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import measure

CHECKOUT = Path(__file__).resolve().parents[2]
SCENARIO = "two_bad"
WINDOW_S = 30
SUSPECTS = 2
BUDGETS = {"wall_s": 120}


def compare() -> dict[str, Any]:
    """Seconds of the whole; and who was captured, for it counts only with both suspects."""
    with tempfile.TemporaryDirectory() as runs:
        done = _diagnose(Path(runs))
        [found] = [path for path in Path(runs).glob("*Z-*") if path.is_dir()]
        return figures(done.wall_s, json.loads((found / "findings.json").read_text()))


def figures(wall_s: float, findings: Mapping[str, Any]) -> dict[str, Any]:
    captures = [row["capture"] for row in findings["hosts"] if row["capture"]]
    roles = Counter(capture["role"] for capture in captures if capture["status"] == "measured")
    return {
        "scenario": SCENARIO,
        "window_s": findings["run"]["parameters"]["window_s"],
        "captured": dict(roles),
        "wall_s": round(wall_s, 1),
        "budgets": BUDGETS,
        "within_budget": {"wall_s": wall_s <= BUDGETS["wall_s"], "both_suspects_captured": roles["suspect"] == SUSPECTS},
    }


def _diagnose(runs: Path) -> measure.Cost:
    """The recipe of the Makefile; all that is not named here is the default."""
    playbook = [str(Path(sys.prefix) / "bin" / "ansible-playbook"), "-i", "{lab}/inventory.yml", "diagnose.yml"]
    extra = json.dumps({"stall_runs_dir": str(runs), "stall_window_s": WINDOW_S})
    line = [sys.executable, "-m", "tests.with_lab", SCENARIO, *playbook, "-e", extra]
    done = measure.run(line, cwd=CHECKOUT, env=os.environ | {"ANSIBLE_NOCOLOR": "1", "KEEP": "0"})
    assert done.rc == 0, done.output[-5000:]
    return done
