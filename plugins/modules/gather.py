# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: gather
short_description: Bring the result of a host home
version_added: "0.1.0"
description:
  - Reads what the observer or the capture of the host wrote, keeps it in the run directory, and only then removes it on the host. No module
    is run for it.
  - Never fails. What could not be gathered stays on the host and can be gathered again with C(stall_run).
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The run directory, as M(fleet.stall.plan) or M(fleet.stall.plan_capture) returns it.
    type: path
    required: true
  job:
    description: What it is about, the host's observer or its capture.
    type: str
    choices: [observe, capture]
    default: observe
  host:
    description: The host that it acts for, where the task is delegated to that host. By default that of the task. With it, a host that is
      unreachable is recorded and not reported as such, for it is not the host of the task.
    type: str
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Gather what they measured
  fleet.stall.gather:
    dir: "{{ stall_plan.dir }}"
  become: true
  ignore_unreachable: true
"""

RETURN = r"""
bytes:
  description: How many characters came over the wire.
  type: int
  returned: when the host was asked
measured:
  description: Whether the host measured what it was asked to; V(false) with the reason.
  type: bool
  returned: when the host was asked
stage:
  description: Where it failed, such as V(connect), V(start) or V(gather).
  type: str
  returned: when the host is not measured
reason:
  description: Why.
  type: str
  returned: when the host is not measured
remedy:
  description: What to do about it.
  type: str
  returned: when the host is not measured
"""
