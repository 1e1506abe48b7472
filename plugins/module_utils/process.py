# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes by identity (id and start time), so that a reused id is never taken for the process that had it before."""

import os
import signal
import time
from typing import Any, Dict, Optional

PR_SET_PDEATHSIG = 1


def identity(pid: int) -> Dict[str, int]:
    """{pid, start_ticks} of a process; start_ticks is field 22 of /proc/PID/stat. Raises OSError if there is none."""
    return {"pid": pid, "start_ticks": _start_ticks(pid)}


def is_alive(who: Dict[str, int]) -> bool:
    """Whether the very process still runs. A zombie does not."""
    try:
        return _start_ticks(who["pid"]) == who["start_ticks"]
    except (OSError, ValueError):
        return False


def _start_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name in parentheses may hold anything, so count from behind it: state is field 3.
        fields = file.read().rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X"):
        raise ProcessLookupError(pid)
    return int(fields[22 - 3])


def end(who: Dict[str, int], patience_s: float) -> bool:
    """End a process: SIGTERM, and after `patience_s` SIGKILL to its group. True if it was alive."""
    if not is_alive(who):
        return False
    _send(os.kill, who, signal.SIGTERM)
    until = time.monotonic() + patience_s
    while is_alive(who) and time.monotonic() < until:
        time.sleep(0.02)
    if is_alive(who):
        _send(os.killpg if _leads_group(who["pid"]) else os.kill, who, signal.SIGKILL)
    return True


def _send(how: Any, who: Dict[str, int], number: int) -> None:
    try:
        how(who["pid"], number)
    except ProcessLookupError:
        pass


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies. A Python without ctypes can't ask for that: its deadlines remain."""
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except ImportError:
        pass
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def write_own(name: str, value: str) -> Optional[str]:
    """Write to a file of /proc/self; returns why that failed, None if it did not. None of these is worth failing for."""
    try:
        with open(f"/proc/self/{name}", "w") as file:
            file.write(value)
    except OSError as error:
        return str(error)
    return None
