"""A real-time task that spins in user space on the receive queue's CPU, above the NAPI thread.

Parameters: length_ms [low, high], gap_s [low, high].
"""

from __future__ import annotations

import time

from . import injector
from .injector import Truth

PRIORITY = 50


def apply(raised, fault: dict) -> None:
    thread = raised.pin_receive_queue(fault["at"])
    arguments = {"length_ms": fault["length_ms"], "gap_s": fault["gap_s"], "thread": thread, "comm": "rt-hog"}
    raised.inject(fault, "rt_hog", arguments, cpus=[raised.stall_cpu], priority=PRIORITY)


def run(arguments: dict, truth: Truth) -> None:
    injector.ready(arguments)
    while True:
        injector.wait(arguments["gap_s"])
        length_ns = injector.between(arguments["length_ms"]) * 1e6
        with injector.lease(arguments["thread"]):
            start = time.time_ns()
            while time.time_ns() - start < length_ns:
                pass
            end = time.time_ns()
        truth.write(start, end)


if __name__ == "__main__":
    injector.main(run)
