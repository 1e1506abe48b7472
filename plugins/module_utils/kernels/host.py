# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is read of a host for an upgrade of its kernel."""

import os
import time
from typing import Any, Dict, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text, text_or_none
from ansible_collections.fleet.stall.plugins.module_utils.kernels import boot, debian, grub, redhat
from ansible_collections.fleet.stall.plugins.module_utils.kernels.run import Run

FAMILIES = {"debian": debian, "redhat": redhat}
_LIKE = {"debian": "debian", "ubuntu": "debian", "rhel": "redhat", "fedora": "redhat", "centos": "redhat"}
_LOCKS = {
    "debian": ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"),
    "redhat": ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"),
}
_FREE = ("/boot", "/")
_LOOK_EVERY_S = 2.0


def family(os_release: str) -> Optional[str]:
    """debian, redhat, or None for another, of the text of /etc/os-release."""
    fields = {name: value.strip("\"'") for name, _, value in (line.partition("=") for line in os_release.splitlines())}
    names = [fields.get("ID", "")] + fields.get("ID_LIKE", "").split()
    return next((_LIKE[name] for name in names if name in _LIKE), None)


def holder(locks: str, device: int, inode: int) -> Optional[int]:
    """The id of the process that holds a lock on a file, of the text of /proc/locks."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    for words in (line.split() for line in locks.splitlines()):
        if wanted in words and "->" not in words:
            return int(words[words.index(wanted) - 1])
    return None


def wait(patience_s: float) -> None:
    """Until the package manager is at rest, and not for longer than that."""
    which = family(text_or_none("/etc/os-release") or "")
    until = time.monotonic() + patience_s
    while time.monotonic() < until and busy(which):
        time.sleep(_LOOK_EVERY_S)


def read(run: Run) -> Dict[str, Any]:
    """{boot_id, running, build, family|null, installed, held, sane, said, busy|null, free_mb {path: MB|null}, boot, running_entry|null}

    Parts of it: see `busy`, `boot.read` and the family's `read`.
    """
    kernel = os.uname()
    which = family(text_or_none("/etc/os-release") or "")
    answer: Dict[str, Any] = {
        "boot_id": text_or_none("/proc/sys/kernel/random/boot_id"),
        "running": kernel.release,
        "build": kernel.version,
        "family": which,
        "free_mb": {path: _free_mb(path) for path in _FREE},
        "busy": busy(which),
        "boot": boot.read(run),
    }
    answer.update(FAMILIES[which].read(run) if which else {"installed": [], "held": [], "sane": True, "said": ""})
    entry = grub.entry_of(kernel.release, answer["boot"].get("entries", []))
    answer["running_entry"] = entry["entry"] if entry else None
    return answer


def _free_mb(path: str) -> Optional[int]:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize >> 20


def busy(which: Optional[str]) -> Optional[str]:
    """Who has the package manager locked, None if nobody has."""
    try:
        locks = text("/proc/locks")
    except Unavailable:
        return None
    for path in _LOCKS.get(which or "", ()):
        try:
            found = os.stat(path)
        except OSError:
            continue
        pid = holder(locks, found.st_dev, found.st_ino)
        if pid is not None:
            return f"{text_or_none(f'/proc/{pid}/comm') or 'a process'} (pid {pid})"
    return None
