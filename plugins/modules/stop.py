# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: stop
short_description: End the observer and the capture of a host before their time
version_added: "0.1.0"
description:
  - Ends what still runs of them, removes what they left on the host, and notes in the run directory that they were stopped.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The run directory, as M(fleet.stall.plan) returns it.
    type: path
    required: true
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Stop the observer and the capture
  fleet.stall.stop:
    dir: "{{ stall_plan.dir }}"
  become: true
  ignore_unreachable: true
"""

RETURN = r"""
stopped:
  description: How many of them were ended.
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
