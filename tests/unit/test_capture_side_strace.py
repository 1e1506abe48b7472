"""strace on one process: whom it refuses, what it brings back, and that no death leaves anything traced, stopped or running."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, strace_stage
from ansible_collections.fleet.stall.plugins.module_utils.capture.strace_stage import Process
from ansible_collections.fleet.stall.plugins.module_utils.profile import stracelog

COLLECTIONS = os.path.join(os.path.dirname(__file__), "..", "..", "collections")
needs_strace = pytest.mark.skipif(not strace_stage.capability()["available"], reason=str(strace_stage.capability()["reason"]))

READER = """
import os, time
file = os.open("/proc/self/status", os.O_RDONLY)
while True:
    os.pread(file, 4096, 0)
    time.sleep(0.001)
"""
BUSY_READER = READER.replace("time.sleep(0.001)", "pass")


def real_time():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


PRIORITIES = [None, pytest.param(real_time, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs a real-time priority"))]


@pytest.fixture
def process():
    """Start Python programs of which nothing is left after the test."""
    started = []

    def start(program, *words, **options):
        child = subprocess.Popen([sys.executable, "-c", program, *words], start_new_session=True, **options)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()


def status(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def tracer(pid):
    return int(status(pid)["TracerPid"])


def until(condition, seconds=20.0):
    """Wait for it; what it says at last."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def reads_so_far(pid):
    with open(f"/proc/{pid}/io") as file:
        return int(next(line for line in file if line.startswith("syscr")).split()[1])


def runs_free(pid):
    """Not stopped, not traced, and it goes on reading."""
    before = reads_so_far(pid)
    return until(lambda: tracer(pid) == 0 and status(pid)["State"][0] not in "Tt" and reads_so_far(pid) > before + 20)


def gone(pid):
    """A zombie is: who reaps it is not our business."""
    try:
        return status(pid)["State"][0] == "Z"
    except OSError:
        return True


def attached(stage, pid):
    until(lambda: not stage.poll() or tracer(pid) != 0)
    return tracer(pid)


@pytest.mark.parametrize(
    ("yama", "privileged", "root", "selinux", "word"),
    [
        ("0", True, True, None, None),
        ("2", True, True, "0 0", None),
        ("3", True, True, None, "reboot"),
        (None, True, True, "1 1", "setsebool"),
        ("0", False, True, None, "CAP_SYS_PTRACE"),
        ("1", False, False, None, "stall_become"),
        (None, False, False, None, "stall_become"),
    ],
)
def test_a_refusal_names_its_remedy(yama, privileged, root, selinux, word):
    reason = strace_stage.not_permitted(yama, privileged, root, selinux)
    assert reason is None if word is None else word in reason


FINE = Process(77, 77, "cadvisor", "S", 0, False, False)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (FINE, None),
        (FINE._replace(state="R", pid=80), None),
        (FINE._replace(kernel=True), "kernel thread"),
        (FINE._replace(pid=1, tgid=1), "first process"),
        (FINE._replace(ours=True), "this capture"),
        (FINE._replace(tracer=9), "traced by process 9"),
        (FINE._replace(state="T"), "stopped"),
        (FINE._replace(state="Z"), "dead"),
        (None, "ended"),
    ],
)
def test_who_is_not_traced(found, word):
    reason = strace_stage.refusal(found)
    assert reason is None if word is None else word in reason


def test_who_is_not_traced_on_this_machine(tmp_path, process):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid in (1, os.getpid(), os.getppid(), gone.pid):
        stage = strace_stage.Stage(1, 1 << 20, str(tmp_path))
        assert stage.start(pid, "a test") is False
        assert stage.reason
        assert stage.finish() is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_said(tmp_path, process, monkeypatch):
    monkeypatch.setattr(bounded, "find", lambda name: None)
    stage = strace_stage.Stage(1, 1 << 20, str(tmp_path))
    assert stage.start(process(READER).pid, "a test") is False
    assert "install the package strace" in stage.reason


