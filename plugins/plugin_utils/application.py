# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Class R: packets were handled on time, or no trace shows how they were, and a service was late.

Who made it late: the control group that it runs in, if that ran out of CPU quota, or the service itself, by what it ran meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ansible_collections.fleet.stall.plugins.plugin_utils import classes, endpoints, quota, slow_calls
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import (
    FEW_EVENTS,
    STACKS_KEPT,
    SURE_EVENTS,
    Culprit,
    identify,
    is_enough,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import NAMED, Explained
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import IDLE_PID, Xray

# What used up a quota ran in the period before: at most this long ago
QUOTA_NS = 200 * MS
# No trace shows how the packets of such a stall were handled
UNTRACED = ("no_cpu", "no_samples")


class Asked(NamedTuple):
    """What stalled flows ask: the ports that they and their services listen on, and the addresses (`canonical`) that they come from.

    ``endpoints``: (address, port) where the processes of their services listen behind any NAT, as far as that is known.
    """

    ports: set[int]
    clients: set[str]
    endpoints: frozenset[tuple[str, int]] = frozenset()


def is_late(one: Explained) -> bool:
    """Whether the application alone may have been late in a stall: nothing was seen to hold its packets up."""
    return one.note == "on_time" or (one.gap is None and one.note in UNTRACED)


def with_strace(explained: Iterable[Explained], capture: Mapping[str, Any], asked: Callable[[Stall], Asked | None]) -> list[Explained]:
    """Late answers of a service while strace stopped it at each of its calls are the capture's own work, and say nothing of the host.

    :param asked: what a stall's flows ask, None where it is not a process that answers them
    """
    traced = capture.get("strace")
    pid, start, seconds = (traced.get(key) for key in ("pid", "start_ns", "seconds")) if isinstance(traced, Mapping) else (None,) * 3
    if not isinstance(start, int) or not isinstance(seconds, int | float):
        return list(explained)
    end = start + seconds * 1e9

    def is_own_work(one: Explained) -> bool:
        asks = asked(one.stall) if is_late(one) and one.start_ns <= end and one.drain_ns >= start else None
        # Who serves may be unknown, and then it may be the one
        return asks is not None and (_serving(capture, asks) or (pid,))[0] == pid

    return [replace(one, note="traced") if is_own_work(one) else one for one in explained]


def was_on_time(late: Sequence[Explained]) -> bool:
    """Whether the trace shows of most of them that their packets were handled on time."""
    return 2 * sum(one.note == "on_time" for one in late) > len(late)


def judge(explained: Sequence[Explained], capture: Mapping[str, Any], observe: Mapping[str, Any], asked: Asked) -> list[Culprit]:
    """The one culprit of an application's stalls, or none.

    :param observe: observe.json of the capture window, for the control groups that ran out of quota
    :param asked: what the stalled flows ask
    """
    late = [one for one in explained if is_late(one)]
    if not late:
        return []
    served = _serving(capture, asked)
    within = _cgroup(capture, served[0]) if served else None
    lack = quota.lack(observe, capture, late, within)
    if lack:
        culprit = _of_group(lack, late, capture, served if within else None)
        if culprit.events < FEW_EVENTS * sum(one.counts for one in explained):
            culprit.confidence = "low"
        return [culprit]
    return [_of_service(served, late, capture, within)] if served else []


def _of_group(lack: quota.Lack, late: Sequence[Explained], capture: Mapping[str, Any], served: tuple[int, str] | None) -> Culprit:
    """:param served: who serves, which is in the group; None: not known, and so it is doubtful that the group is to blame"""
    path = lack.path
    pid, comm, ran_ms = _hungriest(_members(capture, path), late, capture)
    if pid is None and served:
        pid, comm = served
    because = [
        f"{'its' if served else 'the'} control group {path} was out of CPU quota {lack.times} times, for {lack.spent_ms:.0f} ms together",
        lack.said(),
    ]
    if ran_ms:
        because.append(f"{comm} ran for {ran_ms:.0f} ms in the quota periods before")
    if not served:
        because.append("whether the late service runs in that group is not known")
    is_sure = served and lack.told == quota.COINCIDES and lack.hits >= SURE_EVENTS
    culprit = _culprit(pid, comm or path.rstrip("/").rpartition("/")[2] or path, late, "medium" if is_sure else "low", because)
    culprit.events, culprit.cgroup, culprit.held_ms, culprit.out_of_quota = lack.hits, path, lack.spent_ms, True
    row = (capture.get("processes") or {}).get(str(pid)) or {}
    culprit.unit, culprit.container = row.get("unit"), row.get("container")
    return culprit


def _of_service(served: tuple[int, str], late: Sequence[Explained], capture: Mapping[str, Any], within: str | None) -> Culprit:
    pid, comm = served
    packets = "the host handled its packets on time" if was_on_time(late) else "no trace shows how its packets were handled"
    because = [f"the delayed requests are on its connections, and {packets}"]
    culprit = _culprit(pid, comm, late, "low", because)
    culprit.events = 0
    culprit.stacks, busy = _ran(pid, late, Xray(capture))
    if busy:
        because.append(f"it ran for {100 * NAMED:.0f}% or more of {busy} of {len(late)} stalls")
    shown = next((call for stack, _ in culprit.stacks if (call := classes.syscall(stack))), None)
    calls = slow_calls.of_process(capture, (pid,), [(one.start_ns, one.drain_ns) for one in late], shown)
    culprit.calls = [call for call in calls if is_enough(call["count"], len(late))]
    culprit.syscall = culprit.calls[0]["call"] if culprit.calls else shown
    culprit.longest_ms = culprit.calls[0]["duration_ms"] if culprit.calls else culprit.longest_ms
    identify(culprit, capture)
    culprit.cgroup = within
    return culprit


def _ran(pid: int, late: Sequence[Explained], xray: Xray) -> tuple[list[tuple[str, float]], int]:
    """(stack, milliseconds) of what a process ran in the stalls, most first, and in how many of them.

    Those count in which it ran for a good part, on whatever CPU; where they are few, they say nothing.
    """
    runs = xray.runs_of(pid, xray.cpus)
    found: dict[str, float] = defaultdict(float)
    busy = 0
    for one in late:
        during = [
            (stack, ns * count / samples / MS)
            for run in runs
            if (ns := min(run.end_ns, one.drain_ns) - max(run.start_ns, one.start_ns)) > 0 and (samples := sum(n for _, n in run.stacks))
            for stack, count in run.stacks
        ]
        if sum(ms for _, ms in during) * MS >= NAMED * (one.drain_ns - one.start_ns):
            busy += 1
            for stack, ms in during:
                found[stack] += ms
    if not busy or not is_enough(busy, len(late)):
        return [], 0
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))[:STACKS_KEPT], busy


