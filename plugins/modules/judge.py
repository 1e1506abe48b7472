# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: judge
short_description: Judge whether hosts stall less than in the run that found the fault
version_added: "0.3.0"
description:
  - Compares a run of M(fleet.stall.plan_verify) with the run that it verifies and writes C(verification.json) into it. Contacts no host.
  - A host is V(better) or V(worse) where chance does as much in 2.5 of 100 cases at the most. It is V(unknown) where it was not measured,
    where probes or receive queues that were looked through before are missing now, and where the stalls were too few for their absence
    to tell.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The directory of the run, as M(fleet.stall.plan_verify) returns it; C(findings.json) is written as well. Empty if nothing
      could be probed.
    type: path
    default: ""
  run:
    description: Instead of O(dir), the id of a run that has findings, or V(latest), to judge it again. One that verifies no other is
      skipped.
    type: str
    default: ""
  campaign:
    description: The directory of the remediation that this is part of; its journal is told.
    type: path
  left_out:
    description: The hosts that could not be probed, each with the reason, where O(dir) is empty.
    type: dict
    default: {}
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Judge whether it helped
  fleet.stall.judge:
    dir: "{{ stall_verify_plan.dir }}"
    left_out: "{{ stall_verify_plan.left_out }}"
  delegate_to: localhost
  run_once: true
  register: stall_verified
"""

RETURN = r"""
verification:
  description: The path of verification.json, empty if nothing could be probed.
  type: str
  returned: success
verdicts:
  description: For each host C(verdict) (V(better), V(same), V(worse) or V(unknown)), C(sentence), and C(before) and C(after), its
    figures in both runs.
  type: dict
  returned: success
"""
