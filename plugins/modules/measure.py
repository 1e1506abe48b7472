#!/usr/bin/python
# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: measure
short_description: Measure what a remedy changes on a host
version_added: 0.3.0
description:
  - Reads which boot of which kernel a host runs, how many of its memory cgroups are dying, how long one read of their statistics
    keeps a CPU, how often caches were dropped, the load, and the units that have failed. Taken before and after a remedy, and to tell
    after a break whether a remedy had happened.
  - Nothing is changed. What can't be read is null, and RV(measured.reasons) says why.
options:
  memory_stat_s:
    description:
      - How long the one timed read of memory.stat may take, in seconds; V(0) for no such read.
      - It runs at the lowest priority, on a CPU that serves no receive queue where there is one. On a sick host it keeps that CPU for as
        long as the stalls that are looked into.
    type: float
    default: 5
  units:
    description:
      - Units of systemd whose state is wanted.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode and say what it would do; it measures then as well.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
    details: Nothing on the host is changed.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
notes:
  - Asks for root for memory.stat. Without it the other values are measured.
requirements:
  - Python 3.6 or later on the host
seealso:
  - name: Remediation
    description: What the values are for.
    link: https://github.com/fleet/stall/blob/main/docs/REMEDIATION.md
author:
  - fleet.stall contributors
"""

EXAMPLES = r"""
- name: Measure
  fleet.stall.measure:
  become: true
  register: before

- name: Count dying memory cgroups, without the read that costs
  fleet.stall.measure:
    memory_stat_s: 0
  become: true
  register: now
"""

RETURN = r"""
measured:
  description: What was measured.
  returned: success
  type: dict
  contains:
    boot_id:
      description: The kernel's id of this boot.
      type: str
      sample: 1f0c7a8e-5a0c-4f4b-9d57-0c2f7f0c1a55
    kernel:
      description: Release of the running kernel.
      type: str
      sample: 4.9.0-8-amd64
    uptime_s:
      description: Seconds since boot.
      type: float
      sample: 8123456.7
    memory_cgroups:
      description: >-
        How many memory cgroups there are (C(live)) and how many were removed and still hold memory (C(dying)); C(read_ms), the time on the
        CPU of one read of memory.stat, in milliseconds, on the CPU C(read_cpu).
      type: dict
      sample: {live: 240, dying: 68440, read_ms: 193.4, read_cpu: 15}
    vmstat:
      description: How often the page cache, and the dentry and inode caches, were dropped since boot.
      type: dict
      sample: {drop_pagecache: 0, drop_slab: 1}
    load1:
      description: Load average of a minute.
      type: float
      sample: 12.3
    failed_units:
      description: Units that systemd calls failed.
      type: list
      elements: str
      sample: [logrotate.service]
    units:
      description: >-
        State of each unit of O(units): how it was loaded, whether it is active and since when (C(started_at) is in epoch seconds of the
        host's clock), how often systemd has restarted it, its main process, whether its files have changed since systemd read them, the
        drop-ins that it has read, and the scheduling policy that it starts with.
      type: dict
      sample:
        cadvisor.service:
          {load: loaded, active: active, started_s_ago: 812.6, started_at: 1795342533.5, restarts: 0, main_pid: 4711, needs_reload: false,
           drop_ins: [], policy: other}
    reasons:
      description: For what is null or had a price, by name, why.
      type: dict
      sample: {failed_units: systemd does not run this host}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fleet.stall.plugins.module_utils.measure import measure


def main():
    module = AnsibleModule(
        argument_spec={"memory_stat_s": {"type": "float", "default": 5}, "units": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    timeout_s = module.params["memory_stat_s"]
    if not 0 <= timeout_s <= 600:
        module.fail_json(msg=f"memory_stat_s is {timeout_s!r}: give seconds from 0 to 600")
    module.exit_json(changed=False, measured=measure(timeout_s, module.params["units"]))


if __name__ == "__main__":
    main()
