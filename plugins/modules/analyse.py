# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: analyse
short_description: From the evidence of a run to its findings
version_added: "0.1.0"
description:
  - Writes findings.json into the run directory. Contacts no host, so that it can be done again at any time.
author:
  - fleet.stall contributors (@fleet)
options:
  run:
    description: The id of the run, or V(latest); it is looked for in C(stall_runs_dir).
    type: str
    required: true
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Find who stalls, how badly and on whose side
  fleet.stall.analyse:
    run: latest
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
findings:
  description: The path of findings.json, whose contract is docs/findings.schema.json.
  type: str
  returned: success
hosts:
  description: How many hosts it has a row for.
  type: int
  returned: success
measured:
  description: How many of them were measured.
  type: int
  returned: success
"""
