# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel release and preemption model: whether a long kernel path can hold off ksoftirqd at all.

The model decides how much a stack is worth as evidence (preempt=full or lazy can interrupt a long system call), so a guess is
worse than "unknown". Sources, best first: /sys/kernel/realtime, debugfs, the command line, the build's configuration.
"""

import gzip
import os
import re
from typing import Any, Dict, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text_or_none

BUILD_OPTIONS = (
    ("CONFIG_PREEMPT_RT", "rt"),
    ("CONFIG_PREEMPT_LAZY", "lazy"),
    ("CONFIG_PREEMPT", "full"),
    ("CONFIG_PREEMPT_VOLUNTARY", "voluntary"),
    ("CONFIG_PREEMPT_NONE", "none"),
)


def preemption(
    version: str, debugfs: Optional[str], cmdline: Optional[str], config: Optional[str], realtime: Optional[str]
) -> Tuple[str, str]:
    """(model, source): model is none | voluntary | full | lazy | rt | unknown.

    version: `uname -v`; debugfs: content of sched/preempt, such as "none voluntary (full)"; cmdline, config, realtime: content or None.
    """
    if realtime == "1":
        return "rt", "/sys/kernel/realtime"
    if re.search(r"PREEMPT[_ ]RT", version):
        return "rt", "uname -v"
    chosen = re.search(r"\((\w+)\)", debugfs or "")
    if chosen:
        return chosen.group(1), "/sys/kernel/debug/sched/preempt"
    if "PREEMPT_DYNAMIC" in version:
        asked = re.findall(r"(?:^|\s)preempt=(none|voluntary|full|lazy)(?=\s|$)", cmdline or "")
        if asked:
            return asked[-1], "preempt= on the kernel's command line"
    for option, model in BUILD_OPTIONS:
        if re.search(rf"^{option}=y$", config or "", re.MULTILINE):
            return model, f"{option} in the kernel's configuration"
    if "PREEMPT_DYNAMIC" in version:
        return "unknown", "PREEMPT_DYNAMIC, and neither debugfs nor the configuration can be read"
    if re.search(r"\bPREEMPT\b", version):
        return "full", "uname -v"
    return "unknown", "none or voluntary: uname -v names no model, and the configuration can't be read"


def read() -> Dict[str, Any]:
    """{release, version, machine, preemption, preemption_source}"""
    name = os.uname()
    model, source = preemption(
        name.version,
        text_or_none("/sys/kernel/debug/sched/preempt"),
        text_or_none("/proc/cmdline"),
        _config(name.release),
        text_or_none("/sys/kernel/realtime"),
    )
    return {
        "release": name.release,
        "version": name.version,
        "machine": name.machine,
        "preemption": model,
        "preemption_source": source,
    }


def _config(release: str) -> Optional[str]:
    try:
        with gzip.open("/proc/config.gz", "rb") as file:
            return file.read(1 << 20).decode("ascii", "replace")
    except OSError:
        return text_or_none(f"/boot/config-{release}") or text_or_none(f"/lib/modules/{release}/config")
