# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drop_in
short_description: A systemd drop-in that has a unit do less
version_added: "0.3.0"
author:
  - fleet.stall contributors (@fleet)
description:
  - Makes the lines of the section C([Service]) of a drop-in out of what is known of a program, or what is asked for.
positional: _input
options:
  _input:
    description: Files of the unit, as C(systemctl cat) prints them.
    type: str
    required: true
  readers:
    description: What is known of programs, C({comm, path, flags}) each, the first two as regular expressions.
    type: list
    elements: dict
    required: true
  asked:
    description: C(flags) and C(properties) that go before what is known.
    type: dict
    default: {}
  comm:
    description: Name of the process.
    type: str
  path:
    description: File that it read.
    type: str
"""

EXAMPLES = r"""
- name: Show what the drop-in would be
  ansible.builtin.debug:
    msg: "{{ cat.stdout | fleet.stall.drop_in(readers, comm='cadvisor', path='/sys/fs/cgroup/memory/memory.stat') }}"
"""

RETURN = r"""
_value:
  description: C(lines) of the drop-in, and C(because), a sentence on why these.
  type: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.plugin_utils.drop_in import DropInError, lines


def drop_in(unit_files, readers, asked=None, comm=None, path=None):
    try:
        made, because = lines(unit_files, readers, asked or {}, comm, path)
    except DropInError as error:
        raise AnsibleFilterError(f"fleet.stall.drop_in: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"fleet.stall.drop_in wants the files of a unit and rows of readers: {error}") from error
    return {"lines": made, "because": because}


class FilterModule:
    def filters(self):
        return {"drop_in": drop_in}
