"""Network, mount and UTS namespaces: enter one, run a program in one, find and end what runs in one.

Every process of a lab lives in one of the lab's network namespaces. That is how `down` finds them all, whatever
happened to the process that started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pyroute2 import IPRoute

NETNS_DIR = Path("/run/netns")
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def create(name: str) -> None:
    """Make a named network namespace, as `ip netns add` does."""
    NETNS_DIR.mkdir(exist_ok=True)
    place = NETNS_DIR / name
    place.touch(exist_ok=False)
    with _return_home():
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        _mount("/proc/thread-self/ns/net", str(place), "", MS_BIND)


def path(name: str) -> str:
    return str(NETNS_DIR / name)


def names(prefix: str) -> list[str]:
    """Named network namespaces of this machine that start with the prefix."""
    if not NETNS_DIR.is_dir():
        return []
    return sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(prefix))


def enter(name: str) -> None:
    """Move the calling thread into the named network namespace."""
    with (NETNS_DIR / name).open() as handle:
        _check(_libc.setns(handle.fileno(), CLONE_NEWNET), f"entering network namespace {name}")


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Be in the named network namespace for a while; what is started or opened meanwhile stays there."""
    with _return_home():
        enter(name)
        yield


@contextlib.contextmanager
def _return_home() -> Iterator[None]:
    with open("/proc/thread-self/ns/net") as home:
        try:
            yield
        finally:
            _check(_libc.setns(home.fileno(), CLONE_NEWNET), "returning from a network namespace")


@contextlib.contextmanager
def links(name: str) -> Iterator[IPRoute]:
    """A netlink socket of the named network namespace."""
    with inside(name):
        netlink = IPRoute(groups=0)
    with netlink:
        yield netlink


def run(name: str, argv: Sequence[str], stdin: str = "") -> None:
    """Run a tool in the named network namespace; raises RuntimeError with the tool's own words."""
    with inside(name):
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} in {name}: {done.stderr.strip() or done.stdout.strip()}\n{stdin}")


def spawn(name: str, argv: Sequence[str], cpus: Sequence[int], log: Path, prepare: Callable[[], None] | None = None) -> int:
    """Start a program in the named network namespace, as a session of its own, pinned to `cpus`; returns its pid.

    `prepare` runs in the new process, inside the namespace, before the program.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        enter(name)
        os.sched_setaffinity(0, cpus)
        with open("/dev/null") as null, log.open("a") as out:
            os.dup2(null.fileno(), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        if prepare:
            prepare()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execv(argv[0], argv)
    except BaseException as error:
        os.write(2, f"{argv[0]} could not be started in {name}: {error!r}\n".encode())
    finally:
        os._exit(127)


def become_host(hostname: str, keep: Sequence[Path] = ()) -> None:
    """Give the calling process a machine of its own: hostname, /sys of its network, and empty /run, /root and /tmp.

    `keep`: directories that stay visible although they lie under one of those.
    """
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")
    socket.sethostname(hostname)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    for name in os.listdir(NETNS_DIR):
        # a copy of the mount would keep that namespace alive after its lab is down
        _libc.umount2(bytes(NETNS_DIR / name), MNT_DETACH)
    cgroups = os.open("/sys/fs/cgroup", os.O_PATH)
    _mount("sysfs", "/sys", "sysfs")
    _mount(f"/proc/self/fd/{cgroups}", "/sys/fs/cgroup", "", MS_BIND | MS_REC)
    os.close(cgroups)
    kept = [(path, os.open(path, os.O_PATH)) for path in keep]
    for place, mode in (("/run", "755"), ("/root", "700"), ("/tmp", "1777")):
        _mount("tmpfs", place, "tmpfs", data=f"mode={mode}")
    for path, descriptor in kept:
        path.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}", str(path), "", MS_BIND | MS_REC)
        os.close(descriptor)
    os.chdir("/root")


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mounting {target}")


def processes(prefix: str) -> list[int]:
    """Pids of the processes that live in a network namespace whose name starts with the prefix."""
    inodes = {(NETNS_DIR / name).stat().st_ino for name in names(prefix)}
    return [pid for pid in all_pids() if _network_of(pid) in inodes]


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _network_of(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def remove(prefix: str, patience_s: float = 10.0) -> None:
    """End every process in the namespaces of this prefix, then remove the namespaces."""
    deadline = time.monotonic() + patience_s
    while pids := processes(prefix):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} of {prefix}* do not die; look at them with ps and run down again")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(pids)
        time.sleep(0.02)
    for name in names(prefix):
        _libc.umount2(bytes(NETNS_DIR / name), MNT_DETACH)
        (NETNS_DIR / name).unlink()


def _reap(pids: Sequence[int]) -> None:
    """Those that are our own children would stay as zombies, and a zombie has no namespace to be found by."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
