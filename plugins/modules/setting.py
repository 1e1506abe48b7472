#!/usr/bin/python
# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: setting
short_description: Change settings of the kernel, the scheduler and control groups, and know the way back
version_added: 0.3.0
description:
  - Reads a setting, compares it, writes it and reads it back, and returns what it takes to undo that (RV(undo)). What a setting was
    before it was first changed is kept on the host until the next boot, so that a task that was broken off and is run again returns it
    as well.
  - All settings of a task are made or none. What the kernel does not take is an error, and what was written before it is put back.
  - The remedies of the role P(fleet.stall.remediate#role) are made of it.
options:
  state:
    description:
      - V(present) makes the settings, V(undone) puts back what O(undo) holds.
    type: str
    choices: [present, undone]
    default: present
  kernel:
    description:
      - Sysctls and files below C(/sys), each with exactly one rule, O(kernel[].value), O(kernel[].at_least), O(kernel[].at_most) or
        O(kernel[].times).
    type: list
    elements: dict
    suboptions:
      sysctl:
        description: Name of a sysctl.
        type: str
      file:
        description: Path of a file below C(/sys). In one that lists its choices, the one in brackets holds.
        type: str
      value:
        description: This value.
        type: str
      at_least:
        description: This number, where it is less.
        type: int
      at_most:
        description: This number, where it is more.
        type: int
      times:
        description: A multiple of what it was before it was first changed.
        type: float
      most:
        description: With O(kernel[].times), no more than this. What is more already stays.
        type: int
      field:
        description: Which of several numbers is meant, from 1; the others stay.
        type: int
      optional:
        description: Whether a kernel without it is no failure.
        type: bool
        default: false
  persisted:
    description:
      - Whether it outlasts a reboot. Sysctls are written to C(/etc/sysctl.d/90-fleet-stall.conf) as well, the quota of a unit is kept by
        systemd. Nothing else can be.
    type: bool
    default: false
  irq_affinity:
    description:
      - Takes a CPU from the interrupts of receive queues.
    type: dict
    suboptions:
      avoid_cpu:
        description: The CPU that they are to keep off.
        type: int
        required: true
      interfaces:
        description: Network interfaces, by default those with a default route; with what they are made of.
        type: list
        elements: str
        default: []
  rps:
    description:
      - Spreads the packets of receive queues over CPUs (receive packet steering).
    type: dict
    suboptions:
      cpus:
        description: CPUs as a list such as V(0-3,8); by default all that are online but O(rps.avoid_cpu).
        type: str
      avoid_cpu:
        description: A CPU that is kept out.
        type: int
      interfaces:
        description: Network interfaces, by default those with a default route; with what they are made of.
        type: list
        elements: str
        default: []
  priority:
    description:
      - Takes the real-time policy from all threads of a process.
    type: dict
    suboptions:
      pid:
        description: Number of the process.
        type: int
        required: true
      comm:
        description: Its name. One with another name is not touched.
        type: str
        required: true
      seen_s_ago:
        description: How many seconds ago it ran for certain. One that was started later is not touched.
        type: float
        required: true
      policy:
        description: Policy that it gets. With V(batch) and V(idle) its ordinary threads get it as well.
        type: str
        choices: [other, batch, idle]
        default: other
      nice:
        description: Niceness that all its threads have at the least.
        type: int
  quota:
    description:
      - Changes how much CPU a unit of systemd, or the control group of a process, may use; with one of O(quota.percent) and O(quota.times).
    type: dict
    suboptions:
      unit:
        description: The unit.
        type: str
      pid:
        description: Without a unit, a process in the group.
        type: int
      comm:
        description: Its name.
        type: str
      seen_s_ago:
        description: How many seconds ago it ran for certain. The group of one that was started later is not touched.
        type: float
      percent:
        description: Per cent of one CPU; V(0) for no limit.
        type: float
      times:
        description: A multiple of what it was before it was first changed.
        type: float
  undo:
    description:
      - What a former task returned as RV(undo). Only what still is as that task made it is put back.
    type: list
    elements: dict
attributes:
  check_mode:
    description: Can run in check mode and say what it would do.
    support: full
  diff_mode:
    description: Shows what would change.
    support: full
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
notes:
  - Asks for root.
requirements:
  - Python 3.6 or later on the host
seealso:
  - name: Remediation
    description: What becomes of undo.
    link: https://github.com/fleet/stall/blob/main/docs/REMEDIATION.md
author:
  - fleet.stall contributors
"""

EXAMPLES = r"""
- name: Give the receive softirq twice its budget, past the next boot
  fleet.stall.setting:
    kernel:
      - {sysctl: net.core.netdev_budget, times: 2, most: 1200}
      - {sysctl: net.core.netdev_budget_usecs, times: 2, most: 16000, optional: true}
    persisted: true
  become: true
  register: made

- name: And take that back
  fleet.stall.setting:
    state: undone
    undo: "{{ made.undo }}"
  become: true

- name: Take the real-time priority from a process that was seen ten minutes ago
  fleet.stall.setting:
    priority: {pid: 27759, comm: smaps-reader, seen_s_ago: 600}
  become: true
"""

RETURN = r"""
settings:
  description: What each setting was, and what it is; in check mode, what it would be.
  returned: success
  type: list
  elements: dict
  sample: [{what: net.core.netdev_budget, before: "300", after: "600", changed: true}]
said:
  description: What was changed, and what could not be or will not last, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["net.core.netdev_budget is 600, and was 300"]
undo:
  description: What it takes to undo it, empty if nothing is other than it was.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{kind: file, place: {path: /proc/sys/net/core/netdev_budget, form: text}, value: "300", made: "600"}]
