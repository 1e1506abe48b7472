# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who had a CPU before a thread for packets took it, for as long as a stall, in a recording with a clock of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import IDLE
from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.profiles import HandOver, Profile
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Task

MOST = 8


@dataclass(frozen=True, slots=True)
class Blocker:
    """A task that had a CPU for most of the length of a stall before hand-overs. ``stacks`` by milliseconds, most first.

    ``held_ms``: of these lengths, together; ``longest_ms``: its longest run there.
    """

    task: Task
    cpu: int
    hand_overs: int
    of: int
    share: float
    held_ms: float
    longest_ms: float
    kernel: float
    stacks: tuple[tuple[str, float], ...]
    quiet: tuple[tuple[str, float], ...]
    klass: str | None


def blockers(profile: Profile, stall_ms: float, cpu: int | None) -> list[Blocker]:
    """The tasks that had a CPU for EXPLAINED of so long a time before hand-overs, the most often first.

    A thread that handled packets meanwhile was not kept waiting: what fills the pauses between them, however busy, is no one's stall.

    :param stall_ms: the length of a stall
    :param cpu: where probes are handled; where the recording knows that CPU, or says of none which it is, only hand-overs there count
    """
    length = max(1, round(stall_ms * MS))
    waited = [one for one in profile.hand_overs if _waited(one, length)]
    here = [one for one in waited if cpu is None or one.cpu == cpu] or waited
    seen: dict[tuple[str, int, int], list[tuple[HandOver, float]]] = defaultdict(list)
    for one in here:
        had: Counter[tuple[str, int]] = Counter()
        for run in one.before:
            if run.comm != IDLE and not classes.is_packet_thread(run.comm):
                had[run.comm, run.pid] += max(0, min(run.end_ns, one.start_ns) - max(run.start_ns, one.start_ns - length))
        if had:
            (comm, pid), most = had.most_common(1)[0]
            if most >= EXPLAINED * length:
                seen[comm, pid, one.cpu].append((one, min(1.0, most / length)))
    ordered = sorted(sorted(seen), key=lambda key: -len(seen[key]))[:MOST]
    return [_blocker(key, seen[key], len(here), profile, length) for key in ordered]


def _waited(one: HandOver, length: int) -> bool:
    since = one.start_ns - EXPLAINED * length
    return not any(run.end_ns > since and classes.is_packet_thread(run.comm) for run in one.before)


def _blocker(key: tuple[str, int, int], seen: list[tuple[HandOver, float]], of: int, profile: Profile, length: int) -> Blocker:
    comm, pid, cpu = key
    near: Counter[str] = Counter()
    kernel, total, longest = 0.0, 0, 0
    tids: Counter[int] = Counter()
    for one, _share in seen:
        for run in one.before:
            if (run.comm, run.pid) == (comm, pid) and run.end_ns > one.start_ns - length:
                near.update(dict(run.stacks))
                kernel += run.kernel * run.samples
                total += run.samples
                longest = max(longest, run.end_ns - run.start_ns)
                tids[run.tid] += run.samples
    stacks = tuple(near.most_common())
    rest = Counter({stack: count - (near[stack] if name == comm else 0) for (name, stack), count in profile.counts.items()})
    quiet = tuple((stack, float(count)) for stack, count in rest.most_common() if count > 0)
    share = kernel / total if total else 0.0
    return Blocker(
        Task(comm, pid, tids.most_common(1)[0][0] if tids else pid),
        cpu,
        len(seen),
        of,
        round(sum(share for _, share in seen) / len(seen), 3),
        round(sum(share for _, share in seen) * length / MS, 3),
        round(longest / MS, 3),
        round(share, 3),
        tuple((stack, count * profile.period_ns / MS) for stack, count in stacks),
        quiet,
        classes.of_task([(stack, float(count)) for stack, count in stacks], share, None, False, True),
    )
