# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the counters in a process of its own, so that no read, however slow, delays a probe.

Once before the window, once after it, and in between what is cheap enough for once a second.
"""

import json
import os
import select
import signal
import time
from types import ModuleType
from typing import Any, Callable, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils import process
from ansible_collections.fleet.stall.plugins.module_utils.counters import READERS, STATIC
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable

EARLY_S = 1.5
SERIES_INTERVAL_S = 1.0
MOST_SAMPLES = 600
NICENESS = 10
MOST_BYTES = 8 << 20


def collect(starts: float, ends: float, wait: Callable[[float], bool]) -> Dict[str, Dict[str, Any]]:
    """{reader: {available, reason, start, end, start_ns, end_ns, series}} of a window in seconds of time.monotonic().

    wait(seconds) sleeps, and returns True when the window is to end early. `start` is read shortly before the window, `end` after it.
    series: {start_ns, offsets_ms [..], increments {key: [growth since the sample before, ..]}} for readers that have one, else null.
    """
    stopped = wait(max(0.0, starts - EARLY_S - time.monotonic()))
    found = {name: first(reader) for name, reader in READERS.items()}
    series = {name: Series(READERS[name]) for name in READERS if hasattr(READERS[name], "sample") and found[name]["available"]}
    interval = max(SERIES_INTERVAL_S, (ends - starts) / MOST_SAMPLES)
    for due in instants(max(starts, time.monotonic()), ends, interval):
        stopped = stopped or wait(max(0.0, due - time.monotonic()))
        for name, growing in series.items():
            growing.add(found[name]["start"])
        if stopped:
            break
    for name, reader in READERS.items():
        if found[name]["available"]:
            found[name] = last(reader, found[name], static=name in STATIC)
            found[name]["series"] = series[name].result() if name in series else None
    return found


def instants(starts: float, ends: float, interval: float) -> List[float]:
    """From `starts` to `ends` in steps of `interval`, both ends included; the last step is the one that is longer or shorter."""
    steps = max(1, round((ends - starts) / interval))
    return [starts + step * interval for step in range(steps)] + [ends]


def first(reader: ModuleType) -> Dict[str, Any]:
    found: Dict[str, Any] = {
        "available": True,
        "reason": None,
        "start": {},
        "end": None,
        "start_ns": now_ns(),
        "end_ns": None,
        "series": None,
    }
    try:
        found["start"] = reader.read()
    except Exception as error:  # one source in an unknown format must not cost the others
        found.update(available=False, reason=reason_of(error))
    return found


def last(reader: ModuleType, found: Dict[str, Any], static: bool) -> Dict[str, Any]:
    if static:
        return found
    found = dict(found, end_ns=now_ns())
    try:
        found["end"] = reader.read()
    except Exception as error:
        found["reason"] = f"at the end: {reason_of(error)}"
    if hasattr(reader, "reduce"):
        found["start"], found["end"] = reader.reduce(found["start"], found["end"])
    return found


def reason_of(error: Exception) -> str:
    """Why a reader has nothing, in words."""
    if isinstance(error, Unavailable):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'read'}: {error.strerror or error}"
    return f"unknown format: {type(error).__name__}: {error}"


class Series:
    """Growth of a reader's cumulative numbers from sample to sample."""

    def __init__(self, reader: ModuleType) -> None:
        self.reader = reader
        self.start_ns = 0
        self.offsets_ms: List[int] = []
        self.increments: Dict[str, List[int]] = {}
        self.before: Dict[str, int] = {}

    def add(self, start: Dict[str, Any]) -> None:
        try:
            numbers = self.reader.sample(start)
        except Exception:
            return  # a gap in the offsets shows it
        now = now_ns()
        if not self.start_ns:
            self.start_ns = now
            self.increments = {key: [] for key in numbers}
        else:
            self.offsets_ms.append((now - self.start_ns) // 1000000)
            for key, grown in self.increments.items():
                grown.append(max(0, numbers.get(key, self.before[key]) - self.before[key]))
        # What was not there this time, as a CPU that is offline, has grown since it was there last.
        self.before.update(numbers)

    def result(self) -> Dict[str, Any]:
        return {"start_ns": self.start_ns, "offsets_ms": self.offsets_ms, "increments": self.increments}


def now_ns() -> int:
    return int(time.time() * 1e9)


class Sampler:
    """A child process that runs `collect` and hands over its result."""

    def __init__(self, starts: float, ends: float) -> None:
        self.pipe, writing = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _child(starts, ends, writing, parent)
        os.close(writing)

    def result(self, deadline: float) -> Dict[str, Dict[str, Any]]:
        """The counters, or for each of them why there is none. Waits until `deadline` (monotonic) at the most; ends the child."""
        chunks, size = [], 0
        while size < MOST_BYTES:
            ready, _, _ = select.select([self.pipe], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self.pipe, 1 << 16) if ready else b""
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
        os.close(self.pipe)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        try:
            return json.loads(b"".join(chunks).decode())
        except ValueError:
            reason = "the counters were not read in time" if time.monotonic() >= deadline else "the process that reads the counters died"
            return {name: {"available": False, "reason": reason, "start": {}, "end": None, "series": None} for name in READERS}

    def hurry(self) -> None:
        """Have it read the end now."""
        os.kill(self.pid, signal.SIGTERM)


def _child(starts: float, ends: float, writing: int, parent: int) -> None:
    """Never returns."""
    try:
        process.die_with(parent)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.nice(NICENESS)
        content = json.dumps(collect(starts, ends, _terminated_within), separators=(",", ":")).encode()
        while content:
            content = content[os.write(writing, content) :]
    finally:
        os._exit(0)


def _terminated_within(seconds: float) -> bool:
    return signal.sigtimedwait([signal.SIGTERM], seconds) is not None
