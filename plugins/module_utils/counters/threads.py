# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run delay of the kernel threads that receive packets: ksoftirqd/N and napi/* (fs/proc/base.c, proc_pid_schedstat).

Run delay is the time that a thread was runnable and did not run: a stall of class "not scheduled" adds its length to it.
"""

import os
import time
from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

MOST_THREADS = 1024
SCAN_S = 1.0
POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}


def parse_schedstat(content: str) -> Dict[str, int]:
    """{run_ns, run_delay_ns, timeslices} of /proc/PID/schedstat."""
    run, delay, slices = (int(word) for word in content.split()[:3])
    return {"run_ns": run, "run_delay_ns": delay, "timeslices": slices}


def parse_stat(content: str) -> Dict[str, Any]:
    """{policy, rt_priority, nice, last_cpu} of /proc/PID/stat; the name in parentheses may itself hold parentheses and spaces."""
    fields = content.rpartition(")")[2].split()
    # Fields are counted from 1 in proc(5) and these begin with the third.
    policy = int(fields[41 - 3])
    return {
        "policy": POLICIES.get(policy, str(policy)),
        "rt_priority": int(fields[40 - 3]),
        "nice": int(fields[19 - 3]),
        "last_cpu": int(fields[39 - 3]),
    }


def read() -> Dict[str, Any]:
    """{threads: {"<pid>": {name, run_ns, run_delay_ns, timeslices, policy, rt_priority, nice, last_cpu, cpus [int, ..]}}, complete}"""
    pids, complete = _packet_threads()
    threads = {pid: thread for pid, thread in ((pid, _thread(pid)) for pid in pids) if thread}
    if not threads:
        raise Unavailable("no ksoftirqd or napi thread can be seen (a PID namespace, or hidepid on /proc)")
    if not any(thread["timeslices"] for thread in threads.values()):
        raise Unavailable("the kernel does not account run delay (CONFIG_SCHEDSTATS, or from 5.14 the delayacct option)")
    return {"threads": threads, "complete": complete}


def sample(start: Dict[str, Any]) -> Dict[str, int]:
    """Run delay so far in ns, per thread id."""
    found = {}
    for pid in start["threads"]:
        try:
            found[pid] = parse_schedstat(text(f"/proc/{pid}/schedstat"))["run_delay_ns"]
        except Unavailable:
            continue
    return found


def _thread(pid: str) -> Optional[Dict[str, Any]]:
    try:
        name = text(f"/proc/{pid}/comm").strip()
        thread: Dict[str, Any] = {"name": name, "cpus": sorted(os.sched_getaffinity(int(pid)))}
        thread.update(parse_stat(text(f"/proc/{pid}/stat")))
        thread.update(parse_schedstat(text(f"/proc/{pid}/schedstat")))
    except (Unavailable, OSError, ValueError):
        return None
    return thread


def _packet_threads() -> "tuple[List[str], bool]":
    """Ids of the packet threads, and whether all candidates were looked at. kthreadd's children are asked first: few, and cheap."""
    try:
        pids = text("/proc/2/task/2/children").split() if text("/proc/2/comm").strip() == "kthreadd" else []
    except Unavailable:
        pids = []
    pids = pids or [entry for entry in os.listdir("/proc") if entry.isdecimal()]
    found: List[str] = []
    until = time.monotonic() + SCAN_S
    for pid in pids:
        if time.monotonic() > until or len(found) >= MOST_THREADS:
            return found, False
        try:
            name = text(f"/proc/{pid}/comm")
        except Unavailable:
            continue
        if name.startswith(("ksoftirqd/", "napi/")):
            found.append(pid)
    return found, True
