# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One campaign a fleet: a file in the runs directory says which, and holds for as long as the process that wrote it lives."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.fleet.stall.plugins.plugin_utils import leftovers
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

NAME = "campaign.lock"
_FIELDS = ("plan", "controller", "controller_boot_id", "pid", "pid_started", "command", "at")
LEFTOVERS_S = 60.0
_LOOK_S = 0.2


class LockError(Exception):
    """Another campaign is at work, or that can't be told; the message names it and the remedy."""


@dataclass(frozen=True)
class Holder:
    """Who works on the fleet. `pid_started`: clock ticks since boot, to tell processes of one number apart; `command`: a digest."""

    plan: str
    controller: str
    controller_boot_id: str
    pid: int
    pid_started: int
    command: str
    at: str

    @classmethod
    def of_process(cls, plan: str, pid: int, at: str) -> Holder:
        """For a process of this controller."""
        process = leftovers.of(pid)
        started_at, command = (process.started, process.command) if process else (0, "")
        return cls(plan, platform.node(), _boot_id(), pid, started_at, command, at)

    def is_process_of(self, other: Holder) -> bool:
        keys = ("controller", "controller_boot_id", "pid", "pid_started")
        return all(getattr(self, key) == getattr(other, key) for key in keys)


def take(base: Path, wanted: Holder, force: bool = False, wait_s: float = LEFTOVERS_S) -> str:
    """Take the lock, or find that it is ours. A sentence where a dead one's was taken over, else empty. Raises LockError.

    :param force: take it whoever has it
    :param wait_s: how long the forks that a dead one left may take to end
    """
    said = ""

    def decide(holder: Holder | None) -> Holder:
        nonlocal said
        if holder is None or holder.is_process_of(wanted):
            return wanted
        if because := refusal(holder, wanted, started):
            if not force:
                raise LockError(f"{base / NAME}: {because}")
            said = f"The lock of {_named(holder)} was taken away from it, as stall_unlock asks."
        else:
            _outlast(base, holder, wanted, wait_s)
            said = f"The lock of {_named(holder)} was taken over: that process is gone."
        return wanted

    _change(base, decide)
    return said


def release(base: Path, holder: Holder) -> None:
    """Give it back, if it is still ours. Raises LockError."""
    _change(base, lambda found: None if found and found.is_process_of(holder) else found)


def held_by(base: Path) -> Holder | None:
    """Raises LockError."""
    try:
        return _parsed((base / NAME).read_bytes(), base / NAME)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(base, error) from error


def refusal(holder: Holder, wanted: Holder, started_at: Callable[[int], int | None]) -> str:
    """Why the lock of another may not be taken; empty if its process is gone."""
    if holder.controller != wanted.controller:
        return (
            f"{_named(holder)} works on this fleet, and from here it can't be told whether it still does. "
            "Look there; if it does not, take the lock with -e stall_unlock=true."
        )
    alive = holder.controller_boot_id == wanted.controller_boot_id and started_at(holder.pid) == holder.pid_started
    return f"{_named(holder)} works on this fleet: wait for it to end, or end it." if alive else ""


def started(pid: int) -> int | None:
    """When a process of this machine was started, in clock ticks since boot; None if there is none."""
    process = leftovers.of(pid)
    return process.started if process else None


def _outlast(base: Path, holder: Holder, wanted: Holder, wait_s: float) -> None:
    """Wait for what a controller that was killed left at work. Raises LockError."""
    if holder.controller_boot_id != wanted.controller_boot_id:
        return
    deadline = time.monotonic() + wait_s
    while left := leftovers.of_controller(holder.command, holder.pid_started, wanted.pid, leftovers.at_work()):
        if time.monotonic() > deadline:
            raise LockError(
                f"{base / NAME}: {_named(holder)} is gone, and left at work: process {and_more([str(pid) for pid in left])}. "
                "Wait for that to end, or end it, and run this again."
            )
        time.sleep(_LOOK_S)


def _change(base: Path, decide: Callable[[Holder | None], Holder | None]) -> None:
    """Read, decide and write as one, so that of two that find a dead one's lock only one gets it."""
    path = base / NAME
    try:
        base.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            found = _parsed(stream.read(), path)
            holder = decide(found)
            if holder != found:
                _write(stream, holder)
    except OSError as error:
        raise _unusable(base, error) from error


def _write(stream: BinaryIO, holder: Holder | None) -> None:
    content = json.dumps(asdict(holder)).encode() + b"\n" if holder else b""
    stream.seek(0)
    stream.write(content)
    stream.truncate()
    stream.flush()
    os.fsync(stream.fileno())


def _parsed(content: bytes, path: Path) -> Holder | None:
    if not content.strip():
        return None
    try:
        row: Mapping[str, Any] = json.loads(content)
        return Holder(**{key: row[key] for key in _FIELDS})
    except (ValueError, KeyError, TypeError) as error:
        raise LockError(
            f"{path} can't be read ({printable(error, 80)}): look whether a campaign is at work, and empty that file if there is none."
        ) from error


def _named(holder: Holder) -> str:
    where = f"process {holder.pid} of {printable(holder.controller, 80)}"
    return f"campaign {printable(holder.plan, 80)} ({where}, since {printable(holder.at, 40)})"


def _unusable(base: Path, error: OSError) -> LockError:
    return LockError(f"{base / NAME} can't be used: {error.strerror}. Set stall_runs_dir to a directory you can write to.")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
