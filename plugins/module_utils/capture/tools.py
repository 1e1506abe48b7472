# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tracers are there, in which version."""

import re
import subprocess
from typing import Dict, Optional

from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded

ASK = {"perf": "--version", "bpftrace": "--version", "strace": "-V"}
PATIENCE_S = 5.0
NUMBER = re.compile(r"\d+(?:\.\w+)+\S*")


def versions() -> Dict[str, Optional[str]]:
    """{perf, bpftrace, strace}: the version, or None where it is missing."""
    return {name: version(name, option) for name, option in ASK.items()}


def version(name: str, option: str) -> Optional[str]:
    path = bounded.find(name)
    if path is None:
        return None
    try:
        said = subprocess.run(
            [path, option], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = NUMBER.search(said[:500].decode("utf-8", "replace"))
    return found.group() if found else "unknown"
