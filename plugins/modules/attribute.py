# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: attribute
short_description: From the capture of a run to the named cause
version_added: "0.2.0"
description:
  - Adds to findings.json what the capture tells, which process and kernel path it was, in which system call on which file, and the known
    cause.
  - Contacts no host, so that it can be done again at any time, after M(fleet.stall.analyse). Does nothing for a run without a capture.
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
- name: Name the process, the kernel path and the cause
  fleet.stall.attribute:
    run: latest
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
findings:
  description: The path of findings.json, whose contract is docs/findings.schema.json.
  type: str
  returned: when there is a capture
"""
