# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host is compared before and after a remedy: which boot of which kernel, dying memory cgroups, dropped caches, failed units.

All of it is read, and nothing read twice. What can't be read is null, and `reasons` says why.
"""

import os
from functools import partial
from typing import Any, Callable, Dict, Iterable, Set, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import nic, systemd
from ansible_collections.fleet.stall.plugins.module_utils.capture import memcg
from ansible_collections.fleet.stall.plugins.module_utils.counters import kernel, machine, vmstat
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

DROPPED = ("drop_pagecache", "drop_slab")


def measure(memory_stat_s: float, units: Iterable[str] = ()) -> Dict[str, Any]:
    """{boot_id, uptime_s, kernel, memory_cgroups {live, dying, read_ms, read_cpu}, vmstat {drop_pagecache, drop_slab}, load1,
    failed_units [name, ..], units {name: see systemd.unit}, reasons {name: why}}; any value can be null.

    memory_stat_s: how long the one timed read of memory.stat may take, in seconds; 0 for no such read.
    """
    reasons: Dict[str, str] = {}
    receiving = _or_reason("receive_queues", receiving_cpus, reasons) or set()
    groups, why = memory_cgroups(memory_stat_s, receiving)
    reasons.update({"memory_cgroups": why} if why else {})
    return {
        "boot_id": _or_reason("boot_id", lambda: machine.read()["boot_id"], reasons),
        "uptime_s": _or_reason("uptime_s", lambda: machine.read()["uptime_s"], reasons),
        "kernel": _or_reason("kernel", lambda: kernel.read()["release"], reasons),
        "memory_cgroups": groups,
        "vmstat": _or_reason("vmstat", dropped, reasons),
        "load1": _or_reason("load1", lambda: float(text("/proc/loadavg").split()[0]), reasons),
        "failed_units": _or_reason("failed_units", systemd.failed, reasons),
        "units": {name: _or_reason(name, partial(systemd.unit, name), reasons) for name in units},
        "reasons": reasons,
    }


def _or_reason(name: str, read: Callable[[], Any], reasons: Dict[str, str]) -> Any:
    try:
        return read()
    except (Unavailable, OSError, ValueError, IndexError) as error:
        reasons[name] = str(error)
        return None


def dropped() -> Dict[str, int]:
    """How often caches were dropped since boot, as the kernel counts it."""
    found = vmstat.read()
    if not all(name in found for name in DROPPED):
        raise Unavailable(f"{vmstat.PATH} does not count how often caches were dropped (kernels before 3.18)")
    return {name: found[name] for name in DROPPED}


def memory_cgroups(timeout_s: float, receiving: Set[int]) -> Tuple[Dict[str, Any], str]:
    """({live, dying, read_ms, read_cpu}, why something of it is missing or has a price)"""
    avoid, price = apart(receiving, os.sched_getaffinity(0))
    found = memcg.measure(avoid, timeout_s)
    reasons = [found["reason"], price if found["read_ms"] is not None else None]
    groups = {name: found[name] for name in ("live", "dying", "read_ms", "read_cpu")}
    return groups, "; ".join(reason for reason in reasons if reason)


def apart(receiving: Set[int], usable: Set[int]) -> Tuple[Set[int], str]:
    """CPUs that the read keeps off, and what it costs where there is no other.

    The host of an ordinary reader of memory.stat makes this read all the time, so one more is made even where every CPU serves a queue.
    """
    if usable - receiving:
        return receiving, ""
    return set(), "every CPU serves a receive queue: the read may have kept packets of its CPU waiting for as long as it took"


def receiving_cpus() -> Set[int]:
    """CPUs that take the interrupts of receive queues, or handle packets for them."""
    queues = [queue for interface in nic.read()["interfaces"] for queue in interface["queues"]]
    return {cpu for queue in queues for name in ("cpus", "rps_cpus") for cpu in queue.get(name) or []}
