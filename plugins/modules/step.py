# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: step
short_description: Say that a step of a host begins, and how it ended
version_added: "0.3.0"
description:
  - V(begin) writes the step into the journal before anything is done, and says what that is. A step that was begun and not ended is gone
    on with.
  - V(done) and V(failed) say how it ended. V(roll_back) says how to take the last step back.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The directory of the campaign.
    type: path
    required: true
  event:
    description: What is said.
    type: str
    choices: [begin, done, failed, roll_back]
    required: true
  wave:
    description: The number of the wave, to begin a step.
    type: int
  measured:
    description: What M(fleet.stall.measure) measured on the host, to begin or to end a step.
    type: dict
  result:
    description: What the remedy left in C(stall_step_result).
    type: dict
  task:
    description: The task that failed.
    type: str
  because:
    description: Why it failed.
    type: str
  finishing:
    description: Begin nothing new.
    type: bool
    default: false
  retry:
    description: Whether a step that failed is to be tried again.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Say what is about to be done
  fleet.stall.step:
    dir: "{{ stall_campaign_dir }}"
    event: begin
    wave: "{{ stall_wave }}"
    measured: "{{ stall_before.measured }}"
  register: stall_begun
"""

RETURN = r"""
check:
  description: Path of the tasks that ask whether the step may be done, before the host is drained; empty if there is nothing to ask.
  type: str
  returned: for begin, if V(go) is V(step)
go:
  description: "What is next for the host: V(step), V(undrain), V(verify), V(roll_back) or V(nothing)."
  type: str
  returned: for begin and roll_back
step:
  description: >-
    The step as in the plan, with C(host), C(wave), C(resumed) and C(before), which is what was measured before it was first begun.
  type: dict
  returned: when there is something to do
tasks:
  description: The file of the tasks that do it.
  type: str
  returned: when there is something to do
"""
