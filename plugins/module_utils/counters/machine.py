# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which boot of which kind of machine this is: boot id, uptime, a hint of virtualisation."""

import re
from typing import Any, Dict, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text, text_or_none

# The first CPU's lines are enough: on a big host there are a megabyte of them.
CPUINFO_BYTES = 8192


def virtualisation(vendor: Optional[str], product: Optional[str], hypervisor: Optional[str], cpuinfo: Optional[str]) -> Optional[str]:
    """A hint in a word or two, None if nothing says that this is a virtual machine. A hint, since firmware can say anything."""
    if hypervisor:
        return hypervisor
    named = " ".join(part for part in (vendor, product) if part)
    flagged = bool(re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo or "", re.MULTILINE))
    known = re.search(r"QEMU|KVM|VMware|Virtual Machine|VirtualBox|Xen|Amazon EC2|Google Compute Engine|OpenStack|Firecracker|Bochs", named)
    if known and (flagged or not cpuinfo or "flags" not in cpuinfo):
        return known.group(0)
    return "hypervisor" if flagged else None


def read() -> Dict[str, Any]:
    """{boot_id, uptime_s, virtualisation|null, cpus_online}"""
    return {
        "boot_id": text("/proc/sys/kernel/random/boot_id").strip(),
        "uptime_s": float(text("/proc/uptime").split()[0]),
        "virtualisation": virtualisation(
            text_or_none("/sys/class/dmi/id/sys_vendor"),
            text_or_none("/sys/class/dmi/id/product_name"),
            text_or_none("/sys/hypervisor/type"),
            text_or_none("/proc/cpuinfo", CPUINFO_BYTES),
        ),
        "cpus_online": text_or_none("/sys/devices/system/cpu/online"),
    }
