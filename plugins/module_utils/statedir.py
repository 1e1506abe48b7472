# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that holds a host's lock, jobs and raw samples: private, and checked, since /tmp belongs to everyone."""

import errno
import os
import shutil
import stat
import tempfile
from typing import Callable, Mapping

NAME = "fleet.stall"
LOCK = "lock"
CAPTURE_LOCK = "capture.lock"
SETTINGS = "settings.json"
WORK = "work"
FREE_BYTES = 1 << 20
SWEEP_AFTER_S = 86400.0
REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or raise the quota",
    errno.EROFS: "make it writable; the observer keeps its lock and its result there",
    errno.EACCES: "observe as root (stall_become), or set XDG_RUNTIME_DIR to a directory of the user's own",
    errno.EPERM: "observe as root (stall_become), or set XDG_RUNTIME_DIR to a directory of the user's own",
}


class Refusal(Exception):
    """The observer can't be started: `reason`, and the `remedy` for it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}: {remedy}")
        self.reason, self.remedy = reason, remedy


def locate(uid: int, environ: Mapping[str, str]) -> str:
    """/run/fleet.stall for root, else in XDG_RUNTIME_DIR if that is the user's own, else fleet.stall-<uid> in the temporary directory."""
    if uid == 0:
        return f"/run/{NAME}"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    try:
        if os.path.isabs(runtime) and os.stat(runtime).st_uid == uid:
            return os.path.join(runtime, NAME)
    except OSError:
        pass
    return os.path.join(tempfile.gettempdir(), f"{NAME}-{uid}")


def prepare(path: str) -> str:
    """Make the directory if need be and see that it is ours alone and has room. Raises Refusal."""
    try:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        _check(path)
        free = free_bytes(path)
    except OSError as error:
        raise failure(path, error) from None
    if free < FREE_BYTES:
        raise failure(path, OSError(errno.ENOSPC, "less than 1 MiB is free"))
    return path


def free_bytes(path: str) -> int:
    """How much its file system has left. Raises OSError."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _check(path: str) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Refusal(f"{path} is not a directory (a link, perhaps laid by someone else)", "remove it")
    if found.st_uid != os.geteuid():
        raise Refusal(f"{path} belongs to user id {found.st_uid}, not to {os.geteuid()}", "remove it, or set XDG_RUNTIME_DIR")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Refusal(f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):o})", "look at what is in it, then chmod 700 it")


def failure(path: str, error: OSError) -> Refusal:
    """An error of the file system as one that names path and remedy."""
    remedy = REMEDIES.get(error.errno or 0, "see that the directory can be made and written to")
    return Refusal(f"{error.filename or path}: {error.strerror or error}", remedy)


def make_job(path: str) -> None:
    """An empty directory for a job; what an earlier attempt of the same run left is removed. Raises Refusal."""
    try:
        remove(path)
        os.mkdir(path, 0o700)
    except OSError as error:
        raise failure(path, error) from None


def remove(path: str) -> None:
    """Remove a directory or a file, as far as that can be done; a link itself, not what it points to."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            os.unlink(path)
        except OSError:
            pass


def sweep(root: str, now: float, in_use: Callable[[str], bool] = lambda path: False) -> None:
    """Remove the jobs and raw samples of more than a day ago, and of newer ones the work that was broken off; none that is in use."""
    for entry in list(os.scandir(root)):
        try:
            age_s = now - entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            continue
        if entry.name in (LOCK, CAPTURE_LOCK, SETTINGS, f"{SETTINGS}.lock") or in_use(entry.path):
            continue
        if age_s >= SWEEP_AFTER_S:
            remove(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            remove(os.path.join(entry.path, WORK))


def write_whole(path: str, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none. Raises OSError."""
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
