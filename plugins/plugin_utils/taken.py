# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Class X: holes in the sampling that nothing in this kernel made. The hypervisor had taken the CPU, or the firmware all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED, Explained
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import Xray

# A single CPU that is not sampled may have interrupts off; a system management interrupt takes all of them at once
CPUS_AT_ONCE = 2


def with_steal(explained: Iterable[Explained], stolen_ns: Mapping[int, int]) -> list[Explained]:
    """Holes in the sampling that time stolen by the hypervisor accounts for are class X, and nobody's.

    :param stolen_ns: by CPU, over the window of the capture
    """
    explained = list(explained)
    holes: dict[int, int] = {}
    for one in explained:
        if one.cpu is not None:
            holes[one.cpu] = holes.get(one.cpu, 0) + one.hole_ns
    stolen = {cpu for cpu, hole_ns in holes.items() if hole_ns and 2 * stolen_ns.get(cpu, 0) >= hole_ns}
    return [
        _not_run(one, "stolen") if one.cpu in stolen and one.hole_ns >= EXPLAINED * (one.drain_ns - one.start_ns) else one
        for one in explained
    ]


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
