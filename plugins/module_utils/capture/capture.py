# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One capture, start to end: whatever becomes of it is the content of capture.json."""

import os
import resource
import time
from typing import Any, Callable, Dict

from ansible_collections.fleet.stall.plugins.module_utils import observer
from ansible_collections.fleet.stall.plugins.module_utils.capture import session, tools
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import monotonic_ns


def capture(
    plan: Dict[str, Any],
    should_stop: Callable[[], bool],
    workdir: str,
    of: Callable[[Dict[str, Any], str], session.Session] = session.Session,
) -> Dict[str, Any]:
    """The content of capture.json, without its size limit. `plan` is in local time; `of`: what makes the session.

    Whatever goes wrong inside is a result, too: status "failed", with the last line of the traceback as the reason.
    """
    began = time.monotonic()
    found = head(plan)
    try:
        os.mkdir(workdir, 0o700)
        held = of(plan, workdir)
        found["versions"].update(tools.versions())
        started_ns = monotonic_ns()
        held.watch(should_stop)
        ended_ns = monotonic_ns()
        observed_s = max(0.0, (ended_ns - max(started_ns, int(held.starts * 1e9))) / 1e9)
        found.update(held.result())
        found["clock"] = {
            "started_ns": held.clock.real(started_ns),
            "ended_ns": held.clock.real(ended_ns),
            "observed_s": round(observed_s, 3),
            "skew_s": plan["skew_s"],
        }
        found.update(status="measured", reason=None)
        if observed_s <= 0:
            found.update(status="failed", reason="the capture was ended before the window began")
        found["cost"] = cost(began, held)
    except Exception as error:
        found.update(failed(observer.reason_of(error)))
    return found


def head(plan: Dict[str, Any]) -> Dict[str, Any]:
    return {"schema_version": 1, "run": plan["run"], "host": plan["host"], "versions": observer.versions()}


def failed(reason: str) -> Dict[str, Any]:
    """The part of a result that says that nothing was captured, and why."""
    return {"status": "failed", "reason": reason}


def cost(began: float, held: session.Session) -> Dict[str, Any]:
    """`cost` of capture.json. What the tracer's program costs in the kernel is spent by those whom it traces: an estimate, apart."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_s": round(session.rusage_s(), 3),
        "setup_cpu_s": round(held.setup_cpu_s, 3),
        "window_cpu_s": held.window_cpu_s,
        "traced_calls_cpu_s": round(held.traced_calls_cpu_s, 3),
        "rss_kb": own.ru_maxrss + children.ru_maxrss,
        "wall_s": round(time.monotonic() - began, 3),
        "bytes_written": held.recorder.bytes_written + held.rx.bytes_written,
    }
