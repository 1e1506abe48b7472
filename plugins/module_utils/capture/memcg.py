# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory cgroups: how many, how many of them dying, and how long one read of the root's memory.stat holds a CPU.

The read is the causal test for stalls by dying memory cgroups, and it can itself be the stall: on a sick host it holds a CPU for as long
as those that are looked into, now. So it is made once, at the lowest priority, on a CPU that serves no queue of the probes (queues that
are not probed may still be served there), by a process of its own. Once in the kernel it can't be taken back: after the timeout the
process is killed, but dies only when the read is over. With a timeout of 0 nothing is read.
"""

import os
import select
import signal
import struct
import time
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import process
from ansible_collections.fleet.stall.plugins.module_utils.counters import cgroupfs, cgroups
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, online_cpus, text

LOWEST = 19
READ_BYTES = 1 << 20
MOST_CHILDREN = 1000
ANSWER = struct.Struct("=qq")  # ns on the CPU or -1, then errno


def measure(avoid_cpus: Iterable[int], timeout_s: float) -> Dict[str, Any]:
    """`memory_cgroups` of capture.json: {live, dying, read_ms, read_cpu, read_path, reason}.

    read_ms: time on the CPU, since at the lowest priority a busy CPU would make any read long. `reason` says why a number is missing.
    """
    found: Dict[str, Any] = {"live": None, "dying": None, "read_ms": None, "read_cpu": None, "read_path": None, "reason": None}
    reasons: List[Optional[str]] = []
    try:
        counts = cgroups.read()["memory"]
        found.update(live=counts["live"], dying=counts["dying"])
        reasons.append(counts["reason"])
    except (Unavailable, OSError, ValueError) as error:
        reasons.append(str(error))
    if timeout_s > 0:
        reasons.append(_read(found, set(avoid_cpus), timeout_s))
    else:
        reasons.append("the timed read of memory.stat was switched off")
    found["reason"] = "; ".join(reason for reason in reasons if reason) or None
    return found


def _read(found: Dict[str, Any], avoid: "set[int]", timeout_s: float) -> Optional[str]:
    """Fill in the three fields of the read; returns why they are not all there."""
    try:
        path = statistics(cgroupfs.hierarchies())
        cpu = free_cpu(avoid, online_cpus(), os.sched_getaffinity(0))
    except (Unavailable, OSError, ValueError) as error:
        return str(error)
    found.update(read_path=path, read_cpu=cpu)
    try:
        spent_ns = timed(path, cpu, timeout_s)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    if spent_ns is None:
        return (
            f"the read of {path} was not over after {timeout_s:g} s (a long read, or CPU {cpu} has no time for the lowest priority); "
            "its process was killed, and dies when the kernel is done with it"
        )
    found["read_ms"] = round(spent_ns / 1e6, 3)
    return None


def statistics(mounted: List[cgroupfs.Hierarchy]) -> str:
    """The memory.stat that covers most: the root's; where v2 has none at its root (before 5.8), that of the child with most below it.

    Raises Unavailable.
    """
    hierarchy = cgroupfs.with_controller(mounted, "memory") or cgroupfs.unified(mounted)
    if hierarchy is None:
        raise Unavailable("no memory cgroup hierarchy is mounted")
    path = f"{hierarchy.path}/memory.stat"
    if os.path.exists(path):
        return path
    walk = iter(cgroupfs.Walk(hierarchy.path, cgroups.WALK_S, MOST_CHILDREN))
    depth = hierarchy.path.count("/") + 1
    children = [child for child in walk if child.count("/") == depth and os.path.exists(f"{child}/memory.stat")]
    if not children:
        raise Unavailable(f"no memory.stat in {hierarchy.path}: the memory controller is not enabled there")
    return max(children, key=_below) + "/memory.stat"


def _below(path: str) -> int:
    try:
        numbers = cgroupfs.keyed_numbers(text(f"{path}/cgroup.stat"))
    except Unavailable:
        return 0
    return numbers.get("nr_descendants", 0) + numbers.get("nr_dying_descendants", 0)


def free_cpu(avoid: "set[int]", online: Iterable[int], allowed: "set[int]") -> int:
    """The CPU for the read: the last that is online, ours to use and not to be avoided. Raises Unavailable if there is none."""
    free = set(online) & allowed - avoid
    if not free:
        raise Unavailable("memory.stat was not read: every CPU that may be used serves a queue of the probes")
    return max(free)


def timed(path: str, cpu: int, timeout_s: float) -> Optional[int]:
    """Nanoseconds on the CPU that one read of the file took; None if it was not over in time. Raises OSError as the read did."""
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, ANSWER.pack(*_timed(path, cpu, parent)))
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], timeout_s)
    answer = os.read(reading, ANSWER.size) if ready else b""
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    # In the kernel's hands it may take its time to die; whoever reaps us then reaps it.
    os.waitpid(child, 0 if ready else os.WNOHANG)
    if not ready:
        return None
    if len(answer) < ANSWER.size:
        raise OSError("the process that was to read it died")
    spent_ns, code = ANSWER.unpack(answer)
    if code:
        raise OSError(code, os.strerror(code))
    return spent_ns


def _timed(path: str, cpu: int, parent: int) -> Tuple[int, int]:
    try:
        process.die_with(parent)
        os.nice(LOWEST)
        os.sched_setaffinity(0, {cpu})
        file = os.open(path, os.O_RDONLY)
        before = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
        os.read(file, READ_BYTES)
        return int((time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) - before) * 1e9), 0
    except OSError as error:
        return -1, error.errno or 5
