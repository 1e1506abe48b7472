# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: load_remedies
short_description: Check a plan of remediation, and say who is left in which wave
version_added: "0.3.0"
description:
  - Refuses, with a sentence for each thing that is wrong, a plan that does not fit its schema, the inventory, the remedies that are
    allowed or its own limits; one whose findings are too old; and one that was changed since it was begun.
  - Without O(confirm) it shows the plan, and calls up no host. Contacts no host.
author:
  - fleet.stall contributors (@fleet)
options:
  plan:
    description: The path of a C(plan.yml), or the id of a run (or V(latest)) that has one.
    type: str
    required: true
  confirm:
    description: Whether what the plan says is to be done.
    type: bool
    default: false
  retry:
    description: Whether what failed is to be tried again.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Load the plan
  fleet.stall.load_remedies:
    plan: "{{ stall_plan }}"
    confirm: "{{ stall_confirm }}"
  delegate_to: localhost
  run_once: true
  register: stall_campaign
"""

RETURN = r"""
dir:
  description: The directory of the campaign.
  type: str
  returned: success
hosts:
  description: >-
    Who is left, in the order of the waves, each wave behind a host of the campaign's own: C(name), C(groups) for add_host, and C(wave), its
    number.
  type: list
  elements: dict
  returned: success
done:
  description: Whether there is nothing left to do.
  type: bool
  returned: success
confirmed:
  description: Whether something is to be done.
  type: bool
  returned: success
"""
