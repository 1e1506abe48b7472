"""Only the application stalls: the services of the pod share a CPU quota with a task that uses it up now and then.

Parameters: quota_ms, period_ms, gap_s [low, high]. `at` is the pod.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from .. import cgroups
from . import injector
from .injector import Truth

GAP_SEEN_NS = 10_000_000


def apply(raised, fault: dict) -> None:
    group = cgroups.create(raised.prefix, int(fault["quota_ms"] * 1000), int(fault["period_ms"] * 1000))
    (group / "cgroup.procs").write_text(str(raised.pids["pod"]))
    arguments = {"gap_s": fault["gap_s"], "group": str(group), "comm": "batch-job"}
    raised.inject(fault, "throttle", arguments, netns="pod", cpus=raised.host_cpus[:1], priority=0)


def run(arguments: dict, truth: Truth) -> None:
    group = Path(arguments["group"])
    (group / "cgroup.procs").write_text(str(os.getpid()))
    os.nice(19)
    injector.ready(arguments)
    while True:
        injector.wait(arguments["gap_s"])
        truth.write(*_spin_until_throttled(group))


def _spin_until_throttled(group: Path) -> tuple[int, int]:
    """Use up the quota; a gap in a loop that never sleeps is the interval in which the group was throttled, or others had the CPU."""
    before = cgroups.throttled(group)
    last = time.time_ns()
    while True:
        now = time.time_ns()
        if now - last > GAP_SEEN_NS and cgroups.throttled(group) > before:
            return last, now
        last = now


if __name__ == "__main__":
    injector.main(run)
