"""A hung host: port 22 accepts connections and never says a word; the kernel still answers."""

from __future__ import annotations

import asyncio
import os
import signal

from . import injector
from .injector import Truth


def apply(raised, fault: dict) -> None:
    os.kill(raised.pids[fault["at"]], signal.SIGKILL)
    os.waitpid(raised.pids[fault["at"]], 0)
    raised.inject(fault, "silent_sshd", {"comm": "sshd-hung"}, cpus=raised.host_cpus, priority=0)


async def _serve(arguments: dict) -> None:
    await asyncio.get_running_loop().create_server(asyncio.Protocol, None, 22)
    injector.ready(arguments)
    await asyncio.Event().wait()


def run(arguments: dict, truth: Truth) -> None:
    asyncio.run(_serve(arguments))


if __name__ == "__main__":
    injector.main(run)
