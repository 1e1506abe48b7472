"""Whatever is killed in a capture, nothing of it stays behind, and the process that it traced goes on. The tools are the real ones."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import daemon, process, statedir
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, session, witness
from ansible_collections.fleet.stall.plugins.module_utils.capture.kind import CAPTURE

TOOLS = ("perf", "bpftrace", "strace")
pytestmark = pytest.mark.skipif(any(bounded.find(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}")

FLOW = {
    "id": 1,
    "source": "a",
    "protocol": "icmp",
    "family": 4,
    "port": None,
    "source_address": "127.0.0.1",
    "source_port": None,
    "interval_ms": 10,
}
# Counts up in a file, so that it can be seen to go on; its reads are what strace sees.
VICTIM = """
import sys, time
counted = open(sys.argv[1], "w")
n = 0
while True:
    open("/proc/self/stat").read()
    n += 1
    counted.seek(0); counted.write(str(n)); counted.flush()
    time.sleep(0.005)
"""


def plan(run: str, seconds: float) -> dict:
    now = time.time()
    return {
        "schema_version": 1,
        "run": run,
        "host": "h",
        "token": 7,
        "starts_at": now,
        "ends_at": now + seconds,
        "dispatched_at": now,
        "skew_s": 0.0,
        "threshold_ms": 10,
        "addresses": [],
        "flows": [FLOW],
        "stack_hz": 999,
        "strace_s": seconds,
        "strace_bytes": 1 << 20,
        "slow_call_ms": 10,
        "memory_stat": False,
        "connections": False,
        "endpoints": [],
        "packets": [],
        "only_packets": False,
        "bytes_limit": 16 << 20,
    }


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    path = statedir.prepare(str(tmp_path / "state"))
    yield path
    for name in os.listdir(path):
        for who in daemon._processes(os.path.join(path, name)):
            process.end(who, 0.0)


class Victim:
    def __init__(self, counted: Path) -> None:
        self._counted = counted
        self._process = subprocess.Popen([sys.executable, "-c", VICTIM, str(counted)])
        self.pid = self._process.pid

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def goes_on(self) -> bool:
        before = self._counted.read_text()
        time.sleep(0.3)
        return self._counted.read_text() != before

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    """A process that the capture takes for the culprit from the start."""
    found = Victim(tmp_path / "counted")
    monkeypatch.setattr(session, "UNTOUCHED_SHARE", 0.0)
    monkeypatch.setattr(witness.Suspicions, "named", lambda _self: witness.Suspect(found.pid, "the test says so"))
    yield found
    found.end()


def members(group: int) -> list[dict[str, int]]:
    """The processes of a process group."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(pid)) == group:
                found.append(process.identity(int(pid)))
        except OSError:
            continue
    return found


def names(processes: list[dict[str, int]]) -> set[str]:
    return {Path(f"/proc/{who['pid']}/comm").read_text().strip() for who in processes if process.is_alive(who)}


def until(what: str, holds: Callable[[], bool], patience_s: float = 15.0) -> None:
    give_up = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < give_up, what
        time.sleep(0.05)


class Running:
    """A capture with all of its tools at work."""

    def __init__(self, root: str, victim: Victim, seconds: float) -> None:
        self.job = daemon.start(plan("r", seconds), root, CAPTURE)
        self.watchdog, self.capture = daemon._processes(self.job["dir"])
        until("not all tools were started", lambda: set(TOOLS) <= names(members(self.capture["pid"])))
        until("strace was not attached", lambda: victim.status()["TracerPid"] != "0")
        self.all = [self.watchdog, *members(self.capture["pid"])]

    def nothing_is_left(self, victim: Victim) -> None:
        until(f"still there: {names(self.all)}", lambda: not any(map(process.is_alive, self.all)))
        assert members(self.capture["pid"]) == []
        assert victim.status()["TracerPid"] == "0"
        assert victim.status()["State"][0] not in "tT"
        assert victim.goes_on()

    def result(self) -> dict:
        until("no result", lambda: os.path.exists(self.job["result"]))
        with gzip.open(self.job["result"]) as file:
            return json.loads(file.read())


def test_a_killed_capture_takes_its_tools_along(root: str, victim: Victim) -> None:
    running = Running(root, victim, 60)
    os.kill(running.capture["pid"], signal.SIGKILL)
    running.nothing_is_left(victim)
    found = running.result()
    assert (found["status"], found["reason"]) == ("failed", "the capture was killed by SIGKILL (out of memory, or someone's hand)")
    assert sorted(os.listdir(running.job["dir"])) == ["capture.json.gz", daemon.PROCESSES]


def test_a_killed_watchdog_takes_all_along_and_the_next_start_sweeps(root: str, victim: Victim) -> None:
    running = Running(root, victim, 60)
    os.kill(running.watchdog["pid"], signal.SIGKILL)
    running.nothing_is_left(victim)
    assert os.path.isdir(os.path.join(running.job["dir"], statedir.WORK))
    daemon.start(plan("next", 60), root, CAPTURE)
    assert not os.path.exists(os.path.join(running.job["dir"], statedir.WORK))
    assert daemon.stop(root, "next", "h", CAPTURE) == 1


def test_both_killed_at_once(root: str, victim: Victim) -> None:
    running = Running(root, victim, 60)
    for who in (running.capture, running.watchdog):
        os.kill(who["pid"], signal.SIGKILL)
    running.nothing_is_left(victim)


def test_a_killed_guard_takes_its_tool_along(root: str, victim: Victim) -> None:
    """Each tool has a guard; strace's is the one whose death could leave a process stopped."""
    running = Running(root, victim, 60)
    guard = next(who for who in running.all if names([who]) == {"strace"})
    os.kill(int(Path(f"/proc/{guard['pid']}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    until("strace outlived its guard", lambda: not process.is_alive(guard))
    until("still traced", lambda: victim.status()["TracerPid"] == "0")
    assert victim.goes_on()
    assert daemon.stop(root, "r", "h", CAPTURE) == 1
    running.nothing_is_left(victim)


def test_stop_ends_all_and_removes_all(root: str, victim: Victim) -> None:
    running = Running(root, victim, 60)
    assert daemon.stop(root, "r", "h", CAPTURE) == 1
    running.nothing_is_left(victim)
    assert os.listdir(root) == [statedir.CAPTURE_LOCK]


def test_a_capture_that_ends_in_time_leaves_its_result_alone(root: str, victim: Victim) -> None:
    running = Running(root, victim, 6)
    found = running.result()
    running.nothing_is_left(victim)
    assert (found["status"], found["reason"]) == ("measured", None)
    assert found["strace"]["pid"] == victim.pid
    assert found["capabilities"]["rx_trace"]["how"] == "tracepoint"
    assert found["capabilities"]["recorder"]["available"]
    assert sorted(os.listdir(running.job["dir"])) == ["capture.json.gz", daemon.PROCESSES]


def test_beside_an_observer_but_not_beside_another_capture(root: str) -> None:
    observing = {"reply_timeout_ms": 100, "budget_pps": 100, "seed": "s", "keep_raw": False, "counters": False, "event_limit": 1}
    daemon.start(plan("o", 60) | observing | {"flows": []}, root)
    daemon.start(plan("first", 60), root, CAPTURE)
    with pytest.raises(statedir.Refusal, match="run 'first' is capturing on this host .*as 'h'.*the capture module with state=stopped"):
        daemon.start(plan("second", 60), root, CAPTURE)
    assert daemon.stop(root, "first", "h", CAPTURE) == 1
    assert daemon.running(root, "o", "h") == 1
    assert daemon.stop(root, "o", "h") == 1
