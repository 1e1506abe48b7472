# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: gate
short_description: Decide whether a wave may begin, and whether it has passed
version_added: "0.3.0"
description:
  - V(start) refuses the plan where a host was rebooted since it was diagnosed, takes the lock of the fleet, and opens the journal, or
    goes on in it.
  - V(before) a wave waits for the soak time, and then asks for the lock, the validity of the plan, the maintenance windows, the circuit
    breaker and the limits of the failure domains.
  - V(round), V(verify) and V(roll_back) say which hosts of a wave have something left to do, to be looked at, or to be taken back.
  - V(after) a wave counts what failed.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The directory of the campaign.
    type: path
    required: true
  at:
    description: Where the campaign is.
    type: str
    choices: [start, before, round, verify, roll_back, after]
    required: true
  wave:
    description: The number of the wave; the first is 1.
    type: int
  retry:
    description: Whether what failed is to be tried again.
    type: bool
    default: false
  unlock:
    description: At V(start), take the lock whoever has it.
    type: bool
    default: false
  given_back:
    description: At V(start), hosts that a person put back into service after a campaign had taken them out.
    type: list
    elements: str
    default: []
  finishing:
    description: After a wave that could not begin, in which only what had been begun was finished.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Ask whether the wave may begin
  fleet.stall.gate:
    dir: "{{ stall_campaign_dir }}"
    at: before
    wave: "{{ stall_wave }}"
  run_once: true
  register: stall_gate
"""

RETURN = r"""
stop:
  description: Whether the campaign ends here.
  type: bool
  returned: success
because:
  description: Why it ends.
  type: str
  returned: when it ends
hosts:
  description: The hosts that go on.
  type: list
  elements: str
  returned: success
rounds:
  description: How many steps a host of them may take at the most.
  type: int
  returned: success
finishing:
  description: Whether only what had been begun may be finished.
  type: bool
  returned: success
"""
