# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The readers of kernel state, by name.

A reader is a module with `read() -> dict`, which raises Unavailable (or OSError) where the host does not show it. It may have
`sample(start) -> {key: cumulative number}`, cheap enough for once a second, and `reduce(start, end) -> (start, end)`, which leaves out what
needs no wire. Readers in STATIC do not change during a window and are read once: their `end` is null.
"""

from ansible_collections.fleet.stall.plugins.module_utils.counters import (
    cgroups,
    conntrack,
    cpu,
    dentries,
    interrupts,
    ipvs,
    kernel,
    kernel_log,
    machine,
    neighbours,
    netstat,
    network,
    pressure,
    rules,
    sockets,
    softirqs,
    softnet,
    threads,
    throttled,
    vmstat,
)

READERS = {
    "kernel": kernel,
    "machine": machine,
    "nic": network,
    "softnet": softnet,
    "softirqs": softirqs,
    "interrupts": interrupts,
    "threads": threads,
    "cpu": cpu,
    "pressure": pressure,
    "sockets": sockets,
    "conntrack": conntrack,
    "dentries": dentries,
    "neighbours": neighbours,
    "netstat": netstat,
    "vmstat": vmstat,
    "ipvs": ipvs,
    "rules": rules,
    "cgroups": cgroups,
    "throttled": throttled,
    "kernel_log": kernel_log,
}
STATIC = ("kernel", "machine", "nic")
