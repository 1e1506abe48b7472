"""The innocent: a process that is busy in user space and in short system calls, on the receive queue's CPU, at ordinary priority.

It holds nobody up, but its name stands over most samples of that CPU. Its system calls are at times cut in two by whoever stalls that CPU,
and look slow then.

Parameters: share (of the CPU, 0..1).
"""

from __future__ import annotations

import os
import time
import zlib

from . import injector
from .injector import Truth

ROUND_S = 0.02
PIECE = bytes(65536)
# Pieces computed on a round of system calls: some ten thousand calls a second, fewer than a capture gives up looking at
COMPUTED = 4


def apply(raised, fault: dict) -> None:
    raised.pin_receive_queue(fault["at"])
    arguments = {"share": fault["share"], "comm": "log-shipper"}
    raised.inject(fault, "busy", arguments, cpus=[raised.stall_cpu], priority=0)


def run(arguments: dict, truth: Truth) -> None:
    injector.ready(arguments)
    with open("/dev/zero", "rb", buffering=0) as zeros, open(os.devnull, "wb", buffering=0) as nothing:
        while True:
            end = time.monotonic() + ROUND_S * arguments["share"]
            while time.monotonic() < end:
                nothing.write(zeros.read(len(PIECE)))
                os.stat("/proc/self/status")
                for _ in range(COMPUTED):
                    zlib.crc32(PIECE)
            time.sleep(ROUND_S * (1 - arguments["share"]))


if __name__ == "__main__":
    injector.main(run)
