"""The observer as a process, for real: one at a time, ended by its deadline, by hand, and never mistaken for another."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import daemon, engine, process, statedir
from ansible_collections.fleet.stall.plugins.module_utils.statedir import Refusal
from tests import venvs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="detaches a Linux process")


@pytest.fixture
def root(tmp_path):
    path = statedir.prepare(str(tmp_path / "state"))
    yield path
    for name in os.listdir(path):
        for who in daemon._processes(os.path.join(path, name)):
            process.end(who, 0.0)


def plan(run="r", seconds=0.5, counters=False, flows=()):
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
        "reply_timeout_ms": 100,
        "budget_pps": 100,
        "seed": "s",
        "keep_raw": False,
        "counters": counters,
        "event_limit": 10,
        "flows": list(flows),
    }


def result_of(job, patience_s=30.0):
    until = time.monotonic() + patience_s
    while not os.path.exists(job["result"]):
        assert time.monotonic() < until, "no result"
        time.sleep(0.02)
    with gzip.open(job["result"]) as file:
        return json.loads(file.read().decode())


def hangs(plan, should_stop):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def comm(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


def test_counters_only(root):
    found = result_of(daemon.start(plan(counters=True), root))
    assert (found["status"], found["reason"], found["flows"]) == ("measured", None, [])
    softnet = found["counters"]["softnet"]
    assert softnet["available"] and softnet["start"]["cpus"].keys() == softnet["end"]["cpus"].keys()
    assert found["counters"]["kernel"]["end"] is None
    assert found["versions"]["kernel"] == os.uname().release
    assert found["cost"]["rss_kb"] > 0
    for name, counter in found["counters"].items():
        assert counter["available"] or counter["reason"], name


def test_returns_while_the_observer_goes_on_on_its_own(root):
    job = daemon.start(plan(seconds=60), root)
    who = process.identity(job["pid"])
    assert comm(job["pid"]) == "fleet-stall-obs"
    assert os.getsid(job["pid"]) != os.getsid(0)
    assert {os.readlink(f"/proc/{job['pid']}/fd/{number}") for number in (0, 1, 2)} == {os.devnull}
    assert not os.path.exists(job["result"])
    assert daemon.running(root, "r", "h") == 1
    with open(job["dir"] + daemon.RAW, "w") as file:
        file.write("raw samples")
    assert daemon.stop(root, "r", "h") == 1
    assert not process.is_alive(who)
    assert os.listdir(root) == [statedir.LOCK]
    assert daemon.stop(root, "r", "h") == 0


def test_a_second_observer_is_told_who_holds_the_host_and_until_when(root):
    daemon.start(plan(run="first", seconds=60), root)
    with pytest.raises(Refusal, match="run 'first' is observing on this host .*as 'h'.* until 20.* UTC"):
        daemon.start(plan(run="second"), root)
    daemon.stop(root, "first", "h")
    assert result_of(daemon.start(plan(run="second"), root))["run"] == "second"


@pytest.mark.parametrize("how", ["by itself", "by hand", "at its deadline", "did not start"])
def test_the_lock_is_empty_after_the_run(root, monkeypatch, how):
    given_plan = plan(seconds=0.2 if how == "by itself" else 1.0)
    if how == "at its deadline":
        monkeypatch.setattr(daemon, "GRACE_S", 0.1)
        monkeypatch.setattr(daemon.observer, "observe", lambda plan, should_stop, deadline: time.sleep(60))
    if how == "did not start":
        monkeypatch.setattr(daemon.watchdog.statedir, "write_whole", lambda path, data: 1 / 0)
        with pytest.raises(Refusal):
            daemon.start(given_plan, root)
    else:
        job = daemon.start(given_plan, root)
        assert content_of_lock(root).startswith('{"run": "r"')
        if how == "by hand":
            assert daemon.stop(root, "r", "h") == 1
        else:
            result_of(job)
    until = time.monotonic() + 10
    while content_of_lock(root) and time.monotonic() < until:
        time.sleep(0.02)
    assert content_of_lock(root) == ""


def content_of_lock(root):
    with open(os.path.join(root, statedir.LOCK)) as file:
        return file.read()


def test_the_deadline_kills_what_hangs_and_says_so(root, monkeypatch):
    monkeypatch.setattr(engine, "run", hangs)
    monkeypatch.setattr(daemon, "GRACE_S", 0.3)
    job = daemon.start(plan(), root)
    found = result_of(job)
    assert found["status"] == "failed"
    assert "did not end by its deadline" in found["reason"]


def test_no_observer_outlives_its_watchdog(root, monkeypatch):
    monkeypatch.setattr(engine, "run", hangs)
    job = daemon.start(plan(seconds=60, counters=True), root)
    watchdog, observer = daemon._processes(job["dir"])
    os.kill(watchdog["pid"], signal.SIGKILL)
    until = time.monotonic() + 10
    while process.is_alive(observer):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_killed_observer_leaves_a_result_that_says_so(root, monkeypatch):
    monkeypatch.setattr(engine, "run", hangs)
    job = daemon.start(plan(seconds=60), root)
    os.kill(daemon._processes(job["dir"])[1]["pid"], signal.SIGKILL)
    assert "killed by SIGKILL" in result_of(job)["reason"]


def test_a_crash_is_a_result_with_its_reason(root, monkeypatch):
    def crashes(plan, should_stop):
        raise ZeroDivisionError("no probes per second")

    monkeypatch.setattr(engine, "run", crashes)
    found = result_of(daemon.start(plan(), root))
    assert found["status"] == "failed"
    assert found["reason"].startswith("ZeroDivisionError: no probes per second (test_daemon.py, line")


def test_sigterm_ends_it_with_what_was_measured(root):
    job = daemon.start(plan(seconds=60, counters=True), root)
    time.sleep(0.5)
    os.kill(job["pid"], signal.SIGTERM)
    found = result_of(job)
    assert found["status"] == "measured"
    assert 0 < found["clock"]["observed_s"] < 30
    assert "the observer was told to end before the window did" in found["warnings"]
    assert found["counters"]["softnet"]["end"]


def test_a_hanging_observer_is_ended_by_hand(root, monkeypatch):
    monkeypatch.setattr(engine, "run", hangs)
    job = daemon.start(plan(seconds=60), root)
    processes = daemon._processes(job["dir"])
    assert daemon.stop(root, "r", "h") == 1
    assert not any(process.is_alive(who) for who in processes)


def test_a_reused_process_id_is_not_ended(root):
    with subprocess.Popen(["sleep", "60"]) as bystander:
        directory = daemon.job_of(root, plan()).dir
        os.mkdir(directory)
        stranger = dict(process.identity(bystander.pid))
        stranger["start_ticks"] -= 1
        with open(os.path.join(directory, daemon.PROCESSES), "w") as file:
            json.dump({"processes": [stranger]}, file)
        assert daemon.stop(root, "r", "h") == 0
        assert bystander.poll() is None
        assert not os.path.exists(directory)
        bystander.kill()


def test_an_earlier_attempt_of_the_run_is_replaced(root):
    first = daemon.start(plan(), root)
    result_of(first)
    while daemon.running(root, "r", "h"):
        time.sleep(0.02)
    second = daemon.start(plan(), root)
    assert second["dir"] == first["dir"]
    assert result_of(second)["status"] == "measured"


def test_probes_are_sent(root):
    flow = {
        "id": 5,
        "source": "h",
        "target": "h",
        "layer": "node",
        "protocol": "tcp_connect",
        "family": 4,
        "address": "127.0.0.1",
        "port": 9,
        "source_port": None,
        "interval_ms": 10,
        "service": None,
        "request": None,
        "path": None,
    }
    found = result_of(daemon.start(plan(flows=[flow]), root))
    assert found["flows"][0]["id"] == 5
    assert found["flows"][0]["sent"] > 0


@pytest.mark.parametrize("content", [b"", b"not json", b'{"run": 1}'])
def test_a_lock_that_says_nothing_still_refuses(root, content):
    import fcntl

    path = os.path.join(root, statedir.LOCK)
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refusal, match="another run is just starting"):
            daemon.start(plan(), root)


OLDEST = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleet.stall.plugins.module_utils import daemon, plan, statedir
given = json.loads(sys.argv[3])
assert plan.problems(given) == [], plan.problems(given)
# the window is from now on, however long it took to get here
now = time.time()
given.update(starts_at=now, ends_at=now + given["ends_at"] - given["starts_at"], dispatched_at=now)
print(json.dumps(daemon.start(plan.in_local_time(given, time.time()), statedir.prepare(sys.argv[2]))))
"""


def test_on_the_oldest_python_there_is_to_be_served(root):
    python = venvs.interpreter((3, 6))
    if python is None:
        pytest.skip("no Python 3.6 here")
    given = dict(
        plan(seconds=1, counters=True),
        flows=[{"id": 1, "target": "x", "protocol": "icmp", "address": "127.0.0.1", "family": 4, "interval_ms": 10}],
    )
    collections = os.path.join(venvs.ROOT, "collections")
    printed = subprocess.run([str(python), "-c", OLDEST, collections, root, json.dumps(given)], stdout=subprocess.PIPE, check=True).stdout
    found = result_of(json.loads(printed.decode()))
    assert (found["status"], found["reason"]) == ("measured", None)
    assert found["versions"]["python"].startswith("3.6.")
    assert found["counters"]["softnet"]["available"]
