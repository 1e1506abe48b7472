# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: health
short_description: Wait until a host is in health
version_added: "0.3.0"
description:
  - Waits until the host answers, systemd has booted it, no unit has failed that had not failed before, and the user's command ends with 0.
  - Fails with what is wrong, at once where waiting would not help. A unit that has failed has 15 seconds to be started again.
  - Needs no Python on the host, and changes nothing there.
author:
  - fleet.stall contributors (@fleet)
options:
  boot_id:
    description: The boot that is judged; one that has followed it by itself fails. Empty for whichever runs.
    type: str
    default: ""
  failed_units:
    description: The units that had failed before. Without it, every failed unit counts.
    type: list
    elements: str
  command:
    description: What has to end with 0 on the host, within a minute; a list of words that no shell reads. Not run in check mode.
    type: list
    elements: str
    default: []
  timeout_s:
    description: How long it may take, in seconds.
    type: float
    default: 300
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Check the health of the host
  fleet.stall.health:
    failed_units: [logrotate.service]
    command: [/usr/local/bin/smoke-test, --quick]
  become: true
"""

RETURN = r"""
boot_id:
  description: The id of the boot that runs.
  type: str
  returned: success
state:
  description: The state of the system, as systemd calls it; empty where it does not run.
  type: str
  returned: success
  sample: running
failed_units:
  description: The units that have failed, all of them before.
  type: list
  elements: str
  returned: success
"""
