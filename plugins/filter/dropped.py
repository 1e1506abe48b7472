# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dropped
short_description: What dropping caches did, in words
version_added: "0.3.0"
author:
  - fleet.stall contributors (@fleet)
description:
  - Says what dropping caches took, how soon it comes back, and what could not be measured.
positional: _input, after
options:
  _input:
    description: What M(fleet.stall.measure) measured before.
    type: dict
    required: true
  after:
    description: What it measured after.
    type: dict
    required: true
  later:
    description: What it measured a while later.
    type: dict
"""

EXAMPLES = r"""
- name: Say what it did
  ansible.builtin.debug:
    msg: "{{ before.measured | fleet.stall.dropped(after.measured, later=later.measured) }}"
"""

RETURN = r"""
_value:
  description: A sentence each.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.plugin_utils.dropped import sentences


def dropped(before, after, later=None):
    try:
        return sentences(before, after, later or None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"fleet.stall.dropped wants what fleet.stall.measure returned as `measured`: {error}") from error


class FilterModule:
    def filters(self):
        return {"dropped": dropped}
