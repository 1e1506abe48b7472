# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: start
short_description: Start the observer or the capture of a host
version_added: "0.1.0"
description:
  - Sends the host its share of the plan by M(fleet.stall.observe) or M(fleet.stall.capture), which return at once.
  - Never fails. A host that cannot be observed or captured is recorded with the reason and the remedy; one that is unreachable is reported
    as such as well, which C(ignore_unreachable) keeps in the play.
  - Where becoming root fails, it is done without.
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
- name: Start the observers
  fleet.stall.start:
    dir: "{{ stall_plan.dir }}"
  become: true
  ignore_unreachable: true
"""

RETURN = r"""
started:
  description: V(true) if the observer or the capture runs.
  type: bool
  returned: when it does
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
