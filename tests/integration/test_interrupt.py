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
CAPTURE = "fleet-stall-cap"
TOOLS = ("bpftrace", "perf", "strace", "tcpdump")
PROCESSES_A_HOST = 3  # watchdog, prober, sampler


@pytest.fixture(scope="module")
def lab(labs):
    return labs.get("clean")


def running(*comms: str) -> list[int]:
    """Pids of what is called so on this machine, which is all hosts of the lab."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() in comms:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def observers() -> list[int]:
    return running(COMM)


def stopped() -> list[int]:
    """Pids of processes that are stopped, as a tracer that died could leave one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if path.read_text().rpartition(")")[2].split()[0] in "tT":
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


def begin(lab, runs: Path, window_s: int, **variables: object) -> subprocess.Popen:
    extra = json.dumps({"stall_runs_dir": str(runs), "stall_window_s": window_s} | {f"stall_{name}": v for name, v in variables.items()})
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
@pytest.mark.slow
def test_killed_it_leaves_observers_that_end_themselves(lab, tmp_path):
    window_s = 6
    playing = begin(lab, tmp_path, window_s)
    assert within(40, lambda: len(observers()) >= PROCESSES_A_HOST * len(lab.expected["hosts"]))
    os.killpg(playing.pid, signal.SIGKILL)
    playing.communicate(timeout=10)
    assert within(window_s + 20, lambda: not observers())
    resumed = run.diagnose(lab.inventory, tmp_path, run=run.newest(tmp_path).name)
    assert resumed.rc == 0, resumed.screen
    assert {row["status"] for row in resumed.findings["hosts"]} == {"clear"}, resumed.screen


def captured(lab, runs: Path, capture_s: int) -> subprocess.Popen:
    """A diagnosis that is in the middle of a capture with all its tools."""
    before = set(running(*TOOLS))
    playing = begin(lab, runs, 2, capture_s=capture_s, capture_hosts=["node-a1-2"], capture_control=False)
    assert within(60, lambda: running(CAPTURE) and set(running(*TOOLS)) - before), playing.poll()
    time.sleep(3)
    return playing


@pytest.mark.lab
@pytest.mark.slow
def test_interrupted_in_a_capture_it_leaves_nothing(lab, tmp_path):
    before, halted = set(running(*TOOLS)), set(stopped())
    playing = captured(lab, tmp_path, 60)
    os.killpg(playing.pid, signal.SIGINT)
    screen, _ = playing.communicate(timeout=60)
    assert playing.returncode != 0
    assert within(5, lambda: not observers() and not running(CAPTURE) and not set(running(*TOOLS)) - before), screen
    assert not set(stopped()) - halted
    assert (run.newest(tmp_path) / "capture" / "manifest.json").exists()


@pytest.mark.lab
def test_killed_in_a_capture_it_leaves_what_ends_itself_and_can_be_gathered(lab, tmp_path):
    before, halted = set(running(*TOOLS)), set(stopped())
    playing = captured(lab, tmp_path, 5)
    os.killpg(playing.pid, signal.SIGKILL)
    playing.communicate(timeout=10)
    assert within(5 + 40, lambda: not observers() and not running(CAPTURE) and not set(running(*TOOLS)) - before)
    assert not set(stopped()) - halted
    resumed = run.diagnose(lab.inventory, tmp_path, run=run.newest(tmp_path).name)
    assert resumed.rc == 0, resumed.screen
    assert resumed.host("node-a1-2")["capture"]["status"] == "measured", resumed.screen
