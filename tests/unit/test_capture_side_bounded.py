"""A tool can't outlive its time, its size, its guard or us, whatever it does with signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded

COLLECTIONS = os.path.join(os.path.dirname(__file__), "..", "..", "collections")
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def tool(tmp_path):
    """Start a shell script as a tool of which nothing is left after the test."""
    started = []

    def start(script, seconds=60, size=1 << 20):
        started.append(bounded.Tool(["/bin/sh", "-c", script], seconds, size, str(tmp_path / "out"), to_stdout=True))
        return started[-1]

    yield start
    for each in started:
        each.finish()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def shell_of(running):
    assert until(lambda: running.size() > 0)
    return running.pids()[1]


@pytest.mark.parametrize(("script", "code"), [("echo out; exit 3", 3), ("kill -9 $$", 128 + 9), ("trap '' TERM; kill -10 $$", 128 + 10)])
def test_how_it_ended(tool, script, code):
    running = tool(script)
    assert until(lambda: not running.poll())
    assert running.code == code


def test_what_it_wrote_and_what_it_complained_of(tool, tmp_path):
    running = tool("echo out; echo first >&2; echo 'last one' >&2")
    assert until(lambda: not running.poll())
    assert (tmp_path / "out").read_text() == "out\n"
    assert running.complaint() == "last one"
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0
    running.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_can_not_run_says_so(tmp_path):
    running = bounded.Tool(["/no/such/tool"], 5, 1000, str(tmp_path / "out"))
    assert until(lambda: not running.poll())
    assert (running.code, running.complaint()) == (127, "/no/such/tool: No such file or directory")


def test_time_is_up_even_for_one_that_does_not_listen(tool, monkeypatch):
    monkeypatch.setattr(bounded, "PATIENCE_S", 0.1)
    running = tool(DEAF, seconds=0.2)
    shell = shell_of(running)
    assert until(lambda: gone(shell))
    assert until(lambda: not running.poll())
    assert running.code == 128 + 9


def test_told_to_end_it_has_time_to_tidy_up(tool, tmp_path):
    running = tool("trap 'echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    shell_of(running)
    running.finish()
    assert (running.code, (tmp_path / "out").read_text()) == (0, "ready\ntidy\n")


def test_its_file_does_not_get_too_long(tool):
    running = tool("while :; do echo 0123456789012345678901234567890123456789; done", size=5000)
    assert until(lambda: not running.poll())
    assert 0 < running.size() <= 5000


def test_with_its_guard_it_goes(tool):
    running = tool(DEAF)
    shell = shell_of(running)
    os.kill(running.pids()[0], signal.SIGKILL)
    assert until(lambda: gone(shell) and not running.poll())
    assert running.code is None


PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded
tool = bounded.Tool(["/bin/sh", "-c", sys.argv[3]], 60, 1 << 20, sys.argv[2], to_stdout=True)
while tool.poll() and not tool.size():
    time.sleep(0.01)
print(*tool.pids(), flush=True)
time.sleep(60)
"""


def test_with_us_it_goes(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, COLLECTIONS, str(tmp_path / "out"), DEAF], stdout=subprocess.PIPE)
    guard, shell = (int(pid) for pid in parent.stdout.readline().split())
    assert not gone(guard)
    assert os.getpgid(shell) == os.getpgid(parent.pid)  # whoever kills the group has them all
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: gone(guard) and gone(shell))


def test_it_gets_nothing_of_ours_but_three_descriptors(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        running = tool("ls /proc/$$/fd; env")
        assert until(lambda: not running.poll())
    finally:
        os.close(descriptor)
    seen = (tmp_path / "out").read_text().split()
    assert {word for word in seen if word.isdigit() and int(word) < 10} == {"0", "1", "2"}
    assert "hunter2" not in " ".join(seen)
    assert f"PATH={bounded.PATH}" in seen


@pytest.mark.skipif(os.geteuid() != 0, reason="raises its priority")
def test_a_priority_of_ours_is_not_passed_on(tool, tmp_path):
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    try:
        running = tool("nice")
        assert until(lambda: not running.poll())
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    assert (tmp_path / "out").read_text() == "0\n"


def test_sbin_is_looked_through(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere:relative")
    assert bounded.find("sh") in ("/usr/bin/sh", "/bin/sh")
    assert bounded.find("no-such-tool") is None


BUSY = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"


def test_what_it_cost_is_known_while_it_runs_and_after_its_end(tool):
    """A tool that is started anew in the middle of a window must not take back what the one before it cost."""
    running = tool(BUSY + "; echo; " + BUSY)
    assert until(lambda: running.size() > 0)
    before = running.cpu_s()
    assert before > 0.05
    assert until(lambda: not running.poll())
    assert running.cpu_s() > before
    assert running.cpu_s() == running.cpu_s()
