# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One observation, start to end: probes in this process, counters in another, one result."""

import contextlib
import os
import platform
import resource
import time
import traceback
from typing import Any, Callable, Dict, Optional

from ansible_collections.fleet.stall.plugins.module_utils import engine
from ansible_collections.fleet.stall.plugins.module_utils.counters import kernel
from ansible_collections.fleet.stall.plugins.module_utils.plan import SCHEMA_VERSION
from ansible_collections.fleet.stall.plugins.module_utils.sampler import Sampler

# What encoding and writing the result may take before the watchdog's deadline.
WRITING_S = 1.5
# Ahead of what the host does, for a prober that runs late sees nothing; it needs a few percent of one CPU.
PROBER_NICENESS = -10


def observe(plan: Dict[str, Any], should_stop: Callable[[], bool], deadline: float) -> Dict[str, Any]:
    """The content of observe.json, without its size limit. `plan` is in local time; `deadline` is in seconds of time.monotonic().

    Whatever goes wrong inside is a result, too: status "failed", with the last line of the traceback as the reason.
    """
    began = time.monotonic()
    result = _head(plan)
    try:
        result.update(_measure(plan, should_stop, deadline))
        result.update(_status(result))
    except Exception as error:
        result.update(failed(reason_of(error)))
    result["cost"] = _cost(began)
    return result


def _measure(plan: Dict[str, Any], should_stop: Callable[[], bool], deadline: float) -> Dict[str, Any]:
    offset = time.monotonic() - time.time()
    ends = plan["ends_at"] + offset
    sampler = Sampler(plan["starts_at"] + offset, ends) if plan.get("counters", True) else None
    _go_ahead()
    try:
        measured = engine.run(plan, should_stop)
    finally:
        if sampler and time.monotonic() < ends:
            sampler.hurry()
        counters = sampler.result(deadline - WRITING_S) if sampler else {}
    measured["clock"]["skew_s"] = plan["skew_s"]
    if should_stop():
        measured.setdefault("warnings", []).append("the observer was told to end before the window did")
    return dict(measured, counters=counters)


def _go_ahead() -> None:
    with contextlib.suppress(OSError):  # only root may
        os.setpriority(os.PRIO_PROCESS, 0, PROBER_NICENESS)


def _status(result: Dict[str, Any]) -> Dict[str, Any]:
    if result["clock"]["observed_s"] <= 0:
        return failed("the observer was ended before the window began, or began when it was over")
    return {"status": "measured", "reason": None}


def failed(reason: str) -> Dict[str, Any]:
    """The part of a result that says that nothing was measured, and why."""
    return {"status": "failed", "reason": reason, "flows": []}


def nothing(plan: Dict[str, Any], reason: str) -> Dict[str, Any]:
    """The whole of a result where there is no observer to write it."""
    return dict(_head(plan), **failed(reason))


def _head(plan: Dict[str, Any]) -> Dict[str, Any]:
    head = {"schema_version": SCHEMA_VERSION, "run": plan["run"], "host": plan["host"]}
    return dict(head, boot_id=boot_id(), versions=versions())


def boot_id() -> Optional[str]:
    """The kernel's id of this boot: what was measured is not said of the next one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return None


def reason_of(error: BaseException) -> str:
    """The last line of the traceback, and where it happened: "ValueError: bad address (engine.py, line 31)"."""
    line = traceback.format_exception_only(type(error), error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{line} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else line


def versions() -> Dict[str, Optional[str]]:
    """{kernel, preemption, python, machine}"""
    found = kernel.read()
    return {
        "kernel": found["release"],
        "preemption": found["preemption"],
        "python": platform.python_version(),
        "machine": found["machine"],
    }


def _cost(began: float) -> Dict[str, Any]:
    """{cpu_s, rss_kb, wall_s} of this process and its children; rss_kb is the sum of the largest each has been."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 3),
        "rss_kb": own.ru_maxrss + children.ru_maxrss,
        "wall_s": round(time.monotonic() - began, 3),
    }
