# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: check
short_description: Refuse a request that cannot be met
version_added: "0.1.0"
description:
  - Checks every variable of the collection and every name in them against the inventory, and names all that is wrong at once.
  - Contacts no host.
author:
  - fleet.stall contributors (@fleet)
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Check the variables and the names in them
  fleet.stall.check:
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
hosts:
  description: How many hosts are to be examined.
  type: int
  returned: success
"""
