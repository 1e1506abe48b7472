# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: journal
short_description: Say in the journal of a campaign what is about to be done with a host
version_added: "0.3.0"
description:
  - Adds a line, of the step that the host is in, and returns when it is on the disk. What is announced may be done only then.
  - Returns what the journal knows of the host, also without O(event).
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The directory of the campaign. Empty, there is none, and nothing is written.
    type: str
  event:
    description: One of the events that docs/REMEDIATION.md lists.
    type: str
  data:
    description: What belongs to it.
    type: dict
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Say that the host is about to be cordoned
  fleet.stall.journal:
    dir: "{{ stall_campaign_dir | default('') }}"
    event: cordon_begun
    data:
      driver: kubernetes
      ours: true
"""

RETURN = r"""
cordoned:
  description: Whether the campaign cordoned the host, and has not given it back.
  type: bool
  returned: success
drained:
  description: Whether it is drained.
  type: bool
  returned: success
undrain:
  description: Whether it is to be given back now, which it is not while a reboot is without a passed health gate.
  type: bool
  returned: success
healthy:
  description: Whether no reboot of the campaign is without a passed health gate.
  type: bool
  returned: success
reboot:
  description: How far a reboot of this step is, V(begun) or V(done).
  type: str
  returned: success
rebooted_from:
  description: The id of the boot that the reboot of this step was to end.
  type: str
  returned: success
gate:
  description: How its health gate went, V(passed) or V(failed).
  type: str
  returned: success
"""
