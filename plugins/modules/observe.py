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
options:
  state:
    description:
      - V(started) leaves an observer behind that follows O(plan).
      - V(stopped) ends the observer of O(run) on O(host), if it still runs, and removes all that it left.
    type: str
    choices: [started, stopped]
    default: started
  plan:
    description:
      - What to probe, when and how, as the plan action made it for this host. The keys are described in C(docs/ARCHITECTURE.md).
      - Times are those of the controller. If this host's clock does not agree with the time of dispatch, the window counts from now.
      - A plan without flows reads the counters only.
    type: dict
  run:
    description: Id of the run whose observer is to end.
    type: str
  host:
    description: Inventory name of the host, as in the plan of that run.
    type: str
attributes:
  check_mode:
    description: Can run in check mode and say what it would do; nothing is sent or written.
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
  - Raw sockets ask for root (or CAP_NET_RAW). Without them, only probes over ordinary sockets are sent, and the result says so.
  - Where systemd-logind kills a user's processes at logout (C(KillUserProcesses=yes)), an observer may end with the connection that
    started it. The run then names the host as not measured.
requirements:
  - Python 3.6 or later on the host
seealso:
  - name: Architecture
    description: Terms, plan and result in detail.
    link: https://github.com/fleet/stall/blob/main/docs/ARCHITECTURE.md
author:
  - fleet.stall contributors
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

# All is imported here and now, nothing later: the archive that this module runs from is gone while the observer still runs.
import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fleet.stall.plugins.module_utils import daemon, statedir
from ansible_collections.fleet.stall.plugins.module_utils import plan as plans


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "plan": {"type": "dict"},
            "run": {"type": "str"},
            "host": {"type": "str"},
        },
        required_if=[("state", "started", ["plan"]), ("state", "stopped", ["run", "host"])],
        supports_check_mode=True,
    )
    # The plan is as large as the answer is small: do not send it back.
    brief = {"module_args": {key: value for key, value in module.params.items() if key != "plan"}}
    try:
        answer = started(module) if module.params["state"] == "started" else stopped(module)
    except statedir.Refusal as refusal:
        module.fail_json(msg=refusal.reason, remedy=refusal.remedy, invocation=brief)
    module.exit_json(changed=False, invocation=brief, **answer)


def started(module):
    now = time.time()
    found = plans.problems(module.params["plan"])
    if found:
        raise statedir.Refusal("; ".join(found), "correct the plan")
    plan = plans.in_local_time(module.params["plan"], now)
    if plan["ends_at"] <= now:
        raise statedir.Refusal(
            "the window ended %.1f s before this host was reached" % (now - plan["ends_at"]), "raise stall_lead_s, or the number of forks"
        )
    root = statedir.locate(os.geteuid(), os.environ)
    if module.check_mode:
        return {"started": False, "job": daemon.described(daemon.job_of(root, plan), pid=None)}
    return {"started": True, "job": daemon.start(plan, statedir.prepare(root))}


def stopped(module):
    root = statedir.locate(os.geteuid(), os.environ)
    run, host = module.params["run"], module.params["host"]
    if module.check_mode:
        return {"stopped": daemon.running(root, run, host)}
    return {"stopped": daemon.stop(root, run, host)}


if __name__ == "__main__":
    main()
