"""Whatever ends the controller, nothing is left running on a host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from . import run

COMM = "fleet-stall-obs"
PROCESSES_A_HOST = 3  # watchdog, prober, sampler


@pytest.fixture(scope="module")
def lab(labs):
    return labs.get("clean")


def observers() -> list[int]:
    """Pids of observers on this machine, which is all hosts of the lab."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == COMM:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def within(seconds: float, met: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.2)
    return met()


def begin(lab, runs: Path, window_s: int) -> subprocess.Popen:
    extra = json.dumps({"stall_runs_dir": str(runs), "stall_window_s": window_s})
    return subprocess.Popen(
        [run.command("ansible-playbook"), "-i", str(lab.inventory), "diagnose.yml", "-e", extra],
        cwd=run.CHECKOUT,
        env=run.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.lab
def test_interrupted_it_ends_every_observer_and_keeps_the_run(lab, tmp_path):
    playing = begin(lab, tmp_path, window_s=120)
    hosts = len(lab.expected["hosts"])
    assert within(40, lambda: len(observers()) >= PROCESSES_A_HOST * hosts)
    time.sleep(3)
    os.killpg(playing.pid, signal.SIGINT)
    screen, _ = playing.communicate(timeout=60)
    assert playing.returncode != 0
    assert within(5, lambda: not observers()), screen
    assert (run.newest(tmp_path) / "manifest.json").exists()


@pytest.mark.lab
def test_killed_it_leaves_observers_that_end_themselves(lab, tmp_path):
    window_s = 12
    playing = begin(lab, tmp_path, window_s)
    assert within(40, lambda: len(observers()) >= PROCESSES_A_HOST * len(lab.expected["hosts"]))
    os.killpg(playing.pid, signal.SIGKILL)
    playing.communicate(timeout=10)
    assert within(window_s + 20, lambda: not observers())
    resumed = run.diagnose(lab.inventory, tmp_path, run=run.newest(tmp_path).name)
    assert resumed.rc == 0, resumed.screen
    assert {row["status"] for row in resumed.findings["hosts"]} == {"clear"}, resumed.screen
