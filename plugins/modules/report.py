# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: report
short_description: Show the findings of a run
version_added: "0.1.0"
description:
  - Prints the table, and writes report.md and report.html into the run directory.
  - Fails if no host was measured, or if a host is graded as badly as C(stall_fail_on) says.
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
- name: Show the findings
  fleet.stall.report:
    run: latest
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
report:
  description: The path of report.html.
  type: str
  returned: success
stalling:
  description: How many hosts stall.
  type: int
  returned: success
not_measured:
  description: How many hosts were not measured.
  type: int
  returned: success
"""
