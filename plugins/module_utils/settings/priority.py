# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy and niceness of the threads of a process, as text: "fifo 50 nice 0", "other 0 nice 10", "rr 1 nice 0 reset_on_fork"."""

import os
from typing import Any, Dict, List, NamedTuple

from ansible_collections.fleet.stall.plugins.module_utils import process
from ansible_collections.fleet.stall.plugins.module_utils.settings import seen
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Change, Place
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

# sched(7); Python has no name for the deadline policy, nor a way to give it
NUMBERS = {"other": 0, "fifo": 1, "rr": 2, "batch": 3, "idle": 5, "deadline": 6}
NAMES = {number: name for name, number in NUMBERS.items()}
REAL_TIME = ("fifo", "rr", "deadline")
RESET_ON_FORK = 0x40000000
RESET = "reset_on_fork"
MOST_THREADS = 10000


class Priority(NamedTuple):
    policy: str
    real_time: int
    nice: int
    reset: bool

    @classmethod
    def of(cls, value: str) -> "Priority":
        policy, real_time, _, nice, *more = value.split()
        return cls(policy, int(real_time), int(nice), RESET in more)

    def text(self) -> str:
        return f"{self.policy} {self.real_time} nice {self.nice}{' ' + RESET if self.reset else ''}"


class Thread(Place):
    """A thread, by its number and start time."""

    kind = "thread"

    def __init__(self, pid: int, tid: int, start_ticks: int, comm: str = "") -> None:
        self.pid, self.tid, self.start_ticks, self.comm = pid, tid, start_ticks, comm

    def described(self) -> Dict[str, Any]:
        return {"pid": self.pid, "tid": self.tid, "start_ticks": self.start_ticks}

    def label(self) -> str:
        name = f"{self.comm} (pid {self.pid})" if self.comm else f"process {self.pid}"
        return name if self.tid == self.pid else f"{name}, thread {self.tid}"

    def exists(self) -> bool:
        return process.is_alive({"pid": self.tid, "start_ticks": self.start_ticks})

    def _must_exist(self) -> None:
        if not self.exists():
            raise Unfit("has ended")

    def read(self) -> str:
        number = os.sched_getscheduler(self.tid)
        policy = NAMES.get(number & ~RESET_ON_FORK)
        if policy is None:
            raise Unfit(f"has the scheduling policy {number}, which is not known here")
        real_time = os.sched_getparam(self.tid).sched_priority
        found = Priority(policy, real_time, os.getpriority(os.PRIO_PROCESS, self.tid), bool(number & RESET_ON_FORK))
        self._must_exist()
        return found.text()

    def write(self, value: str) -> None:
        wanted = Priority.of(value)
        if wanted.policy == "deadline":
            raise Unfit("can't be given the deadline policy again: its program asks for that with its times, so restart it")
        self._must_exist()
        number = NUMBERS[wanted.policy] | (RESET_ON_FORK if wanted.reset else 0)
        os.sched_setscheduler(self.tid, number, os.sched_param(wanted.real_time))
        os.setpriority(os.PRIO_PROCESS, self.tid, wanted.nice)


def priority(setting: Dict[str, Any]) -> List[Change]:
    """Changes of the threads of the process `pid`, `comm` that ran `seen_s_ago`: no real-time policy, and at least `nice`. Raises Unfit."""
    pid, comm = setting["pid"], setting["comm"]
    seen.verified(pid, comm, setting["seen_s_ago"])
    policy, nice = setting.get("policy") or "other", setting.get("nice")

    def want(current: str, _was: str) -> str:
        now = Priority.of(current)
        ordinary = now.policy if now.policy not in REAL_TIME and policy == "other" else policy
        return Priority(ordinary, 0, now.nice if nice is None else max(now.nice, nice), now.reset).text()

    return [Change(thread, want, optional=True) for thread in _threads(pid, comm)]


def _threads(pid: int, comm: str) -> List[Thread]:
    found = []
    for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task")))[:MOST_THREADS]:
        try:
            found.append(Thread(pid, tid, process.identity(tid)["start_ticks"], comm))
        except OSError:
            continue  # it ended meanwhile
    return found