absent:
  description: Optional settings that this kernel does not have.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [net.core.netdev_budget_usecs]
overridden:
  description: Persisted sysctls that a file sets as well which is read later at boot, by name.
  returned: when O(state=present)
  type: dict
  sample: {net.core.netdev_budget: [/etc/sysctl.conf]}
left:
  description: What was not put back, and why, a sentence each; RV(said) has them as well.
  returned: when O(state=undone)
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fleet.stall.plugins.module_utils import statedir
from ansible_collections.fleet.stall.plugins.module_utils.settings import change, kinds, sysctl_d
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

INTERFACES = {"type": "list", "elements": "str", "default": []}
KERNEL = {
    "sysctl": {"type": "str"},
    "file": {"type": "str"},
    "value": {"type": "str"},
    "at_least": {"type": "int"},
    "at_most": {"type": "int"},
    "times": {"type": "float"},
    "most": {"type": "int"},
    "field": {"type": "int"},
    "optional": {"type": "bool", "default": False},
}
PRIORITY = {
    "pid": {"type": "int", "required": True},
    "comm": {"type": "str", "required": True},
    "seen_s_ago": {"type": "float", "required": True},
    "policy": {"type": "str", "choices": ["other", "batch", "idle"], "default": "other"},
    "nice": {"type": "int"},
}
QUOTA = {
    "unit": {"type": "str"},
    "pid": {"type": "int"},
    "comm": {"type": "str"},
    "seen_s_ago": {"type": "float"},
    "percent": {"type": "float"},
    "times": {"type": "float"},
}
KINDS = ("kernel", "irq_affinity", "rps", "priority", "quota")


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "undone"], "default": "present"},
            "kernel": {
                "type": "list",
                "elements": "dict",
                "options": KERNEL,
                "required_one_of": [("sysctl", "file")],
                "mutually_exclusive": [("sysctl", "file"), ("value", "at_least", "at_most", "times")],
            },
            "persisted": {"type": "bool", "default": False},
            "irq_affinity": {"type": "dict", "options": {"avoid_cpu": {"type": "int", "required": True}, "interfaces": INTERFACES}},
            "rps": {"type": "dict", "options": {"cpus": {"type": "str"}, "avoid_cpu": {"type": "int"}, "interfaces": INTERFACES}},
            "priority": {"type": "dict", "options": PRIORITY},
            "quota": {
                "type": "dict",
                "options": QUOTA,
                "required_one_of": [("unit", "pid"), ("percent", "times")],
                "mutually_exclusive": [("percent", "times")],
                "required_by": {"pid": ["comm", "seen_s_ago"]},
            },
            "undo": {"type": "list", "elements": "dict"},
        },
        mutually_exclusive=[(*KINDS, "undo")],
        required_if=[("state", "present", KINDS, True), ("state", "undone", ["undo"])],
        supports_check_mode=True,
    )
    try:
        root = statedir.locate(os.geteuid(), os.environ)
        memory = change.Memory(root if module.check_mode else statedir.prepare(root))
        with memory.held(module.check_mode):
            answer = (undone if module.params["state"] == "undone" else present)(module, memory)
    except (Unfit, statedir.Refusal) as error:
        module.fail_json(msg=str(error))
    module.exit_json(said=kinds.sentences(answer, module.check_mode), diff=diff(answer["settings"]), **answer)


def present(module, memory):
    answer = change.apply(kinds.changes(module.params), memory, module.check_mode)
    names = [setting["sysctl"] for setting in module.params["kernel"] or [] if setting["sysctl"] and module.params["persisted"]]
    overridden = {name: sysctl_d.overriding(name) for name in names}
    return {**answer, "overridden": {name: files for name, files in overridden.items() if files}}


def undone(module, memory):
    return change.put_back(kinds.undone(module.params["undo"]), memory, module.check_mode)


def diff(rows):
    """Before and after of what changes, a line each."""
    before, after = (
        "".join(f"{row['what']} = {kinds.shown(row[side])}\n" for row in rows if row["changed"]) for side in ("before", "after")
    )
    return {"before": before, "after": after}


if __name__ == "__main__":
    main()
