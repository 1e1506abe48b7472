"""A campaign over a large fleet of local connections: what it costs the controller, and that its limits hold while it runs."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.campaign import Fleet

from . import measure

CHECKOUT = Path(__file__).resolve().parents[2]
RACKS, PER_RACK = 25, 20
PER_RACK_MOST = 2


def compare(racks: int = RACKS, per_rack: int = PER_RACK) -> dict[str, Any]:
    """A plan, its campaign, and one that ends at its canary: seconds, CPU seconds, the largest process; and what the journals show."""
    with tempfile.TemporaryDirectory() as base:
        sizes = {f"{number:02}": per_rack for number in range(racks)}
        whole, stopped = (Fleet(Path(base) / name, sizes, settings=settings) for name, settings in _fleets())
        made = _play(whole.make(), 0)
        done = _play(whole, 0, plan="latest", confirm=True)
        _play(stopped.make(), 0)
        ended = _play(stopped, 2, plan="latest", confirm=True)
        lines, few = whole.lines(), stopped.lines()
        counts = {
            "most_away_in_a_rack": most_away(lines, whole.hosts),
            "hosts_done": sum(line["event"] == "step_done" for line in lines),
            "hosts_touched": hosts_touched(few),
        }
        return {
            "hosts": len(whole.hosts),
            "plan": _figures(made),
            "campaign": {**_figures(done), "cpu_s_per_host": round(done.cpu_s / len(whole.hosts), 2)},
            "waves": sum(line["event"] == "wave_passed" for line in lines),
            "hosts_done": counts["hosts_done"],
            "most_away_in_a_rack": counts["most_away_in_a_rack"],
            "journal_kb": round((whole.campaign / "journal.jsonl").stat().st_size / 1000),
            "stopped_at_the_canary": {**_figures(ended), "hosts_touched": counts["hosts_touched"]},
            "budgets": {"most_away_in_a_rack": PER_RACK_MOST, "hosts_done": len(whole.hosts), "hosts_touched": 1},
            "within_budget": within_budget(counts, len(whole.hosts)),
        }


def within_budget(counts: Mapping[str, int], hosts: int) -> dict[str, bool]:
    """No rack lost more hosts at once than it may, though some were at work; and all is done, or nothing but the canary was touched."""
    return {
        "most_away_in_a_rack": 1 <= counts["most_away_in_a_rack"] <= PER_RACK_MOST,
        "hosts_done": counts["hosts_done"] == hosts,
        "hosts_touched": counts["hosts_touched"] == 1,
    }


def _fleets() -> tuple[tuple[str, dict[str, Any]], ...]:
    return ("whole", {}), ("stopped", {"fails_on": ["node-00-01"]})


def _play(fleet: Fleet, rc: int, **variables: Any) -> measure.Cost:
    variables = fleet.variables(limits={"fleet": "20%", "rack": PER_RACK_MOST}, **variables)
    command = [str(Path(sys.prefix) / "bin" / "ansible-playbook"), "remediate.yml", "-i", str(fleet.inventory), "-e", json.dumps(variables)]
    cost = measure.run(command, cwd=CHECKOUT)
    assert cost.rc == rc, cost.output[-5000:]
    return cost


def _figures(cost: measure.Cost) -> dict[str, float]:
    return {"wall_s": round(cost.wall_s, 1), "cpu_s": round(cost.cpu_s, 1), "largest_process_mb": round(cost.rss_kb / 1024)}


def hosts_touched(lines: list[dict[str, Any]]) -> int:
    return len({line["host"] for line in lines if line["host"]})


def most_away(lines: list[dict[str, Any]], racks: Mapping[str, str]) -> int:
    """The most hosts of one rack that were away at once: from the beginning of a step until it was seen whether it helped, or it failed."""
    away: set[str] = set()
    most = 0
    for line in sorted(lines, key=lambda line: datetime.fromisoformat(line["at"].replace("Z", "+00:00"))):
        if line["event"] == "step_begun":
            away.add(line["host"])
            most = max(most, *Counter(racks[host] for host in away).values())
        elif line["event"] in ("verified", "step_failed"):
            away.discard(line["host"])
    return most
