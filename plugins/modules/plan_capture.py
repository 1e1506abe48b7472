# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: plan_capture
short_description: Decide whom to open up after the ranking
version_added: "0.2.0"
description:
  - Chooses the worst suspects of a run and one clear host as control, with the variables of
    R(the capture role,ansible_collections.fleet.stall.capture_role), and opens the directory of the capture in that of the run.
  - If the run has a capture already it finds that, so that what is missing of it can be gathered.
author:
  - fleet.stall contributors (@fleet)
options:
  run:
    description: The id of the run, or V(latest); it is looked for in C(stall_runs_dir).
    type: str
    required: true
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Plan whom to open up
  fleet.stall.plan_capture:
    run: "{{ stall_plan.run }}"
  delegate_to: localhost
  run_once: true
  register: stall_capture_plan
"""

RETURN = r"""
dir:
  description: The directory of the capture, empty if there is nothing to capture.
  type: str
  returned: success
hosts:
  description: The hosts that take part, whether they are captured or probe those that are.
  type: list
  elements: str
  returned: success
captured:
  description: What each captured host is, V(suspect) or V(control).
  type: dict
  returned: success
starts_at:
  description: When the window of the capture starts, in seconds since the epoch by the clock of the controller.
  type: float
  returned: when there is something to capture
ends_at:
  description: When it ends.
  type: float
  returned: when there is something to capture
"""
