# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: reboot
short_description: Reboot a host, judged by its boot id
version_added: "0.3.0"
description:
  - Runs a command that reboots the host, and waits until its kernel tells another boot id. Neither a connection that comes back nor what
    the command returns is taken for a reboot.
  - Fails where the host refuses, goes on with the same boot, or does not come back in time.
  - Needs no Python on the host. A host reached by a local connection is refused.
author:
  - fleet.stall contributors (@fleet)
options:
  boot_id:
    description: The id of the boot that is to end.
    type: str
    required: true
  command:
    description: What reboots the host, a list of words that no shell reads.
    type: list
    elements: str
    default: [systemctl, reboot]
  timeout_s:
    description: How long the host may take to come back, in seconds.
    type: float
    default: 600
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Look at the host
  fleet.stall.measure:
    memory_stat_s: 0
  register: before

- name: Reboot
  fleet.stall.reboot:
    boot_id: "{{ before.measured.boot_id }}"
  become: true
"""

RETURN = r"""
boot_id:
  description: The id of the new boot; in check mode, that of the boot that runs.
  type: str
  returned: success
waited_s:
  description: How long it took, in seconds.
  type: float
  returned: success, not in check mode
"""
