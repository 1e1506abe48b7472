# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: plan
short_description: Decide who probes whom and when
version_added: "0.1.0"
description:
  - Builds the probe mesh from the inventory and the variables of R(the observe role,ansible_collections.fleet.stall.observe_role), and
    opens the run directory.
  - With C(stall_run) set it finds that run instead.
  - In check mode it shows the mesh and writes nothing.
author:
  - fleet.stall contributors (@fleet)
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Plan who probes whom, and when
  fleet.stall.plan:
  delegate_to: localhost
  run_once: true
  register: stall_plan
"""

RETURN = r"""
run:
  description: The id of the run.
  type: str
  returned: success
  sample: 20261123T042300Z-1a2b
dir:
  description: The run directory, empty in check mode.
  type: str
  returned: success
starts_at:
  description: When the window starts, in seconds since the epoch by the clock of the controller.
  type: float
  returned: success
ends_at:
  description: When it ends.
  type: float
  returned: success
hosts:
  description: How many hosts are examined.
  type: int
  returned: success
flows:
  description: How many flows are probed.
  type: int
  returned: success
budget:
  description: The packets a second that a host sends and receives at most, in a sentence.
  type: str
  returned: success
"""
