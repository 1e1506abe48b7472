# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and ending a job: an observer or a capture, one of a kind on a host at a time.

module -> (double fork) -> watchdog, which holds the lock and the deadline -> observer, which probes -> sampler, which reads counters.
"""

import fcntl
import json
import os
import select
import time
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils import observer, process, result, statedir, watchdog
from ansible_collections.fleet.stall.plugins.module_utils.job import Job, Kind
from ansible_collections.fleet.stall.plugins.module_utils.plan import job_name

RESULT = "observe.json.gz"
PROCESSES = "processes.json"
# Beside the directory of the job, which is removed once the result is gathered; the next start a day later removes this, too.
RAW = ".raw.json.gz"
# After the window and the last reply: time to read the counters again and to write the result.
GRACE_S = 5.0
END_PATIENCE_S = 5.0
READY_S = 10.0


def _observe(plan: Dict[str, Any], job: Job, should_stop: Callable[[], bool], deadline: float) -> bytes:
    found = observer.observe(plan, should_stop, deadline)
    return result.encode(result.save_raw(job.raw, found))


OBSERVATION = Kind(
    noun="the observer",
    doing="observing",
    module="observe",
    comm="fleet-stall-obs",
    suffix="",
    result=RESULT,
    lock=statedir.LOCK,
    address_space=1 << 30,
    deadline=lambda plan: plan["ends_at"] + plan["reply_timeout_ms"] / 1000.0 + GRACE_S,
    work=_observe,
    nothing=lambda plan, reason: result.encode(observer.nothing(plan, reason)),
)


def job_of(root: str, plan: Dict[str, Any], kind: Kind = OBSERVATION) -> Job:
    """Where a plan's job lives, and when it ends, in epoch seconds of this host's clock. The plan is in local time."""
    path = _path(root, plan["run"], plan["host"], kind)
    return Job(
        dir=path,
        result=os.path.join(path, kind.result),
        processes=os.path.join(path, PROCESSES),
        work=os.path.join(path, statedir.WORK),
        raw=path + RAW,
        ends_at=plan["ends_at"],
        deadline_at=kind.deadline(plan),
    )


def _path(root: str, run: str, host: str, kind: Kind) -> str:
    return os.path.join(root, job_name(run, host) + kind.suffix)


def start(plan: Dict[str, Any], root: str, kind: Kind = OBSERVATION) -> Dict[str, Any]:
    """Leave an observer (or whatever `kind` says) behind and return at once. `plan` is valid and in local time, `root` a prepared
    state directory.

    Returns {dir, result, pid, ends_at_host, deadline_at_host}: by the deadline the result is there or never will be.
    Raises Refusal, also when another one of its kind runs on this host.
    """
    job = job_of(root, plan, kind)
    lock = _lock(root, kind)
    try:
        statedir.sweep(root, time.time(), _in_use)
        statedir.make_job(job.dir)
        pid = _detach(plan, job, kind, lock)
    finally:
        os.close(lock)
    return described(job, pid)


def described(job: Job, pid: Optional[int]) -> Dict[str, Any]:
    """A job as the module returns it."""
    return {"dir": job.dir, "result": job.result, "pid": pid, "ends_at_host": job.ends_at, "deadline_at_host": job.deadline_at}


def stop(root: str, run: str, host: str, kind: Kind = OBSERVATION) -> int:
    """End the job of a run and remove all that it left; returns how many were ended (0 or 1)."""
    path = _path(root, run, host, kind)
    ended = [process.end(who, END_PATIENCE_S) for who in _processes(path)]
    statedir.remove(path)
    statedir.remove(path + RAW)
    return int(any(ended))


def running(root: str, run: str, host: str, kind: Kind = OBSERVATION) -> int:
    """How many jobs `stop` would end."""
    return int(_in_use(_path(root, run, host, kind)))


def _in_use(path: str) -> bool:
    return any(process.is_alive(who) for who in _processes(path))


def _processes(path: str) -> List[Dict[str, int]]:
    try:
        with open(os.path.join(path, PROCESSES)) as file:
            return json.load(file)["processes"]
    except (OSError, ValueError, KeyError):
        return []


def _lock(root: str, kind: Kind) -> int:
    path = os.path.join(root, kind.lock)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise statedir.failure(path, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 4096).decode("utf-8", "replace")
        os.close(lock)
        raise _refusal(holder, kind) from None
    os.ftruncate(lock, 0)
    return lock


def _refusal(holder: str, kind: Kind) -> statedir.Refusal:
    try:
        held = json.loads(holder)
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(held["deadline_at"]))
        who = f"as {held['host']!r}, process {held['processes'][0]['pid']}"
        return statedir.Refusal(
            f"run {held['run']!r} is {kind.doing} on this host ({who}) until {until} by its clock",
            f"wait for it, or end it: the {kind.module} module with state=stopped and that run and host",
        )
    except (ValueError, KeyError, TypeError):
        return statedir.Refusal("another run is just starting or ending on this host", "try again in some seconds")


def _detach(plan: Dict[str, Any], job: Job, kind: Kind, lock: int) -> int:
    """Fork twice; the watchdog's process id once it is at work."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                os.close(reading)
                watchdog.run(plan, job, kind, lock, writing)
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    ready, _, _ = select.select([reading], [], [], READY_S)
    word = os.read(reading, 4096).decode("utf-8", "replace") if ready else ""
    os.close(reading)
    if not word.isdecimal():
        raise statedir.Refusal(
            f"{kind.noun} did not start: {word or 'it died without a word'}", "look into the kernel log of the host for why"
        )
    return int(word)
