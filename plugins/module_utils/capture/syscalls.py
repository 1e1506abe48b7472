# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of the system calls that matter here (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h)."""

import os
from typing import Dict, List, Optional

X86_64 = {
    0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 8: "lseek", 9: "mmap", 10: "mprotect", 11: "munmap",
    12: "brk", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev", 25: "mremap", 26: "msync", 27: "mincore",
    28: "madvise", 40: "sendfile", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 54: "setsockopt", 55: "getsockopt",
    56: "clone", 57: "fork", 58: "vfork", 59: "execve", 60: "exit", 62: "kill", 72: "fcntl", 74: "fsync", 75: "fdatasync",
    76: "truncate", 77: "ftruncate", 78: "getdents", 80: "chdir", 82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat", 87: "unlink",
    89: "readlink", 101: "ptrace", 137: "statfs", 162: "sync", 165: "mount", 166: "umount2", 175: "init_module", 176: "delete_module",
    187: "readahead", 188: "setxattr", 191: "getxattr", 213: "epoll_create", 217: "getdents64", 221: "fadvise64", 231: "exit_group",
    233: "epoll_ctl", 237: "mbind", 246: "kexec_load", 254: "inotify_add_watch", 257: "openat", 262: "newfstatat", 263: "unlinkat",
    264: "renameat", 272: "unshare", 275: "splice", 277: "sync_file_range", 278: "vmsplice", 279: "move_pages", 285: "fallocate",
    295: "preadv", 296: "pwritev", 298: "perf_event_open", 299: "recvmmsg", 301: "fanotify_mark", 304: "open_by_handle_at",
    307: "sendmmsg", 308: "setns", 310: "process_vm_readv", 313: "finit_module", 316: "renameat2", 319: "memfd_create", 321: "bpf",
    322: "execveat", 326: "copy_file_range", 327: "preadv2", 328: "pwritev2", 332: "statx", 425: "io_uring_setup",
    426: "io_uring_enter", 427: "io_uring_register", 435: "clone3", 436: "close_range", 437: "openat2",
}  # fmt: skip
AARCH64 = {
    5: "setxattr", 8: "getxattr", 17: "getcwd", 21: "epoll_ctl", 25: "fcntl", 27: "inotify_add_watch", 29: "ioctl", 34: "mkdirat",
    35: "unlinkat", 38: "renameat", 39: "umount2", 40: "mount", 43: "statfs", 45: "truncate", 46: "ftruncate", 47: "fallocate",
    49: "chdir", 56: "openat", 57: "close", 61: "getdents64", 62: "lseek", 63: "read", 64: "write", 65: "readv", 66: "writev",
    67: "pread64", 68: "pwrite64", 69: "preadv", 70: "pwritev", 71: "sendfile", 75: "vmsplice", 76: "splice", 78: "readlinkat",
    79: "newfstatat", 80: "fstat", 81: "sync", 82: "fsync", 83: "fdatasync", 84: "sync_file_range", 93: "exit", 94: "exit_group",
    97: "unshare", 105: "init_module", 106: "delete_module", 117: "ptrace", 129: "kill", 206: "sendto", 207: "recvfrom",
    208: "setsockopt", 209: "getsockopt", 211: "sendmsg", 212: "recvmsg", 213: "readahead", 214: "brk", 215: "munmap", 216: "mremap",
    220: "clone", 221: "execve", 222: "mmap", 223: "fadvise64", 226: "mprotect", 227: "msync", 232: "mincore", 233: "madvise",
    235: "mbind", 239: "move_pages", 241: "perf_event_open", 243: "recvmmsg", 263: "fanotify_mark", 265: "open_by_handle_at",
    268: "setns", 269: "sendmmsg", 270: "process_vm_readv", 273: "finit_module", 276: "renameat2", 279: "memfd_create", 280: "bpf",
    281: "execveat", 285: "copy_file_range", 286: "preadv2", 287: "pwritev2", 291: "statx", 425: "io_uring_setup",
    426: "io_uring_enter", 427: "io_uring_register", 435: "clone3", 436: "close_range", 437: "openat2",
}  # fmt: skip
TABLES = {"x86_64": X86_64, "aarch64": AARCH64}
# Calls that only wait, and the commonest that are always short: poll select nanosleep futex epoll_* ppoll pselect6, clock_gettime, ...
WAITS = {
    "x86_64": [7, 13, 14, 23, 24, 35, 202, 228, 230, 232, 270, 271, 281],
    "aarch64": [22, 72, 73, 98, 101, 113, 115, 124, 134, 135],
}
# The first argument of these is a file descriptor.
BY_DESCRIPTOR = frozenset(
    [
        "close", "fadvise64", "fallocate", "fcntl", "fdatasync", "fstat", "fsync", "ftruncate", "getdents", "getdents64", "getsockopt",
        "inotify_add_watch", "ioctl", "io_uring_enter", "lseek", "newfstatat", "openat", "openat2", "pread64", "preadv", "preadv2",
        "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlinkat", "readv", "recvfrom", "recvmmsg", "recvmsg", "sendfile",
        "sendmmsg", "sendmsg", "sendto", "setsockopt", "splice", "statx", "sync_file_range", "unlinkat", "write", "writev",
    ]
)  # fmt: skip
# Of those, the ones whose path argument is relative to the directory that the descriptor is.
AT_DIRECTORY = frozenset(["newfstatat", "openat", "openat2", "readlinkat", "statx", "unlinkat"])


def name(number: int, machine: Optional[str] = None) -> str:
    """The name of a call, "syscall_N" where it is not in the table."""
    table: Dict[int, str] = TABLES.get(machine or os.uname().machine, {})
    return table.get(number, f"syscall_{number}")


def waits(machine: Optional[str] = None) -> List[int]:
    """Numbers of calls not worth a look. Never empty: a filter needs a condition, and no call has the number -1."""
    return WAITS.get(machine or os.uname().machine, [-1])


def takes_descriptor(call: str) -> bool:
    """Whether its first argument leads to the file that it works on."""
    return call in BY_DESCRIPTOR and call not in AT_DIRECTORY
