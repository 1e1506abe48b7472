# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: close
short_description: End a campaign, and say what was done and whether it helped
version_added: "0.3.0"
description:
  - Shows the hosts as a table, writes C(remediation.md) and C(remediation.html) into the directory of the campaign, and gives the lock of
    the fleet back. Fails if the campaign did not come to its end.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The directory of the campaign.
    type: path
    required: true
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Say what was done, and whether it helped
  fleet.stall.close:
    dir: "{{ stall_campaign_dir }}"
  run_once: true
"""

RETURN = r"""
outcome:
  description: V(done) or V(stopped), empty in check mode.
  type: str
  returned: always
"""
