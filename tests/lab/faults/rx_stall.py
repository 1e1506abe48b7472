"""The article's stall: a reader of an expensive procfs file keeps the receive queue's CPU inside one long system call.

The host's NAPI thread is pinned to the stall CPU. Now and then a SCHED_FIFO process there reads smaps_rollup (or pagemap) of a
process with much mapped memory; the kernel walks all its page tables in one read, and nothing else runs on that CPU meanwhile.

Parameters: length_ms [low, high], gap_s [low, high]; reader (smaps | pagemap).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable

from . import injector
from .injector import Truth

CHUNK = 64 * 2**20
PR_SET_PDEATHSIG = 1
PRIORITY = 50
FIRST_CHUNKS = 50
SMOOTHING = 0.3
COUNT = struct.Struct("I")
PAGEMAP_ENTRY = 8

# Makes the one system call; returns when it began and ended, in ns of CLOCK_REALTIME. What sleeps or faults was done before
Read = Callable[[], "tuple[int, int]"]


def apply(raised, fault: dict) -> None:
    thread = raised.pin_receive_queue(fault["at"])
    reader = fault.get("reader", "smaps")
    arguments = {"length_ms": fault["length_ms"], "gap_s": fault["gap_s"], "thread": thread, "reader": reader, "comm": f"{reader}-reader"}
    raised.inject(fault, "rx_stall", arguments, cpus=[raised.stall_cpu], priority=PRIORITY)


def run(arguments: dict, truth: Truth) -> None:
    mapper = Mapper()
    prepare = READERS[arguments["reader"]]
    start, end = prepare(mapper)()
    chunk_ns = (end - start) / mapper.chunks
    injector.ready(arguments)
    while True:
        due = time.monotonic() + injector.between(arguments["gap_s"])
        wanted_ns = injector.between(arguments["length_ms"]) * 1e6
        mapper.resize(round(wanted_ns / chunk_ns))
        read = prepare(mapper)
        time.sleep(max(0, due - time.monotonic()))
        with injector.lease(arguments["thread"]):
            start, end = read()
        truth.write(start, end)
        chunk_ns += SMOOTHING * ((end - start) / mapper.chunks - chunk_ns)


def smaps(mapper: Mapper) -> Read:
    """To read its smaps_rollup in one system call."""
    expensive = open(f"/proc/{mapper.pid}/smaps_rollup", "rb", buffering=0)  # noqa: SIM115 (closed once it is read)

    def read() -> tuple[int, int]:
        with expensive:
            start = time.time_ns()
            expensive.read(65536)
            return start, time.time_ns()

    return read


def pagemap(mapper: Mapper) -> Read:
    """To read its pagemap in one system call, as tools that estimate working sets do."""
    first, size = mapper.mapped()
    entries = mmap.mmap(-1, size // mmap.PAGESIZE * PAGEMAP_ENTRY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
    expensive = open(f"/proc/{mapper.pid}/pagemap", "rb", buffering=0)  # noqa: SIM115 (closed once it is read)

    def read() -> tuple[int, int]:
        with expensive, entries:
            start = time.time_ns()
            os.preadv(expensive.fileno(), [entries], first // mmap.PAGESIZE * PAGEMAP_ENTRY)
            return start, time.time_ns()

    return read


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

    def mapped(self) -> tuple[int, int]:
        """Where its mappings of the piece begin, and how many bytes they span."""
        with open(f"/proc/{self.pid}/maps") as maps:
            spans = [line.split()[0].split("-") for line in maps if "memfd:" in line]
        ends = [int(end, 16) for span in spans for end in span]
        return min(ends), max(ends) - min(ends)


READERS: dict[str, Callable[[Mapper], Read]] = {"smaps": smaps, "pagemap": pagemap}


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
