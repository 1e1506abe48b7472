# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of the system calls that matter here (arch/x86/entry/syscalls/syscall_{64,32}.tbl, include/uapi/asm-generic/unistd.h)."""

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
I386 = {
    1: "exit", 2: "fork", 3: "read", 4: "write", 5: "open", 6: "close", 7: "waitpid", 8: "creat", 10: "unlink", 11: "execve", 12: "chdir",
    19: "lseek", 21: "mount", 22: "umount", 26: "ptrace", 36: "sync", 37: "kill", 38: "rename", 39: "mkdir", 40: "rmdir", 45: "brk",
    52: "umount2", 54: "ioctl", 55: "fcntl", 85: "readlink", 90: "mmap", 91: "munmap", 92: "truncate", 93: "ftruncate", 99: "statfs",
    102: "socketcall", 106: "stat", 107: "lstat", 108: "fstat", 118: "fsync", 120: "clone", 125: "mprotect", 128: "init_module",
    129: "delete_module", 140: "_llseek", 141: "getdents", 144: "msync", 145: "readv", 146: "writev", 148: "fdatasync", 163: "mremap",
    180: "pread64", 181: "pwrite64", 187: "sendfile", 190: "vfork", 192: "mmap2", 193: "truncate64", 194: "ftruncate64", 195: "stat64",
    196: "lstat64", 197: "fstat64", 218: "mincore", 219: "madvise", 220: "getdents64", 221: "fcntl64", 225: "readahead", 226: "setxattr",
    229: "getxattr", 239: "sendfile64", 250: "fadvise64", 252: "exit_group", 254: "epoll_create", 255: "epoll_ctl", 268: "statfs64",
    272: "fadvise64_64", 274: "mbind", 283: "kexec_load", 292: "inotify_add_watch", 295: "openat", 300: "fstatat64", 301: "unlinkat",
    302: "renameat", 310: "unshare", 313: "splice", 314: "sync_file_range", 316: "vmsplice", 317: "move_pages", 324: "fallocate",
    333: "preadv", 334: "pwritev", 336: "perf_event_open", 337: "recvmmsg", 339: "fanotify_mark", 342: "open_by_handle_at", 345: "sendmmsg",
    346: "setns", 347: "process_vm_readv", 350: "finit_module", 353: "renameat2", 356: "memfd_create", 357: "bpf", 358: "execveat",
    365: "getsockopt", 366: "setsockopt", 369: "sendto", 370: "sendmsg", 371: "recvfrom", 372: "recvmsg", 377: "copy_file_range",
    378: "preadv2", 379: "pwritev2", 383: "statx", 425: "io_uring_setup", 426: "io_uring_enter", 427: "io_uring_register", 435: "clone3",
    436: "close_range", 437: "openat2",
}  # fmt: skip
TABLES: Dict[str, Dict[int, str]] = {"x86_64": X86_64, "aarch64": AARCH64}
COMPAT_TABLES: Dict[str, Dict[int, str]] = {"x86_64": I386}
# Calls that only wait, and the commonest that are always short: poll select nanosleep futex epoll_* ppoll pselect6, clock_gettime, ...
WAITS = {
    "x86_64": [7, 13, 14, 23, 24, 35, 202, 228, 230, 232, 270, 271, 281],
    "aarch64": [22, 72, 73, 98, 101, 113, 115, 124, 134, 135],
}
# The first argument of these is a file descriptor.
BY_DESCRIPTOR = frozenset(
    [
        "_llseek", "close", "fadvise64", "fadvise64_64", "fallocate", "fcntl", "fcntl64", "fdatasync", "fstat", "fstat64", "fstatat64",
        "fsync", "ftruncate", "ftruncate64", "getdents", "getdents64", "getsockopt", "inotify_add_watch", "io_uring_enter", "ioctl",
        "lseek", "newfstatat", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
        "readlinkat", "readv", "recvfrom", "recvmmsg", "recvmsg", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "setsockopt",
        "splice", "statx", "sync_file_range", "unlinkat", "write", "writev",
    ]
)  # fmt: skip
# Of those, the ones whose path argument is relative to the directory that the descriptor is.
AT_DIRECTORY = frozenset(["fstatat64", "newfstatat", "openat", "openat2", "readlinkat", "statx", "unlinkat"])


def name(number: int, machine: Optional[str] = None, compat: bool = False) -> str:
    """The name of a call, "syscall_N" where it is not in the table. `compat`: made by the 32-bit ABI, which has numbers of its own."""
    which = machine or os.uname().machine
    if compat:
        return COMPAT_TABLES.get(which, {}).get(number, f"32-bit call {number}")
    return TABLES.get(which, {}).get(number, f"syscall_{number}")


def of_32_bit(call: str, machine: Optional[str] = None) -> str:
    """What a call of a 32-bit program is that someone named by the table of 64-bit programs."""
    which = machine or os.uname().machine
    number = next((number for number, known in TABLES.get(which, {}).items() if known == call), None)
    return "32-bit call" if number is None else name(number, which, compat=True)


def waits(machine: Optional[str] = None) -> List[int]:
    """Numbers of calls not worth a look. Never empty: a filter needs a condition, and no call has the number -1."""
    return WAITS.get(machine or os.uname().machine, [-1])


def takes_descriptor(call: str) -> bool:
    """Whether its first argument leads to the file that it works on."""
    return call in BY_DESCRIPTOR and call not in AT_DIRECTORY
