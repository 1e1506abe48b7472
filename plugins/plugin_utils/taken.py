# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Class X: holes in the sampling that nothing in this kernel made. The hypervisor had taken the CPU, or the firmware all of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import SURE_EVENTS, Culprit
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED, Explained
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Xray

# A single CPU that is not sampled may have interrupts off; a system management interrupt takes all of them at once
CPUS_AT_ONCE = 2
# The kernel counts stolen time at the CPU's next tick, which an idle CPU puts off
ACCOUNTED_NS = 1000 * MS
# So much time without a stall tells what is lost anyway
OTHERS_NS = 3000 * MS
# By CPU: from when to when (the captured host's clock), and how much was taken
Seconds = Mapping[int, Sequence[tuple[int, int, int]]]


def with_steal(explained: Iterable[Explained], stolen_ns: Mapping[int, int], by_second: Seconds | None = None) -> list[Explained]:
    """Holes in the sampling that time stolen by the hypervisor accounts for are class X, and nobody's.

    Where no seconds without a stall tell whether it was taken in the stalls, a process that was seen to end hole after hole is kept.

    :param stolen_ns: by CPU, over the window of the capture
    :param by_second: the same from sample to sample, where that is known
    """
    explained, by_second = list(explained), by_second or {}
    stolen = _stolen(explained, stolen_ns, by_second)
    ended = Counter(one.blocker.key for one in explained if one.blocker and one.blocker.how == "hole")

    def is_kept(one: Explained) -> bool:
        return one.blocker is not None and ended[one.blocker.key] >= SURE_EVENTS and not stolen[one.cpu]

    return [
        _not_run(one, "stolen")
        if one.cpu in stolen and one.hole_ns >= EXPLAINED * (one.drain_ns - one.start_ns) and not is_kept(one)
        else one
        for one in explained
    ]


def doubt(culprits: Iterable[Culprit], explained: Sequence[Explained], stolen_ns: Mapping[int, int], by_second: Seconds) -> None:
    """Say of those that were kept what speaks for the hypervisor, and hold their confidence down.

    :param explained: what `with_steal` made of the stalls, by the same numbers
    """
    stolen = _stolen(explained, stolen_ns, by_second)
    for culprit in culprits:
        taken_ns = sum(stolen_ns.get(cpu, 0) for cpu in culprit.cpus if cpu in stolen)
        if culprit.klass == "I" and taken_ns:
            culprit.because.append(f"the hypervisor took {taken_ns / MS:.0f} ms of that CPU, and whether in these stalls is not known")
            culprit.confidence = "medium" if culprit.confidence == "high" else culprit.confidence


def _stolen(explained: Iterable[Explained], stolen_ns: Mapping[int, int], by_second: Seconds) -> dict[int | None, bool]:
    """The CPUs whose holes stolen time may account for, and whether it is known to have been taken in the stalls."""
    on_cpu: dict[int, list[Explained]] = defaultdict(list)
    for one in explained:
        if one.cpu is not None:
            on_cpu[one.cpu].append(one)
    found: dict[int | None, bool] = {}
    for cpu, stalls in on_cpu.items():
        in_stalls_ns = _in_stalls(stalls, by_second.get(cpu, ()))
        most_ns = stolen_ns.get(cpu, 0) if in_stalls_ns is None else in_stalls_ns
        hole_ns = sum(one.hole_ns for one in stalls)
        if hole_ns and 2 * most_ns >= hole_ns:
            found[cpu] = in_stalls_ns is not None
    return found


def _in_stalls(stalls: Iterable[Explained], seconds: Sequence[tuple[int, int, int]]) -> float | None:
    """Time taken in the seconds of these stalls, beyond what as many others lost; None where there are no others."""
    spans = [(one.start_ns, one.drain_ns + ACCOUNTED_NS) for one in stalls if one.hole_ns]
    near = [second for second in seconds if any(second[0] < end and start < second[1] for start, end in spans)]
    others = [second for second in seconds if second not in near]
    others_ns = sum(end - start for start, end, _ in others)
    if others_ns < OTHERS_NS:
        return None
    rate = sum(taken for *_, taken in others) / others_ns
    return sum(taken - rate * (end - start) for start, end, taken in near)


def with_firmware(
    explained: Iterable[Explained], capture: Mapping[str, Any], stolen_ns: Mapping[int, int], is_virtual: bool | None
) -> list[Explained]:
    """Holes that nobody is seen to end are class X where all sampled CPUs have them at once, on a machine without a hypervisor.

    :param stolen_ns: as above; a CPU that is not in it was not asked, one that lost anything has a hypervisor whatever it says
    :param is_virtual: None: not known
    """
    xray = Xray(capture)
    if is_virtual is not False or len(set(xray.sampled)) < CPUS_AT_ONCE or any(stolen_ns.get(cpu, 1) for cpu in xray.sampled):
        return list(explained)
    return [_not_run(one, "firmware") if one.note == "hole" and _stood_still(one, xray) else one for one in explained]


def _stood_still(one: Explained, xray: Xray) -> bool:
    least_ns = EXPLAINED * (one.drain_ns - one.start_ns)
    return all(xray.look(cpu, one.start_ns, one.drain_ns, None).hole_ns >= least_ns for cpu in xray.sampled)


def _not_run(one: Explained, note: str) -> Explained:
    return replace(one, blocker=None, share=0.0, klass="X", note=note, runs=tuple(run for run in one.runs if run.how != "hole"))
