# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The detached processes of a job: the watchdog, and the worker (an observer, a capture) that it watches.

Three things end a worker, and none needs the controller: the watchdog kills its process group at the deadline; if the watchdog dies,
the kernel kills the worker; and the worker has an alarm of its own. What a worker started is in its process group and dies with it.
"""

import json
import os
import resource
import signal
import time
from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils import observer, process, statedir
from ansible_collections.fleet.stall.plugins.module_utils.job import Job, Kind

# The first to go when memory runs out: a diagnosis must never cost a host its workload.
OOM_SCORE_ADJ = "500"
FILE_SIZE = 64 << 20
OPEN_FILES = 8192
SPARE_CPU_S = 30
# From SIGTERM to SIGKILL: less than the patience of whoever stops the watchdog.
SOFT_END_S = 3.0


def run(plan: Dict[str, Any], job: Job, kind: Kind, lock: int, ready: int) -> None:
    """Be the watchdog, to the end. Writes its process id to `ready` when the worker runs, else the reason why it does not."""
    try:
        _run(plan, job, kind, lock, ready)
    finally:
        os.ftruncate(lock, 0)  # it is still held: whoever reads it now is told that a run is ending


def _run(plan: Dict[str, Any], job: Job, kind: Kind, lock: int, ready: int) -> None:
    child = 0
    try:
        _cut_loose([lock, ready], kind.comm)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
        deadline = time.monotonic() + job.deadline_at - time.time()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _work(plan, job, kind, deadline, parent=parent)
        _announce(plan, job, lock, child)
        os.write(ready, str(os.getpid()).encode())
    except Exception as error:
        if child:
            os.kill(child, signal.SIGKILL)
        os.write(ready, observer.reason_of(error).encode("utf-8", "replace")[:4096])
        return
    os.close(ready)
    reason = watch(child, deadline, kind.noun)
    if reason and not os.path.exists(job.result):
        statedir.write_whole(job.result, kind.nothing(plan, reason))
    statedir.remove(job.work)


def _announce(plan: Dict[str, Any], job: Job, lock: int, child: int) -> None:
    """Say in the lock who holds it, and in the job whom to end."""
    processes = [process.identity(os.getpid()), process.identity(child)]
    holder = {"run": plan["run"], "host": plan["host"], "deadline_at": job.deadline_at, "processes": processes}
    content = json.dumps(holder).encode()
    os.pwrite(lock, content, 0)
    statedir.write_whole(job.processes, content)


def watch(child: int, deadline: float, noun: str = "the observer") -> Optional[str]:
    """Wait for the worker; kill its group at the deadline, or soon after a SIGTERM to us. Returns why it has no result, or None.

    Whatever it started and left behind is killed as well. The caller has SIGTERM and SIGCHLD blocked.
    """
    reason = f"{noun} did not end by its deadline and was killed"
    while True:
        got = signal.sigtimedwait([signal.SIGCHLD, signal.SIGTERM], max(0.0, deadline - time.monotonic()))
        # Not reaped yet, so that its number still is that of its group and of no other.
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return _cause_of_death(_kill_group(child), noun)
        if got is None:
            _kill_group(child)
            return reason
        if got.si_signo == signal.SIGTERM:
            reason = f"{noun} was told to end, did not, and was killed"
            deadline = min(deadline, time.monotonic() + SOFT_END_S)
            os.kill(child, signal.SIGTERM)


def _kill_group(leader: int) -> int:
    """Kill a group and reap its leader; returns the leader's status."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(leader, signal.SIGKILL)  # it did not get as far as to lead a group
    return os.waitpid(leader, 0)[1]


def _cause_of_death(status: int, noun: str) -> Optional[str]:
    if os.WIFSIGNALED(status):
        return f"{noun} was killed by {signal.Signals(os.WTERMSIG(status)).name} (out of memory, or someone's hand)"
    return f"{noun} ended with code {os.WEXITSTATUS(status)} and no result" if os.WEXITSTATUS(status) else None


def _work(plan: Dict[str, Any], job: Job, kind: Kind, deadline: float, parent: int) -> None:
    """Be the worker; never returns."""
    code = 1
    try:
        told: List[int] = []
        os.setpgid(0, 0)
        process.die_with(parent)
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGCHLD])
        left = deadline - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, left + 1.0)
        _limit(resource.RLIMIT_AS, kind.address_space)
        _limit(resource.RLIMIT_FSIZE, FILE_SIZE)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
        _limit(resource.RLIMIT_CPU, int(left) + SPARE_CPU_S)
        process.write_own("oom_score_adj", OOM_SCORE_ADJ)
        statedir.write_whole(job.result, kind.work(plan, job, lambda: bool(told), deadline))
        code = 0
    except Exception as error:
        statedir.write_whole(job.result, kind.nothing(plan, observer.reason_of(error)))
    finally:
        os._exit(code)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _cut_loose(keep: List[int], comm: str) -> None:
    """Let go of whoever started us: terminal, pipes, directory."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.write_own("comm", comm)
    os.chdir("/")
    os.umask(0o077)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed the directory
