#!/usr/bin/python
# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: capture
short_description: Record what a stalling host does while it is probed
version_added: 0.2.0
description:
  - Leaves a capture behind on the host and returns at once. During the window it records which task on which CPU handled each probe
    (bpftrace), what the CPUs ran (perf, as a flight recorder in memory), which system calls kept a CPU for long, and, for the one process
    that is named by these, what an strace of some seconds shows. A look at connections and one at the memory cgroups come along.
  - It reduces all that on the host to gaps, runs and slow calls around the stalls, and writes one compressed result.
  - What is missing on the host (bpftrace, perf, strace, root) narrows the result and is listed in it, with the remedy. The module
    installs nothing.
  - The capture ends itself. It holds a lock (one capture on a host at a time, beside an observer), each of its tools has bounds on time and
    size that need nobody else, and a watchdog kills what is left 30 seconds after the window, whether or not the controller is still there.
    A process that was being traced goes on, however the capture ends.
  - It changes nothing on the host but for its own directory, and loads no kernel module. Where tracefs is not mounted, it is mounted in a
    mount namespace of the capture's own.
  - The role P(fleet.stall.capture#role) makes the plans, starts the captures and gathers the results. There is seldom a reason to call
    this module directly.
notes:
  - Tracing asks for root. Without it, the result holds the host's connections and memory cgroups at the most, and says why.
  - C(strace) slows the process that it is attached to, by a factor that the result states. O(plan.strace_s) 0 leaves it out.
  - The read of C(memory.stat) can itself be a stall on some kernels. It is done once, after the window, on a CPU that handled none of the
    probes. O(plan.memory_stat) false leaves it out.
requirements:
  - Python 3.6 or later on the host
  - bpftrace 0.14 or later and a kernel with BTF (or kprobes and its headers), for who handled which probe and for slow system calls
  - perf, for what the CPUs ran
  - strace, for what slow calls read
seealso:
  - module: fleet.stall.observe
  - name: Architecture
    description: Terms, plan and result in detail.
    link: https://github.com/fleet/stall/blob/main/docs/ARCHITECTURE.md
extends_documentation_fragment:
  - fleet.stall.job
"""

EXAMPLES = r"""
- name: Open up a host for half a minute while others probe it
  fleet.stall.capture:
    plan:
      schema_version: 1
      run: 20261122T101500Z-4f2a.capture
      host: node-a1-2
      token: 3735928559
      dispatched_at: "{{ now().timestamp() }}"
      starts_at: "{{ now().timestamp() + 5 }}"
      ends_at: "{{ now().timestamp() + 35 }}"
      threshold_ms: 10
      addresses: [192.0.2.12]
      flows:
        - {id: 1, source: node-a1-1, protocol: icmp, family: 4, port: null, source_address: 192.0.2.11, source_port: null, interval_ms: 10}
      stack_hz: 999
      strace_s: 5
      strace_bytes: 4194304
      slow_call_ms: 10
      memory_stat: true
      connections: true
      packets: []
      only_packets: false
      bytes_limit: 67108864
  become: true
  register: started

- name: End it before its time
  fleet.stall.capture:
    state: stopped
    run: 20261122T101500Z-4f2a.capture
    host: node-a1-2
  become: true
"""

RETURN = r"""
started:
  description: Whether a capture was left behind.
  returned: when O(state=started)
  type: bool
  sample: true
job:
  description: Where the capture is, and where its result will be.
  returned: when O(state=started)
  type: dict
  contains:
    dir:
      description: Directory of the job; remove it once the result is read.
      type: str
      sample: /run/fleet.stall/20261122T101500Z-4f2a.capture.0b5e8a1f22c4.capture
    result:
      description: The result, gzip JSON. It appears at once and whole.
      type: str
      sample: /run/fleet.stall/20261122T101500Z-4f2a.capture.0b5e8a1f22c4.capture/capture.json.gz
    pid:
      description: Process id of the watchdog; null in check mode.
      type: int
      sample: 4711
    ends_at_host:
      description: When the window ends, in epoch seconds of the host's clock.
      type: float
      sample: 1795342533.5
    deadline_at_host:
      description: By when the result is there or never will be, in epoch seconds of the host's clock.
      type: float
      sample: 1795342563.5
stopped:
  description: How many captures were ended.
  returned: when O(state=stopped)
  type: int
  sample: 1
remedy:
  description: What to do about the failure.
  returned: on failure
  type: str
  sample: free some space there
"""

from ansible_collections.fleet.stall.plugins.module_utils import entry
from ansible_collections.fleet.stall.plugins.module_utils.capture import kind, plan


def main():
    entry.main(kind.CAPTURE, plan.problems)


if __name__ == "__main__":
    main()
