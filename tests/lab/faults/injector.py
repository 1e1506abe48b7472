"""What every fault that acts in time has in common: where it runs, how long it lives, and the truth it writes.

Truth: one JSON object a line, `{start_ns, end_ns, kind, pid, comm, cpu}`, the interval in which the packets (or the service) were
really held, in nanoseconds of CLOCK_REALTIME, and who held them where.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LIFETIME_S = 1200
REGISTRY = Path("/run/fleet-stall-lab")
READY = b"ready"
# What a receive thread takes for its backlog; the next fault would move it off its CPU
DRAIN_S = 0.01
APART_S = 0.1


class Truth:
    """Appends the stalls that were made to a file."""

    def __init__(self, path: str, kind: str, comm: str) -> None:
        self._out = open(path, "a", buffering=1)  # noqa: SIM115 (lives as long as the process)
        self._who = {"kind": kind, "pid": os.getpid(), "comm": comm, "cpu": min(os.sched_getaffinity(0))}

    def write(self, start_ns: int, end_ns: int) -> None:
        print(json.dumps({"start_ns": start_ns, "end_ns": end_ns, **self._who}), file=self._out)


def main(run: Callable[[dict, Truth], None]) -> None:
    """Entry of an injector program: `argv[1]` is its arguments as JSON.

    Common arguments: kind, truth (path), cpus, ready_fd, seed; priority (SCHED_FIFO, 0 for none); comm.
    """
    arguments = json.loads(sys.argv[1])
    Path("/proc/self/comm").write_text(arguments["comm"])
    os.sched_setaffinity(0, arguments["cpus"])
    if arguments["priority"]:
        _real_time(arguments["priority"])
    signal.alarm(LIFETIME_S)
    random.seed(arguments["seed"])
    run(arguments, Truth(arguments["truth"], arguments["kind"], arguments["comm"]))


def _real_time(priority: int) -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        sys.exit("SCHED_FIFO is refused: run with CAP_SYS_NICE, and in a CPU control group with real-time runtime (cpu.rt_runtime_us)")


def ready(arguments: dict) -> None:
    """Tell `up` that stalls begin now."""
    os.write(arguments["ready_fd"], READY)
    os.close(arguments["ready_fd"])


def between(bounds: list[float]) -> float:
    return random.uniform(*bounds)


@contextmanager
def lease(own: int) -> Iterator[None]:
    """Have the stall CPU alone: one fault at a time, the receive threads of all other hosts moved off it.

    Without it the stalls of one host would be those of every host that shares the CPU, and the truth would lie.
    `own`: pid of the receive thread that is to be stalled.
    """
    cpu = os.sched_getaffinity(0)
    with (REGISTRY / "stall-cpu").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _wait_apart(handle)
        others = [pid for pid in receive_threads() if pid != own]
        elsewhere = set(range(os.cpu_count() or 1)) - cpu
        for pid in others:
            _move(pid, elsewhere)
        _move(own, cpu)  # whoever moved it away may have been killed before moving it back
        try:
            yield
            time.sleep(DRAIN_S)
        finally:
            for pid in others:
                _move(pid, cpu)
            handle.truncate(0)
            handle.write(str(time.monotonic()))


def _wait_apart(handle: TextIO) -> None:
    """Until the stall before is so long ago that no probe can take the two for one. The handle holds when that was."""
    handle.seek(0)
    last = float(handle.read() or 0)
    time.sleep(min(APART_S, max(0.0, last + APART_S - time.monotonic())))


def receive_threads() -> list[int]:
    """The NAPI threads of faulty hosts on this machine, of all labs."""
    return [int(path.name.partition("-")[2]) for path in (REGISTRY / "napi").glob("*-*")]


def _move(pid: int, cpus: set[int]) -> None:
    try:
        os.sched_setaffinity(pid, cpus)
    except OSError:
        pass  # its lab went down meanwhile


def wait(bounds: list[float]) -> None:
    time.sleep(between(bounds))
