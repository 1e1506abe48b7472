# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: plan_remedies
short_description: From findings to a plan of remediation
version_added: "0.3.0"
description:
  - Chooses remedies for the hosts of a run that stall, puts the hosts into waves, writes C(plan.yml) into the directory of the run (its
    form is docs/plan.schema.json), and shows it as a table with the command that confirms it. Contacts no host.
  - A plan that would do the same as the one that is there, and that is still valid, leaves that one alone. One that is replaced is kept
    beside the new one.
  - The variables of R(the plan_remedies role,ansible_collections.fleet.stall.plan_remedies_role) say what may be done, and how much at
    once.
author:
  - fleet.stall contributors (@fleet)
options:
  run:
    description: The id of the run, or V(latest); it is looked for in C(stall_runs_dir).
    type: str
    required: true
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Choose remedies and waves
  fleet.stall.plan_remedies:
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
  description: The hosts that something is to be done about.
  type: list
  elements: str
  returned: success
waves:
  description: The hosts of each wave.
  type: list
  elements: list
  returned: success
"""
