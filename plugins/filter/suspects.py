# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: suspects
short_description: The hosts worth opening up
version_added: "0.1.0"
author:
  - fleet.stall contributors (@fleet)
description:
  - Names of the hosts with status C(stalling), worst first.
positional: _input
options:
  _input:
    description: Findings, the content of C(findings.json).
    type: dict
    required: true
  most:
    description: At most so many hosts; all by default.
    type: int
"""

EXAMPLES = r"""
- name: Open up the three worst hosts
  ansible.builtin.add_host:
    name: "{{ item }}"
    groups: stall_suspects
  loop: "{{ findings | fleet.stall.suspects(most=3) }}"
"""

RETURN = r"""
_value:
  description: Inventory names, worst first.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.plugin_utils import ranking


def suspects(findings, most=None):
    try:
        return ranking.suspects(findings["hosts"], most)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"fleet.stall.suspects wants the content of findings.json: {error}") from error


class FilterModule:
    def filters(self):
        return {"suspects": suspects}
