# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of this host and its units, through systemctl with a limit on its time."""

import os
import subprocess
import time
from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

BOOTED = "/run/systemd/system"
COMMAND = ["systemctl", "--no-pager"]
PATIENCE_S = 30.0
SAID_CHARS = 300
MOST_UNITS = 100
POLICIES = {"0": "other", "1": "fifo", "2": "rr", "3": "batch", "5": "idle"}
SHOWN = (
    "LoadState",
    "ActiveState",
    "ActiveEnterTimestampMonotonic",
    "NRestarts",
    "MainPID",
    "NeedDaemonReload",
    "DropInPaths",
    "CPUSchedulingPolicy",
)


def systemctl(*words: str) -> str:
    """What it prints. Raises Unavailable where systemd does not run the host, refuses or does not answer."""
    if not os.path.isdir(BOOTED):
        raise Unavailable("systemd does not run this host")
    try:
        done = subprocess.run(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
    except OSError as error:
        raise Unavailable(f"systemctl: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"systemctl did not answer within {PATIENCE_S:g} s") from None
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise Unavailable(f"systemctl {words[0]}: {said.strip()[:SAID_CHARS]}")
    return said


def failed() -> List[str]:
    """Names of the units that systemd calls failed, at most MOST_UNITS. Raises Unavailable."""
    return first_column(systemctl("list-units", "--state=failed", "--plain", "--no-legend", "--full"))[:MOST_UNITS]


def first_column(listed: str) -> List[str]:
    """Of `systemctl list-units`, without the dot that marks a failed one."""
    rows = (line.replace("●", " ").split() for line in listed.splitlines())
    return [row[0] for row in rows if row]


def properties(unit: str, *names: str) -> Dict[str, str]:
    """{name: value} of a unit; a unit that is not there has LoadState=not-found. Raises Unavailable."""
    lines = systemctl("show", *(f"--property={name}" for name in names), "--", unit).splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def unit(name: str) -> Dict[str, Any]:
    """{load "loaded"|"not-found"|.., active "active"|"failed"|.., started_s_ago|null, started_at|null, restarts|null, main_pid|null,
    needs_reload, drop_ins [path, ..], policy|null}.

    started_s_ago: seconds since it last became active, started_at: the same in epoch seconds of the host's clock; needs_reload: its files
    have changed since systemd read them, as far as it notices; drop_ins: those that it has read, of which it does not notice the first one
    in a new directory; policy: the one that it starts its processes with. Raises Unavailable.
    """
    return described(properties(name, *SHOWN), float(text("/proc/uptime").split()[0]), time.time())


def described(shown: Dict[str, str], uptime_s: float, now: float) -> Dict[str, Any]:
    entered = _natural(shown.get("ActiveEnterTimestampMonotonic"))
    active, policy = shown.get("ActiveState"), shown.get("CPUSchedulingPolicy", "")
    age_s = uptime_s - entered / 1e6 if entered and active == "active" else None
    return {
        "load": shown.get("LoadState"),
        "active": active,
        "started_s_ago": None if age_s is None else round(age_s, 1),
        "started_at": None if age_s is None else round(now - age_s, 1),
        "restarts": _natural(shown.get("NRestarts")),
        "main_pid": _natural(shown.get("MainPID")) or None,
        "needs_reload": shown.get("NeedDaemonReload") == "yes",
        "drop_ins": shown.get("DropInPaths", "").split(),
        "policy": POLICIES.get(policy, policy or None),
    }


def _natural(value: Optional[str]) -> Optional[int]:
    return int(value) if value and value.isdecimal() else None
