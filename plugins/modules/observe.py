#!/usr/bin/python
# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: observe
short_description: Run a host's share of the probe mesh for one window
version_added: 0.1.0
description:
  - Leaves an observer behind on the host and returns at once. The observer sends the probes of its plan during the window that the
    whole fleet has in common, extracts stall events, reads counters of the kernel, and writes one compressed result.
  - The observer ends itself. It holds a lock (one observer on a host at a time), and a watchdog kills it five seconds after the last
    reply could have come, whether or not the controller is still there.
  - It changes nothing on the host but for its own directory, and loads no kernel module. The directory is below C(/run/fleet.stall), or
    without root below E(XDG_RUNTIME_DIR) or the temporary directory; the next start removes what is more than a day old.
  - The role P(fleet.stall.observe#role) makes the plans, starts the observers and gathers the results. There is seldom a reason to call
    this module directly.
notes:
  - A plan without flows reads the counters only.
  - Raw sockets ask for root (or CAP_NET_RAW). Without them, only probes over ordinary sockets are sent, and the result says so.
  - Where systemd-logind kills a user's processes at logout (C(KillUserProcesses=yes)), an observer may end with the connection that
    started it. The run then names the host as not measured.
requirements:
  - Python 3.6 or later on the host
seealso:
  - name: Architecture
    description: Terms, plan and result in detail.
    link: https://github.com/fleet/stall/blob/main/docs/ARCHITECTURE.md
extends_documentation_fragment:
  - fleet.stall.job
"""

EXAMPLES = r"""
- name: Probe one address for half a minute
  fleet.stall.observe:
    plan:
      schema_version: 1
      run: 20261122T101500Z-4f2a
      host: node-a1-1
      token: 3735928559
      dispatched_at: "{{ now().timestamp() }}"
      starts_at: "{{ now().timestamp() + 3 }}"
      ends_at: "{{ now().timestamp() + 33 }}"
      threshold_ms: 10
      reply_timeout_ms: 2000
      budget_pps: 3000
      seed: fleet.stall
      keep_raw: false
      counters: true
      event_limit: 200
      flows:
        - {id: 1, source: node-a1-1, target: node-a1-2, layer: node, protocol: icmp, family: 4, address: 192.0.2.12, interval_ms: 10}
  become: true
  register: started

- name: End it before its time
  fleet.stall.observe:
    state: stopped
    run: 20261122T101500Z-4f2a
    host: node-a1-1
  become: true
"""

RETURN = r"""
started:
  description: Whether an observer was left behind.
  returned: when O(state=started)
  type: bool
  sample: true
job:
  description: Where the observer is, and where its result will be.
  returned: when O(state=started)
  type: dict
  contains:
    dir:
      description: Directory of the job; remove it once the result is read.
      type: str
      sample: /run/fleet.stall/20261122T101500Z-4f2a.0b5e8a1f22c4
    result:
      description: The result, gzip JSON. It appears at once and whole.
      type: str
      sample: /run/fleet.stall/20261122T101500Z-4f2a.0b5e8a1f22c4/observe.json.gz
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
      sample: 1795342540.5
stopped:
  description: How many observers were ended.
  returned: when O(state=stopped)
  type: int
  sample: 1
remedy:
  description: What to do about the failure.
  returned: on failure
  type: str
  sample: free some space there
"""

from ansible_collections.fleet.stall.plugins.module_utils import daemon, entry, plan


def main():
    entry.main(daemon.OBSERVATION, plan.problems)


if __name__ == "__main__":
    main()
