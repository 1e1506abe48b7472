# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: import_logs
short_description: Findings from the logs of other tools
version_added: "0.2.0"
description:
  - Reads a directory of logs of one host (hping3, a packet log, perf script, strace and others).
  - Leaves a run directory with their findings, as far as they carry.
  - Contacts no host. A file that is not understood is named in a warning.
author:
  - fleet.stall contributors (@fleet)
options:
  directory:
    description: The directory on the controller. An C(about.yml) in it may say what the logs cannot.
    type: path
    required: true
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Import the logs
  fleet.stall.import_logs:
    directory: /var/tmp/node-7
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
run:
  description: The id of the run.
  type: str
  returned: success
dir:
  description: Its directory.
  type: str
  returned: success
files:
  description: How many logs were read.
  type: int
  returned: success
hosts:
  description: How many hosts there is a row for.
  type: int
  returned: success
"""
