# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rank
short_description: Sort hosts by how badly they stall
version_added: "0.1.0"
author:
  - fleet.stall contributors (@fleet)
description:
  - Sorts rows of C(findings.json) worst first and numbers them.
  - Stalling hosts come first, by stalled milliseconds per second, then suspects, then hosts that were not measured, then clear ones.
    Equals are ordered by name, so that the order of the input has no part.
positional: _input
options:
  _input:
    description: Rows with C(host), C(status) and C(severity), as in docs/findings.schema.json.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Join the rows of two runs and rank them anew
  ansible.builtin.set_fact:
    rows: "{{ (first.hosts + second.hosts) | fleet.stall.rank }}"
"""

RETURN = r"""
_value:
  description: The rows, worst first, each with its place in C(rank).
  type: list
  elements: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.plugin_utils import ranking


def rank(rows):
    try:
        return ranking.ranked(rows)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"fleet.stall.rank wants rows of findings.json with host, status and severity: {error}") from error


class FilterModule:
    def filters(self):
        return {"rank": rank}
