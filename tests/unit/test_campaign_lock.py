"""The lock of the fleet: one campaign, for as long as its process lives; a dead one's is taken over, another controller's is not."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import campaign_lock, leftovers
from ansible_collections.fleet.stall.plugins.plugin_utils.campaign_lock import Holder, LockError

AT = "2026-11-25T12:00:00Z"


def mine(plan="one"):
    return Holder.of_process(plan, os.getpid(), AT)


@pytest.fixture
def other():
    """A process of this machine that lives, and its end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_it_is_taken_held_and_given_back(tmp_path):
    base = tmp_path / "runs"
    assert campaign_lock.take(base, mine()) == ""
    assert campaign_lock.held_by(base) == mine()
    assert campaign_lock.take(base, mine("two")) == ""
    campaign_lock.release(base, mine())
    assert campaign_lock.held_by(base) is None


def test_another_that_lives_keeps_it(tmp_path, other):
    holder = Holder.of_process("theirs", other.pid, AT)
    campaign_lock.take(tmp_path, holder)
    with pytest.raises(LockError, match=rf"campaign theirs \(process {other.pid} of .*, since {AT}\) works on this fleet: wait"):
        campaign_lock.take(tmp_path, mine())
    campaign_lock.release(tmp_path, mine())
    assert campaign_lock.held_by(tmp_path) == holder


def test_the_lock_of_a_dead_one_is_taken_over_and_said(tmp_path, other):
    campaign_lock.take(tmp_path, Holder.of_process("theirs", other.pid, AT))
    other.kill()
    # Not even reaped yet, it works no more.
    deadline = time.monotonic() + 10
    while campaign_lock.started(other.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert campaign_lock.take(tmp_path, mine()) == (
        f"The lock of campaign theirs (process {other.pid} of {mine().controller}, since {AT}) was taken over: that process is gone."
    )
    assert campaign_lock.held_by(tmp_path) == mine()


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ({"controller": "elsewhere"}, True),
        ({"controller_boot_id": "an earlier boot"}, False),
        ({"pid_started": 1}, False),
    ],
    ids=["another controller", "before a reboot of this one", "the number went to another process"],
)
def test_whose_lock_may_be_taken_over(tmp_path, other, change, is_refused):
    campaign_lock.take(tmp_path, dataclasses.replace(Holder.of_process("theirs", other.pid, AT), **change))
    if is_refused:
        with pytest.raises(LockError, match="can't be told whether it still does.*stall_unlock=true"):
            campaign_lock.take(tmp_path, mine())
        assert "taken away" in campaign_lock.take(tmp_path, mine(), force=True)
    else:
        assert "taken over" in campaign_lock.take(tmp_path, mine())
    assert campaign_lock.held_by(tmp_path) == mine()


KILLED = """
import os, sys, time
if os.fork() == 0:
    time.sleep(float(sys.argv[1]))
    os._exit(0)
print("forked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def killed():
    """Start a controller whose fork outlives it by so many seconds, and kill it with -9; its holder."""

    def kill(seconds):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(seconds)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"forked\n"
        holder = Holder.of_process("theirs", process.pid, AT)
        process.kill()
        process.wait()
        return holder

    return kill


def test_what_a_killed_controller_left_at_work_is_waited_for(tmp_path, killed):
    holder = killed(2)
    campaign_lock.take(tmp_path, holder)
    left = leftovers.of_controller(holder.command, holder.pid_started, os.getpid(), leftovers.at_work())
    assert len(left) == 1 and left != [holder.pid]
    assert "taken over" in campaign_lock.take(tmp_path, mine())
    assert leftovers.of(left[0]) is None


def test_and_refused_if_it_does_not_end(tmp_path, killed):
    holder = killed(15)
    campaign_lock.take(tmp_path, holder)
    (left,) = leftovers.of_controller(holder.command, holder.pid_started, os.getpid(), leftovers.at_work())
    try:
        with pytest.raises(LockError, match=f"is gone, and left at work: process {left}. Wait for that to end"):
            campaign_lock.take(tmp_path, mine(), wait_s=0.5)
        assert campaign_lock.held_by(tmp_path) == holder
    finally:
        os.kill(left, signal.SIGKILL)


def test_the_forks_of_one_that_lives_are_no_leftovers():
    def process(pid, parent, command="c"):
        return leftovers.Process(pid, parent, 100 + pid, command)

    table = {
        found.pid: found for found in (process(1, 0, "init"), process(2, 1), process(3, 2), process(4, 1), process(5, 4), process(6, 1))
    }
    # 2 is ours with its fork 3; 4 lives with its fork 5, and 6 is alone
    assert leftovers.of_controller("c", 0, 2, table) == [4, 6]
    assert leftovers.of_controller("c", 105, 2, table) == [6]


@pytest.mark.parametrize("content", ["{}", "[]", "\x00", '{"plan": 1}', "half a li"])
def test_a_damaged_lock_is_named(tmp_path, content):
    (tmp_path / campaign_lock.NAME).write_text(content)
    with pytest.raises(LockError, match="campaign.lock can't be read.*empty that file"):
        campaign_lock.take(tmp_path, mine())


def _race(base, name, results):
    try:
        campaign_lock.take(base, Holder.of_process(name, os.getpid(), AT))
        results.put(name)
        time.sleep(2)
    except LockError:
        results.put(None)


def test_of_many_that_find_a_dead_ones_lock_one_gets_it(tmp_path):
    campaign_lock.take(tmp_path, dataclasses.replace(mine("dead"), pid_started=1, command="of another"))
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    racers = [fork.Process(target=_race, args=(tmp_path, f"racer-{index}", results)) for index in range(6)]
    for racer in racers:
        racer.start()
    winners = [name for name in (results.get(timeout=30) for _ in racers) if name]
    for racer in racers:
        racer.join(30)
    assert len(winners) == 1 and campaign_lock.held_by(tmp_path).plan == winners[0]