def _culprit(pid: int | None, comm: str, late: Sequence[Explained], confidence: str, because: list[str]) -> Culprit:
    longest_ms = max(one.stall.length_ns for one in late) / MS
    return Culprit(
        comm=comm,
        pid=pid,
        tid=None,
        klass="R",
        events=len(late),
        share=None,
        cpus=[],
        held_ms=0.0,
        longest_ms=longest_ms,
        policy=None,
        vector=None,
        stacks=[],
        calls=[],
        confidence=confidence,
        usual=False,
        because=because,
        syscall=None,
    )


def _members(capture: Mapping[str, Any], path: str) -> set[int]:
    """Processes that are known to be in the group or below it. The root has no members that could be told from others."""
    pids = {int(pid) for pid in capture.get("processes") or {} if pid.isdecimal()}
    return {pid for pid in pids if path != "/" and quota.is_below(_cgroup(capture, pid) or "", path)}


def _cgroup(capture: Mapping[str, Any], pid: int) -> str | None:
    """The group of a process in which a CPU quota counts, None where that was not seen."""
    row = (capture.get("processes") or {}).get(str(pid)) or {}
    return row.get("cpu_cgroup") or row.get("cgroup")


def _hungriest(pids: set[int], late: Sequence[Explained], capture: Mapping[str, Any]) -> tuple[int | None, str | None, float]:
    """Who of the group ran most in the quota periods before the stalls."""
    xray = Xray(capture)
    spent: dict[tuple[int, str], int] = defaultdict(int)
    for pid in pids - {IDLE_PID}:
        for run in xray.runs_of(pid, xray.cpus):
            if any(one.start_ns - QUOTA_NS <= run.end_ns and run.start_ns <= one.drain_ns for one in late):
                spent[pid, run.task.comm] += run.end_ns - run.start_ns
    if not spent:
        return None, None, 0.0
    (pid, comm), ns = max(spent.items(), key=lambda item: (item[1], -item[0][0]))
    return pid, comm, ns / MS


def _serving(capture: Mapping[str, Any], asked: Asked) -> tuple[int, str] | None:
    """(pid, comm) of the process with most connections of the stalled flows.

    Of the services' endpoints that is beyond doubt. On a port of theirs another may serve as well, in another network namespace than the
    service, so that who connects counts, too; where their address was translated on the way it is not known who serves.
    """
    exact: dict[tuple[int, str], int] = defaultdict(int)
    likely: dict[tuple[int, str], int] = defaultdict(int)
    for row in capture.get("connections") or []:
        if isinstance(row, Mapping) and isinstance(row.get("pid"), int):
            local, peer = endpoints.parse(row.get("local")), endpoints.parse(row.get("peer"))
            counted = exact if local in asked.endpoints else likely
            if counted is exact or (local and peer and local[1] in asked.ports and peer[0] in asked.clients):
                counted[row["pid"], str(row.get("comm") or "")] += 1
    counts = exact or likely
    return max(counts, key=lambda key: (counts[key], -key[0])) if counts else None
