# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: wait
short_description: Wait for the end of the window
version_added: "0.1.0"
description:
  - Sleeps on the controller until the last reply of the window can have come. Returns at once if no host was started.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The run directory, as M(fleet.stall.plan) or M(fleet.stall.plan_capture) returns it.
    type: path
    required: true
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Wait for the end of the window
  fleet.stall.wait:
    dir: "{{ stall_plan.dir }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
started:
  description: How many hosts observe.
  type: int
  returned: success
captured:
  description: How many hosts are captured.
  type: int
  returned: success
"""
