# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: plan_campaign
short_description: Plan a rolling upgrade of the kernel
version_added: "0.3.0"
description:
  - Makes a plan whose every host has the one step C(kernel_upgrade), of the hosts of C(stall_campaign_hosts) that do not run the wanted
    kernel by default yet, those that stall worst first. Its form, waves and limits are those of M(fleet.stall.plan_remedies).
  - What M(fleet.stall.kernel_facts) said of each host is expected in its variable C(stall_kernel_facts). Hosts that it speaks against are
    left out, with the reason; those that were not reached count as down.
  - The plan names the very version that was found, so that all hosts get what the first wave has proved.
  - Writes C(plan.yml) and C(kernels.json) into the directory of the run.
author:
  - fleet.stall contributors (@fleet)
options:
  run:
    description: The id of the run that is measured against, or V(latest); it is looked for in C(stall_runs_dir).
    type: str
    required: true
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Plan the upgrade
  fleet.stall.plan_campaign:
    run: latest
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
plan:
  description: The path of the plan.
  type: str
  returned: success
digest:
  description: SHA-256 of the plan, in hex; empty in check mode where there was none before.
  type: str
  returned: success
hosts:
  description: The hosts that are to be upgraded.
  type: list
  elements: str
  returned: success
waves:
  description: The hosts of each wave.
  type: list
  elements: list
  returned: success
"""
