# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: waves
short_description: How many hosts each wave of a campaign has
version_added: "0.3.0"
author:
  - fleet.stall contributors (@fleet)
description:
  - For C(serial) of a play over the hosts of a campaign, which stand in the order of their waves.
positional: _input, hostvars
options:
  _input:
    description: The hosts in the order of the play.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of the hosts; C(stall_wave) is the number of the wave.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Remediate, wave by wave
  hosts: fleet_stall_remediate
  serial: "{{ groups['fleet_stall_remediate'] | fleet.stall.waves(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The sizes of the waves in their order; V([1]) where there is no host.
  type: list
  elements: int
"""

from itertools import groupby

from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.plugin_utils.waves import serial


def waves(hosts, hostvars):
    try:
        return serial([list(wave) for _, wave in groupby(hosts, key=lambda host: int(hostvars[host]["stall_wave"]))])
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"fleet.stall.waves wants hosts of a campaign, each with its stall_wave: {error}") from error


class FilterModule:
    def filters(self):
        return {"waves": waves}
