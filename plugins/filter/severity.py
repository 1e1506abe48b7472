# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: severity
short_description: How badly a host stalls, from its stalls
version_added: "0.1.0"
author:
  - fleet.stall contributors (@fleet)
description:
  - Stalled milliseconds per second of observation with a 95% interval, the number of distinct stalls, the longest, and a grade.
  - Time that several events cover counts once.
positional: _input
options:
  _input:
    description: Stalls of one host (or one receive queue), each with C(start_ns) and C(duration_ms), as in C(events) of C(findings.json).
    type: list
    elements: dict
    required: true
  window_s:
    description: Seconds that were observed.
    type: float
    required: true
  critical:
    description: Least stalled milliseconds per second of grade C(critical).
    type: float
    default: 20
  major:
    description: Least stalled milliseconds per second of grade C(major).
    type: float
    default: 2
"""

EXAMPLES = r"""
- name: How badly did it stall in the first half of the window
  ansible.builtin.debug:
    msg: "{{ (row.events | selectattr('start_ns', 'lt', half_ns) | fleet.stall.severity(window_s=15)).stalled_ms_per_s }}"
"""

RETURN = r"""
_value:
  description: C(stalled_ms_per_s), C(ci95) (low and high end), C(events), C(max_ms) and C(grade).
  type: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.plugin_utils import severity as thought


def severity(events, window_s, critical=20.0, major=2.0):
    try:
        stalls = [(event["start_ns"], event["start_ns"] + round(event["duration_ms"] * thought.MS)) for event in events]
        return thought.measure([stalls], float(window_s), {"critical": critical, "major": major})
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"fleet.stall.severity wants events with start_ns and duration_ms, and window_s above 0: {error}"
        ) from error


class FilterModule:
    def filters(self):
        return {"severity": severity}
