#!/usr/bin/python
# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: kernel_facts
short_description: What kernels a host has, and what is left to do until it runs another
version_added: 0.3.0
description:
  - Reads which kernels are installed, which one runs, which one GRUB boots by default and which one next, whether it can boot one just
    once, how much is free on C(/boot) and C(/), which packages are held back, and whether the package manager is in order.
  - With O(kernel), it finds the package and release that is meant, says what is left to do until the host runs that by default
    (RV(left)) and what speaks against it (RV(refused)).
  - It changes nothing. What apt would do it asks by C(apt-get --simulate), what dnf offers from dnf's cache.
  - Only GRUB is known as boot loader, and only the Debian and Red Hat families of packages; of other hosts it says so.
options:
  kernel:
    description:
      - The kernel that is wanted, as a package (V(linux-image-cloud-amd64), V(kernel)), a package and its version
        (V(linux-image-amd64=6.1.192-2), V(kernel=5.14.0-503.el9)), a release as C(uname -r) says it (V(6.1.0-56-cloud-amd64)), or a
        version alone, which is one of the running kernel's flavour.
    type: str
  boot_free_mb:
    description: How much must be free on C(/boot) to install a kernel, in MB.
    type: int
    default: 150
  root_free_mb:
    description: How much must be free on C(/) to install a kernel, in MB.
    type: int
    default: 600
  wait_s:
    description: How long to wait for a package manager that is at work, in seconds. If it goes on, that is among RV(refused).
    type: int
    default: 0
  resumed:
    description: Whether this goes on with an upgrade that was begun and whose end is not known. A kernel that was tried is then not
      tried again.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and return the same.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
    details: Nothing is changed.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
notes:
  - Most of it can be read without root, but for what C(grub-probe) tells: whether GRUB could write.
requirements:
  - Python 3.6 or later on the host
author:
  - fleet.stall contributors
"""

EXAMPLES = r"""
- name: Ask what an upgrade would take
  fleet.stall.kernel_facts:
    kernel: linux-image-cloud-amd64
  become: true
  register: facts
"""

RETURN = r"""
host:
  description: What was read of the host. The parts are described in C(plugins/module_utils/kernels/host.py) and C(boot.py).
  returned: always
  type: dict
  sample:
    boot_id: 0d8e3a9c-2f3b-4a55-9c1e-4d7a8a1c2b3d
    running: 6.1.0-50-cloud-amd64
    build: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-06-01)"
    family: debian
    installed:
      - {release: 6.1.0-50-cloud-amd64, package: linux-image-6.1.0-50-cloud-amd64, version: 6.1.176-1}
    held: []
    sane: true
    busy: null
    free_mb: {"/boot": 812, "/": 812}
target:
  description: What O(kernel) means on this host.
  returned: if O(kernel) is given
  type: dict
  sample:
    package: linux-image-cloud-amd64
    version: 6.1.192-2
    release: 6.1.0-56-cloud-amd64
    spec: linux-image-cloud-amd64=6.1.192-2
    installed: false
    removes: []
    replaces: false
    problem: null
    entry: null
left:
  description: The phases that are left, in order; empty if the host runs that kernel by default.
  returned: if O(kernel) is given
  type: list
  elements: str
  sample: [pin, install, one_shot, reboot, gate, make_default]
refused:
  description: What speaks against booting that kernel, and what to do about it. Empty where it runs, or was tried.
  returned: if O(kernel) is given
  type: list
  elements: dict
  sample:
    - {what: "80 MB are free on /boot, fewer than 150", remedy: "remove kernels no longer needed: apt-get autoremove"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fleet.stall.plugins.module_utils.kernels import asked, decide, grub, host, run


def main():
    module = AnsibleModule(
        argument_spec={
            "kernel": {"type": "str"},
            "boot_free_mb": {"type": "int", "default": 150},
            "root_free_mb": {"type": "int", "default": 600},
            "wait_s": {"type": "int", "default": 0},
            "resumed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    kernel = module.params["kernel"]
    if kernel is not None and not asked.FORM.match(kernel):
        module.fail_json(msg=f"stall_kernel is {kernel!r}: want a package, package=version, a release as uname -r says it, or a version.")
    host.wait(module.params["wait_s"])
    found = host.read(run.run)
    module.exit_json(changed=False, host=found, **(of_target(module, found) if kernel is not None else {}))


def of_target(module, found):
    family = host.FAMILIES.get(found["family"])
    target = family.target(run.run, module.params["kernel"], found["running"], found["installed"]) if family else decide.NO_TARGET
    entry = grub.entry_of(target["release"], found["boot"].get("entries", []))
    limits = {"/boot": module.params["boot_free_mb"], "/": module.params["root_free_mb"]}
    left = decide.left(found, target, module.params["resumed"])
    return {
        "target": dict(target, entry=entry["entry"] if entry else None),
        "left": left,
        "refused": decide.refusals(found, target, limits) if "reboot" in left else [],
    }


if __name__ == "__main__":
    main()
