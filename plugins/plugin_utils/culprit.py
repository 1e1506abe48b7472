# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to blame, as far as it is known: the process, the softirq or the control group, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Run

# So many stalls make a pattern; where there were fewer, all of them count, and for less
SURE_EVENTS = 3
# A culprit of so many of the stalls is beyond doubt
MOST_EVENTS = 0.7
# One of fewer stalls than this is doubtful beside others
FEW_EVENTS = 0.3
STACKS_KEPT = 200


@dataclass(slots=True)
class Culprit:
    """``events``: stalls that it explains; ``held_ms``: that it kept the CPU in them; ``usual``: it runs as much while nothing stalls.

    ``share``: mean share of its stalls, None where no samples tell; ``because``: sentences. ``pid`` None, ``pids`` many: a program that is
    started anew each time. ``control``: whether a clear host has the same (control.py), a sentence. ``out_of_quota``: it is ``cgroup`` that
    is to blame, and the process the one of it that ran most. ``work``: what it did for a work queue of the kernel; ``moved``: it kept
    packets waiting where their thread was, which then handled them elsewhere.
    """

    comm: str
    pid: int | None
    tid: int | None
    klass: str | None
    events: int
    share: float | None
    cpus: list[int]
    held_ms: float
    longest_ms: float
    policy: str | None
    vector: str | None
    stacks: list[tuple[str, float]]
    calls: list[dict[str, Any]]
    confidence: str
    usual: bool
    because: list[str]
    syscall: str | None
    path: str | None = None
    buffer: str | None = None
    unit: str | None = None
    container: str | None = None
    cgroup: str | None = None
    pids: tuple[int, ...] = ()
    control: str = ""
    out_of_quota: bool = False
    work: str | None = None
    moved: bool = False

    def ran(self, run: Run | None) -> bool:
        """Whether a run is its own."""
        if run is None or self.vector or run.vector:
            return run is not None and run.vector == self.vector
        return run.task.pid in (self.pids or (self.pid,))

    @property
    def explains(self) -> bool:
        return self.events > 0 and not self.usual


def is_enough(events: int, of: int) -> bool:
    return events >= SURE_EVENTS or 2 * events >= of


def identify(culprit: Culprit, capture: Mapping[str, Any]) -> None:
    """Unit, container and cgroup of the process; file and buffer of its calls."""
    processes = capture.get("processes")
    known = culprit.pids if culprit.pid is None else (culprit.pid, culprit.tid)
    rows = [row for pid in known if isinstance(row := processes.get(str(pid)), Mapping)] if isinstance(processes, Mapping) else []
    if rows and not culprit.vector:
        rows = rows if culprit.pid is None else rows[:1]
        culprit.unit, culprit.container, culprit.cgroup = (_agreed(rows, key) for key in ("unit", "container", "cgroup"))
        culprit.policy = culprit.policy or _agreed(rows, "policy")
    for call in culprit.calls:
        if call["call"] == culprit.syscall:
            culprit.path = culprit.path or _text(call["path"])
            culprit.buffer = culprit.buffer or _text(call["buffer"])


def _agreed(rows: Iterable[Mapping[str, Any]], key: str) -> str | None:
    """What all of these processes have in common."""
    found = {_text(row.get(key)) for row in rows}
    return found.pop() if len(found) == 1 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