@pytest.mark.parametrize(
    ("without", "traced", "expected"),
    [
        ([(1000, 1.0), (2000, 2.0)], [(2000, 3.0), (2200, 5.0)], 10.0),
        ([(1000, 1.0), (1019, 2.0)], [(2000, 3.0), (2200, 5.0)], None),
        ([(1000, 1.0), (2000, 2.0)], [(2000, 3.0), (2000, 5.0)], None),
        ([(1000, 1.0), (2000, 2.0)], [(2000, 3.0)], None),
        ([], [], None),
    ],
)
def test_slowdown(without, traced, expected):
    assert strace_stage.slowdown(without, traced) == expected


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("read", '7</sys/fs/cgroup/memory/memory.stat>, "cache 0\\nrss"..., 4096', (7, "/sys/fs/cgroup/memory/memory.stat")),
        ("read", "7<TCP:[10.0.0.1:22->10.0.0.2:50000]>, NULL, 4096", (7, "TCP:[10.0.0.1:22->10.0.0.2:50000]")),
        ("read", '7, "cache"..., 4096', (7, None)),
        ("wait4", "4711, NULL, 0, NULL", (None, None)),
        ("openat", 'AT_FDCWD</root>, "/proc/1/smaps", O_RDONLY', (None, "/proc/1/smaps")),
        ("brk", "NULL", (None, None)),
    ],
)
def test_row_of_a_slow_call(name, args, expected):
    (call,) = stracelog.parse([f"[pid 78] 1574380800.250000 {name}({args}) = 5 <0.179438>"])
    row = strace_stage.row_of(call, FINE)
    assert (row["fd"], row["path"]) == expected
    assert (row["pid"], row["tid"], row["call"], row["duration_ms"], row["how"]) == (77, 78, name, 179.438, "strace")
    assert row["start_ns"] == 1574380800250000000


@needs_strace
def test_a_slow_read_is_shown_with_its_file_and_what_it_read(tmp_path, process):
    """One read of 64 MB out of a file: its duration is whatever it is, so every call counts as slow here."""
    large = tmp_path / "large"
    large.write_bytes(b"cache 154234880\n" * (1 << 22))
    program = "import os, sys\nwhile True:\n    with open(sys.argv[1], 'rb', buffering=0) as file: file.read()\n"
    reader = process(program, str(large))
    stage = strace_stage.Stage(30, 1 << 20, str(tmp_path), slow_ms=5.0)
    assert stage.start(reader.pid, "it ran before ksoftirqd")
    assert attached(stage, reader.pid)
    assert until(lambda: b'"cache 154234880' in (tmp_path / "strace.log").read_bytes())
    found = stage.finish()
    assert (found["strace"]["pid"], found["strace"]["why"]) == (reader.pid, "it ran before ksoftirqd")
    assert found["strace"]["calls"] > 0
    reads = [row for row in found["slow_calls"] if row["call"] == "read"]
    assert reads
    assert (reads[0]["path"], reads[0]["buffer"][:5]) == (str(large), "cache")
    assert reads[0]["duration_ms"] >= 5.0
    assert abs(reads[0]["start_ns"] / 1e9 - time.time()) < 60
    assert 0 < time.monotonic() - found["strace"]["start_ns"] / 1e9 < 60
    assert os.listdir(tmp_path) == ["large"]
    assert tracer(reader.pid) == 0


@needs_strace
def test_the_slowdown_is_measured(tmp_path, process):
    reader = process(BUSY_READER)
    assert until(lambda: reads_so_far(reader.pid) > 1000)
    stage = strace_stage.Stage(30, 64 << 20, str(tmp_path))
    assert stage.start(reader.pid, "a test")
    assert attached(stage, reader.pid)
    assert until(lambda: stage.poll() and os.path.getsize(stage.output) > 100000)
    assert stage.finish()["strace"]["slowdown"] > 1.5
    assert runs_free(reader.pid)


@needs_strace
@pytest.mark.parametrize(("seconds", "size"), [(0.2, 64 << 20), (60, 20000)])
def test_a_bound_ends_it(tmp_path, process, seconds, size):
    reader = process(READER)
    stage = strace_stage.Stage(seconds, size, str(tmp_path))
    assert stage.start(reader.pid, "a test")
    assert until(lambda: not stage.poll())
    assert runs_free(reader.pid)
    assert stage.finish()["strace"]["bytes"] <= size


