# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tool of the host (strace, tcpdump) as a child process that can't outlive its bounds.

Between it and us stands a guard, a fork of ours, that ends it when its time is up even if we hang (not an alarm that an exec leaves in
place: strace blocks it). The kernel ends the tool with the guard, the guard with us, and the tool when its file gets too long. All stay
in our process group, so that whoever kills the group kills them too; timeout(1) would leave it, and leave the tool behind if it died.
"""

import contextlib
import os
import resource
import signal
import time
from typing import List, Optional, Sequence

from ansible_collections.fleet.stall.plugins.module_utils import process

PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
# A tool flushes and detaches on SIGTERM; then SIGKILL.
PATIENCE_S = 1.0
# Ended politely at this share of the size at which the kernel would kill it.
SOFT_SHARE = 0.9
COMPLAINT_BYTES = 400
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR2)


def find(name: str) -> Optional[str]:
    """The path of a tool, or None. sbin is looked through as well, which is not on every user's PATH."""
    for directory in (os.environ.get("PATH", "") + ":" + PATH).split(":"):
        path = os.path.join(directory, name)
        if os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


class Tool:
    """`argv` with a path as its first word. `output`: the file that grows; with `to_stdout` its standard output is that file.

    Raises OSError if it can't be started.
    """

    def __init__(self, argv: Sequence[str], seconds: float, max_bytes: int, output: str, to_stdout: bool = False) -> None:
        self.output, self.max_bytes = output, max_bytes
        self.started = time.monotonic()
        self.ended: Optional[float] = None
        # What it exited with, 128 + the signal that killed it, or None: it runs, or its guard was killed.
        self.code: Optional[int] = None
        self._spent_s = 0.0
        self._complaints = output + ".err"
        self._told = False
        parent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._guard = os.fork()
            if self._guard == 0:
                _guard(argv, seconds, max_bytes, output if to_stdout else os.devnull, self._complaints, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def poll(self) -> bool:
        """Whether it still runs. Tells it to end when its file is nearly as long as it may get; never waits."""
        if self.ended is None:
            try:
                ended, status, used = os.wait4(self._guard, os.WNOHANG)
            except ChildProcessError:  # someone else here has waited for it
                ended, status, used = self._guard, int(signal.SIGKILL), None
            if ended:
                self.ended = time.monotonic()
                self._spent_s = used.ru_utime + used.ru_stime if used else self._spent_s
                self.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            elif self.is_full():
                self.end()
        return self.ended is None

    def end(self) -> None:
        """Tell it to end. Does not wait."""
        if self.ended is None and not self._told:
            self._told = True
            os.kill(self._guard, signal.SIGTERM)

    def nudge(self) -> None:
        """Pass a SIGUSR2 on to it, which has perf write down what it has."""
        if self.poll():
            os.kill(self._guard, signal.SIGUSR2)

    def cpu_s(self) -> float:
        """CPU time of it and its guard so far. What has ended cost what it did."""
        if self.ended is None:
            self._spent_s = sum(map(_cpu_s, self.pids()))
        return self._spent_s

    def pids(self) -> List[int]:
        """Its guard's and its own, as far as they are known."""
        try:
            with open(f"/proc/{self._guard}/task/{self._guard}/children") as file:
                return [self._guard] + [int(pid) for pid in file.read().split()]
        except (OSError, ValueError):
            return [self._guard]

    def finish(self) -> None:
        """End it and wait until it is gone: at most some two seconds, a tool that hangs in the kernel is left to its fate."""
        self.end()
        for patience in (PATIENCE_S * 1.5, PATIENCE_S / 2):
            until = time.monotonic() + patience
            while self.poll() and time.monotonic() < until:
                time.sleep(0.005)
            if self.ended is None:
                os.kill(self._guard, signal.SIGKILL)

    def size(self) -> int:
        try:
            return os.stat(self.output).st_size
        except OSError:
            return 0

    def is_full(self) -> bool:
        """Whether its file is nearly as long as it may get."""
        return self.size() >= SOFT_SHARE * self.max_bytes

    def complaint(self) -> str:
        """The last thing that it said on standard error."""
        try:
            with open(self._complaints, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - COMPLAINT_BYTES))
                lines: List[str] = file.read(COMPLAINT_BYTES).decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def discard(self) -> None:
        """Remove its files."""
        for path in (self.output, self._complaints):
            try:
                os.unlink(path)
            except OSError:
                pass


def _cpu_s(pid: int) -> float:
    """CPU time so far of a process that still runs and of the children it has waited for, 0 if there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
        return sum(int(field) for field in fields[14 - 3 : 18 - 3]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _guard(argv: Sequence[str], seconds: float, max_bytes: int, out: str, complaints: str, parent: int) -> None:
    """Be the guard; never returns. SIGNALS are blocked."""
    code = 1
    try:
        process.die_with(parent)
        os.umask(0o077)
        for number, path in enumerate((os.devnull, out, complaints)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.closerange(3, 1 + max(int(name) for name in os.listdir("/proc/self/fd")))
        guard = os.getpid()
        child = os.fork()
        if child == 0:
            _become(argv, max_bytes, guard)
        code = _watch(child, time.monotonic() + seconds)
    finally:
        os._exit(code)


def _become(argv: Sequence[str], max_bytes: int, guard: int) -> None:
    """Be the tool; never returns."""
    try:
        process.die_with(guard)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if os.getpriority(os.PRIO_PROCESS, 0) < 0:  # ours is for reading in time; a tool does its work at the priority of most
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.execve(argv[0], list(argv), {"PATH": PATH, "LC_ALL": "C"})
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror or error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _watch(child: int, until: float) -> int:
    """Wait for the tool, end it at `until` or on SIGTERM, and say how it ended."""
    asked = False
    while True:
        got = signal.sigtimedwait(SIGNALS, max(0.0, until - time.monotonic()))
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if got is not None and got.si_signo != signal.SIGTERM:
            if got.si_signo == signal.SIGUSR2:
                os.kill(child, signal.SIGUSR2)
            continue
        os.kill(child, signal.SIGKILL if asked else signal.SIGTERM)
        asked, until = True, time.monotonic() + PATIENCE_S
