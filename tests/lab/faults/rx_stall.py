"""The article's stall: a reader of an expensive procfs file keeps the receive queue's CPU inside one long system call.

The host's NAPI thread is pinned to the stall CPU. Now and then a SCHED_FIFO process there reads smaps_rollup of a process
with much mapped memory; the kernel walks all its page tables in one read, and nothing else runs on that CPU meanwhile.

Parameters: length_ms [low, high], gap_s [low, high].
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import time

from . import injector
from .injector import Truth

CHUNK = 64 * 2**20
PR_SET_PDEATHSIG = 1
PRIORITY = 50
FIRST_CHUNKS = 50
SMOOTHING = 0.3
COUNT = struct.Struct("I")


def apply(raised, fault: dict) -> None:
    thread = raised.pin_receive_queue(fault["at"])
    arguments = {"length_ms": fault["length_ms"], "gap_s": fault["gap_s"], "thread": thread, "comm": "smaps-reader"}
    raised.inject(fault, "rx_stall", arguments, cpus=[raised.stall_cpu], priority=PRIORITY)


def run(arguments: dict, truth: Truth) -> None:
    mapper = Mapper()
    start, end = mapper.read()
    chunk_ns = (end - start) / mapper.chunks
    injector.ready(arguments)
    while True:
        due = time.monotonic() + injector.between(arguments["gap_s"])
        wanted_ns = injector.between(arguments["length_ms"]) * 1e6
        mapper.resize(round(wanted_ns / chunk_ns))
        time.sleep(max(0, due - time.monotonic()))
        with injector.lease(arguments["thread"]):
            start, end = mapper.read()
        truth.write(start, end)
        chunk_ns += SMOOTHING * ((end - start) / mapper.chunks - chunk_ns)


class Mapper:
    """A process with so much mapped memory that the kernel takes long to sum it up.

    It maps one piece of memory over and over, so it costs page tables only.
    """

    def __init__(self) -> None:
        (orders, self._orders), (self._done, done) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _serve(orders, done)
        os.close(orders)
        os.close(done)
        self.resize(FIRST_CHUNKS)

    def resize(self, chunks: int) -> None:
        """Have it map that many chunks; the longer, the longer a read takes."""
        self.chunks = max(1, chunks)
        os.write(self._orders, COUNT.pack(self.chunks))
        if not os.read(self._done, 1):
            raise RuntimeError("the process with much mapped memory has died")

    def read(self) -> tuple[int, int]:
        """Read its smaps_rollup in one system call; returns when that began and ended, in ns of CLOCK_REALTIME."""
        with open(f"/proc/{self.pid}/smaps_rollup", "rb", buffering=0) as expensive:
            start = time.time_ns()
            expensive.read(65536)
            return start, time.time_ns()


def _serve(orders: int, done: int) -> None:
    """The process itself: at ordinary priority, so that it never gets in the way of the receive thread."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with open("/proc/self/comm", "w") as comm:
        comm.write("mapper")
    shared = os.memfd_create("shared")
    os.ftruncate(shared, CHUNK)
    mapped: list[mmap.mmap] = []
    while order := os.read(orders, COUNT.size):
        (wanted,) = COUNT.unpack(order)
        while len(mapped) > wanted:
            mapped.pop().close()
        while len(mapped) < wanted:
            mapped.append(mmap.mmap(shared, CHUNK, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ))
        os.write(done, b"x")
    os._exit(0)


if __name__ == "__main__":
    injector.main(run)
