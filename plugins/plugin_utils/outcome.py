# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's failure to start its observer or capture means, in words that name the cause and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import OBSERVE, Job

_NOT_FOUND = re.compile(r"(?:No such file or directory|not found)", re.IGNORECASE)
_SHELL_CODES = (126, 127)
CAPTURE_NEEDS = ("rx_trace", "recorder", "slow_calls")
_OLD_PYTHON = re.compile(r"ansible-core requires a minimum of Python|SyntaxError|f-strings|future feature annotations", re.IGNORECASE)


@dataclass(frozen=True)
class Failure:
    """Why a host is not measured, or not captured.

    `become`: becoming root may be what failed, so it is worth a try without. `may_run`: its job may have been started all the same.
    """

    stage: str
    reason: str
    remedy: str
    become: bool = False
    may_run: bool = False


TOO_LATE = Failure("start", "not reached before the window ended", "raise stall_lead_s, or the number of forks")
NOT_ASKED = Failure("start", "Ansible could not prepare its connection to the host, as it said above", "correct the variables of the host")


def interrupted(job: Job) -> Failure:
    return Failure("start", f"interrupted while its {job.noun} was started", "run diagnose again")


def stopped(job: Job) -> Failure:
    return Failure(job.name, "stopped before the window ended", "run diagnose again")


def of_unreachable(message: str) -> Failure:
    if "temporary directory" in message:
        return Failure(
            "start",
            "Ansible could not make its temporary directory on the host",
            "set ansible_pipelining to true, which needs none, or ansible_remote_tmp to a directory with room",
        )
    # What ssh itself said comes last.
    said = re.split(r"(?:via|over) ssh: ", _first_line(message))[-1]
    return Failure("connect", said, "check that ssh reaches the host with the user, key and port of the inventory")


def of_timeout(seconds: int) -> Failure:
    return Failure("start", f"no answer within {seconds} s", "log in to the host: something on it, or on the way, hangs", may_run=True)


def of_error(message: str) -> Failure:
    """An error that Ansible raised while it prepared or ran the module."""
    # What the become program said stands last, after a heading.
    reason = _last_line(message) if ">>> Standard" in message else _first_line(message)
    return Failure("start", reason, "see the whole error with -vvv", become=True)


def started(result: dict[str, Any], become: bool) -> dict[str, Any]:
    """What gather and stop must know of a job that was started; `lingers_s`: how long after the window its result may come."""
    job = result["job"]
    ends, deadline = (job.get(key) for key in ("ends_at_host", "deadline_at_host"))
    lingers_s = deadline - ends if isinstance(ends, (int, float)) and isinstance(deadline, (int, float)) else 0
    return {"state": "started", "become": become, "lingers_s": lingers_s, **{key: job[key] for key in ("dir", "result", "pid")}}


def narrowed(content: dict[str, Any]) -> list[str]:
    """Why a capture could not look at all that it should have, or had to make do, a reason once; what costs extra is left out of it."""
    capabilities = content.get("capabilities")
    found = [capabilities.get(name) for name in CAPTURE_NEEDS] if isinstance(capabilities, dict) else []
    reasons = [
        str(each.get("reason") or "no reason is known")
        for each in found
        if isinstance(each, dict) and not (each.get("available") and each.get("reason") is None)
    ]
    return list(dict.fromkeys(reasons))


def of_result(result: dict[str, Any], interpreter: str, job: Job = OBSERVE) -> Failure | None:
    """None if the module started its job and said where its result will be."""
    if not result.get("failed") and _is_job(result.get("job")):
        return None
    output = "\n".join(str(result.get(key) or "") for key in ("module_stderr", "module_stdout"))
    message = str(result.get("msg") or "")
    if "module_stdout" not in result and not _OLD_PYTHON.search(message):
        return Failure(
            job.name, _first_line(message) or "the module gave no reason", str(result.get("remedy") or "see the whole result with -vvv")
        )
    if _OLD_PYTHON.search(output + message):
        return Failure(
            "start",
            f"its Python is too old: {_first_line(message if 'module_stdout' not in result else _last_line(output))}",
            "set ansible_python_interpreter to a newer Python, or use ansible-core 2.16, which manages Python 3.6 and newer",
        )
    if result.get("rc") in _SHELL_CODES and _NOT_FOUND.search(output + message) and (interpreter or "python") in output + message:
        return Failure(
            "start",
            f"no Python: {interpreter or 'the interpreter'} is not there",
            "install python3 (3.6 or newer) on the host, or set ansible_python_interpreter to where it is",
        )
    reason = _last_line(output) or _first_line(message)
    return Failure("start", reason, "see the whole output with -vvv", become=True)


def _is_job(found: Any) -> bool:
    return (
        isinstance(found, dict) and isinstance(found.get("pid"), int) and all(isinstance(found.get(key), str) for key in ("dir", "result"))
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last_line(text: str) -> str:
    return _first_line("\n".join(reversed(text.splitlines())))
