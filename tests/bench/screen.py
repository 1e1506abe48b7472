"""A screen of a hundred hosts: what it costs beside its window, against the cheapest command that reaches them all."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from . import measure

HOSTS = 100
WINDOW_S = 30
BUDGETS = {"overhead_ratio": 6, "controller_cpu_s_per_host": 0.6}
CHECKOUT = Path(__file__).resolve().parents[2]


def compare(directory: Path, addresses: list[str]) -> dict:
    """`directory`: of a lab with that many hosts, which were not connected to before."""
    clush = _clush(directory, addresses)
    with tempfile.TemporaryDirectory() as runs:
        screen = _screen(directory, Path(runs))
        [found] = [path for path in Path(runs).glob("*Z-*") if path.is_dir()]
        findings = json.loads((found / "findings.json").read_text())
        evidence = list((found / "evidence").glob("*/observe.json"))
        costs = [json.loads(path.read_text())["cost"] for path in evidence]
        observed = [json.loads(path.read_text())["clock"]["observed_s"] for path in evidence]
    figures = {
        "hosts": findings["run"]["hosts_total"],
        "measured": findings["run"]["hosts_measured"],
        "window_s": WINDOW_S,
        "least_observed_s": min(observed),
        "wall_s": round(screen.wall_s, 2),
        "clush_wall_s": round(clush.wall_s, 2),
        "overhead_ratio": round((screen.wall_s - WINDOW_S) / clush.wall_s, 2),
        "controller_cpu_s_per_host": round(screen.cpu_s / HOSTS, 3),
        "controller_rss_kb": screen.rss_kb,
        "module_rss_kb": max(cost["rss_kb"] for cost in costs),
        "module_cpu_s": round(sum(cost["cpu_s"] for cost in costs) / len(costs), 2),
    }
    within = {name: figures[name] <= most for name, most in BUDGETS.items()}
    return figures | {"budgets": BUDGETS, "within_budget": within | {"all_hosts_measured": figures["measured"] == HOSTS}}


def _clush(directory: Path, addresses: list[str]) -> measure.Cost:
    """Cold: it shares no connection with anything."""
    options = (
        f"-i {directory / 'ssh_key'} -o UserKnownHostsFile={directory / 'known_hosts'} "
        "-o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o ControlPath=none"
    )
    done = measure.run(["clush", "-S", "-f50", "-l", "root", "-o", options, "-w", ",".join(addresses), "true"])
    assert done.rc == 0, done.output
    return done


def _screen(directory: Path, runs: Path) -> measure.Cost:
    line = ["ansible-playbook", "-i", str(directory / "inventory.yml"), "diagnose.yml"]
    line[0] = shutil.which(line[0], path=str(Path(sys.prefix) / "bin")) or line[0]
    extra = ["-e", json.dumps({"stall_runs_dir": str(runs), "stall_window_s": WINDOW_S})]
    done = measure.run([*line, *extra], cwd=CHECKOUT, env=os.environ | {"ANSIBLE_NOCOLOR": "1"})
    assert done.rc == 0, done.output
    return done
