# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: plan_verify
short_description: Decide who probes hosts again as an earlier run did
version_added: "0.3.0"
description:
  - Makes a new run of those flows of an earlier one that saw the hosts, from the same hosts and source ports, with the same intervals,
    threshold and length of the window, and opens its run directory. Hosts that cannot probe or be probed any more are named.
  - Of a host that stalls as a sender the flows that leave it are taken as well.
author:
  - fleet.stall contributors (@fleet)
options:
  run:
    description: The id of the run that found the fault, or V(latest); it is looked for in C(stall_runs_dir). Where the latest verifies
      another, that one is taken.
    type: str
  hosts:
    description: The hosts to verify. Empty for those that stalled in that run.
    type: list
    elements: str
    default: []
  acting:
    description: The hosts of the play, which delegate to those that probe. Empty if all that take part are to act for themselves.
    type: list
    elements: str
    default: []
  campaign:
    description: The directory of the remediation that this is part of. Then O(run) is by default that of its plan, and the new run is
      kept in C(verify) there, else in C(stall_runs_dir).
    type: path
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Plan who probes again
  fleet.stall.plan_verify:
    run: "{{ stall_run }}"
    hosts: "{{ ansible_play_batch }}"
    acting: "{{ ansible_play_batch }}"
  delegate_to: localhost
  run_once: true
  register: stall_verify_plan
"""

RETURN = r"""
run:
  description: The id of the new run, empty if there is nothing to verify.
  type: str
  returned: success
dir:
  description: Its directory, empty if there is nothing to verify.
  type: str
  returned: success
verifies:
  description: The id of the run that found the fault.
  type: str
  returned: success
hosts:
  description: The hosts that take part, whether they are verified or probe those that are.
  type: list
  elements: str
  returned: success
targets:
  description: The hosts that are verified.
  type: list
  elements: str
  returned: success
shares:
  description: Which host of the play starts the observers of which hosts.
  type: dict
  returned: success
left_out:
  description: The hosts that cannot be verified, each with the reason.
  type: dict
  returned: success
starts_at:
  description: When the window starts, in seconds since the epoch by the clock of the controller.
  type: float
  returned: when there is something to verify
ends_at:
  description: When it ends.
  type: float
  returned: when there is something to verify
"""