@needs_strace
def test_the_kernel_holds_the_size_even_if_nobody_polls(tmp_path, process):
    reader = process(BUSY_READER)
    stage = strace_stage.Stage(60, 50000, str(tmp_path))
    assert stage.start(reader.pid, "a test")
    # So busy a reader may be let go before it was seen to be traced; that it was, its calls tell.
    attached(stage, reader.pid)
    assert runs_free(reader.pid)
    assert os.path.getsize(stage.output) <= 50000
    assert stage.finish()["strace"]["calls"] > 100


@needs_strace
def test_the_time_is_held_even_if_nobody_polls(tmp_path, process):
    reader = process(READER)
    stage = strace_stage.Stage(0.2, 64 << 20, str(tmp_path))
    assert stage.start(reader.pid, "a test")
    attached(stage, reader.pid)
    assert runs_free(reader.pid)
    assert stage.finish()["strace"]["calls"] > 0


@needs_strace
@pytest.mark.parametrize("prepare", PRIORITIES)
@pytest.mark.parametrize("victim", ["strace", "guard"])
def test_a_tool_killed_leaves_the_process_running(tmp_path, process, prepare, victim):
    reader = process(READER, preexec_fn=prepare)
    stage = strace_stage.Stage(60, 64 << 20, str(tmp_path))
    assert stage.start(reader.pid, "a test")
    strace = attached(stage, reader.pid)
    os.kill(strace if victim == "strace" else int(status(strace)["PPid"]), signal.SIGKILL)
    assert runs_free(reader.pid)
    assert until(lambda: gone(strace) and not stage.poll())
    assert stage.finish()["strace"]["pid"] == reader.pid


CAPTURER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleet.stall.plugins.module_utils.capture import strace_stage
stage = strace_stage.Stage(60, 64 << 20, sys.argv[2])
assert stage.start(int(sys.argv[3]), "a test"), stage.reason
while True:
    stage.poll()
    time.sleep(0.02)
"""


@needs_strace
@pytest.mark.parametrize("prepare", PRIORITIES)
def test_our_own_death_ends_strace_and_leaves_the_process_running(tmp_path, process, prepare):
    reader = process(READER, preexec_fn=prepare)
    capturer = process(CAPTURER, COLLECTIONS, str(tmp_path), str(reader.pid))
    assert until(lambda: tracer(reader.pid))
    strace = tracer(reader.pid)
    capturer.kill()
    capturer.wait()
    assert until(lambda: gone(strace))
    assert runs_free(reader.pid)


@needs_strace
def test_all_threads_of_a_process_are_traced_and_let_go(tmp_path, process):
    program = "import threading, time\n" + "def read():\n    while True:\n        open('/proc/self/status').read(); time.sleep(0.01)\n"
    program += "for n in range(8): threading.Thread(target=read).start()\n"
    reader = process(program)
    assert until(lambda: len(os.listdir(f"/proc/{reader.pid}/task")) == 9)
    stage = strace_stage.Stage(60, 64 << 20, str(tmp_path), slow_ms=0.0)
    assert stage.start(reader.pid, "a test")
    threads = [int(tid) for tid in os.listdir(f"/proc/{reader.pid}/task")]
    until(lambda: not stage.poll() or all(map(tracer, threads[1:])))
    assert until(lambda: os.path.getsize(stage.output) > 200000)
    found = stage.finish()
    assert set(threads[1:]) <= {row["tid"] for row in found["slow_calls"]} | set(threads[:1])
    assert not any(map(tracer, threads))


@needs_strace
def test_a_process_that_ends_meanwhile_is_no_error(tmp_path, process):
    reader = process(READER)
    stage = strace_stage.Stage(60, 64 << 20, str(tmp_path))
    assert stage.start(reader.pid, "a test")
    assert attached(stage, reader.pid)
    assert until(lambda: stage.poll() and os.path.getsize(stage.output) > 0)
    reader.kill()
    reader.wait()
    assert until(lambda: not stage.poll())
    found = stage.finish()
    assert (found["strace"]["pid"], found["strace"]["comm"]) == (reader.pid, found["strace"]["comm"])
    assert found["strace"]["calls"] > 0


@needs_strace
def test_limits_do_not_leak_into_us(tmp_path, process):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    stage = strace_stage.Stage(60, 50000, str(tmp_path))
    assert stage.start(process(READER).pid, "a test")
    assert stage.finish() is None
    assert "before strace was attached" in stage.reason
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
