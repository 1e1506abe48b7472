"""What a lab needs of the machine, said before anything is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

TOOLS = {"sshd": "openssh-server", "iptables-restore": "iptables", "ethtool": "ethtool"}
TOOL_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def problems() -> list[str]:
    """Sentences, each with its remedy; empty when a lab can be raised here."""
    found = []
    if os.geteuid() != 0:
        found.append("the lab makes network namespaces, which takes root: run it as root (for example `sudo make lab-up`)")
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=TOOL_PATH)]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        found.append(f"missing {', '.join(missing)}: install the packages {packages} (with apt-get or dnf)")
    if len(usable_cpus()) < 2:
        found.append(
            "the lab needs two CPUs, one that stalls and one for everything else; "
            f"this process may use only CPU {', '.join(map(str, usable_cpus()))}: run it on a machine with two, or widen its CPU affinity"
        )
    if not kernel_threads_are_visible():
        found.append("kernel threads are not visible here (a PID namespace of its own?), and faults act on them: run it in the machine's")
    return found


def kernel_threads_are_visible() -> bool:
    try:
        return Path("/proc/2/comm").read_text() == "kthreadd\n"
    except OSError:
        return False


def usable_cpus() -> Sequence[int]:
    return sorted(os.sched_getaffinity(0))


def stall_cpu() -> int:
    """The CPU that faults stall; nothing else of the lab runs there."""
    return usable_cpus()[-1]


def host_cpus() -> Sequence[int]:
    """The CPUs of sshd, probers and services."""
    return usable_cpus()[:-1]
