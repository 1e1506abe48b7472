# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forks that outlive a controller killed with -9: each still ends the one task it was at, which nobody else may begin meanwhile.

A fork keeps the command line of its controller, and its parent is no longer one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """`started`: clock ticks since boot. `command`: a digest, since a command line can hold secrets."""

    pid: int
    parent: int
    started: int
    command: str


def of(pid: int) -> Process | None:
    """A process that is at work, None if there is none of that number, or it is only waiting to be reaped."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # The name in parentheses can hold anything.
    fields = content.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), int(fields[19]), hashlib.sha256(command).hexdigest())


def at_work() -> dict[int, Process]:
    """Every process of this machine that can be seen."""
    return {process.pid: process for name in os.listdir("/proc") if name.isdecimal() and (process := of(int(name)))}


def of_controller(command: str, started: int, own: int, processes: Mapping[int, Process]) -> list[int]:
    """What a controller that is gone left at work.

    :param command: digest of its command line
    :param started: when it was
    :param own: the process that plays now, which may have the same command line
    """
    return [
        process.pid
        for process in processes.values()
        if process.command == command
        and process.started >= started
        and own not in (process.pid, *_ancestors(process, processes))
        and not any(processes[parent].command == command for parent in _ancestors(process, processes))
    ]


def _ancestors(process: Process, processes: Mapping[int, Process]) -> Iterator[int]:
    seen = {process.pid}
    while process.parent in processes and process.parent not in seen:
        process = processes[process.parent]
        seen.add(process.pid)
        yield process.pid
