# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The join: what the prober saw as a stall, what the host saw of its packets meanwhile, and what its CPU ran.

A stall [first delayed send, drain] is put on the captured host's clock. The gap in the host's own handling of probes names the CPU, the
task that handled the backlog and the moment it began to. What ran on that CPU from the stall's start to that moment is what kept it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils import classes
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, SLACK_NS, Stall

# From this share of a stall on, a task explains it; from the lower one on, it is named beside others
EXPLAINED, NAMED = 0.7, 0.3
# A gap is the host's view of a stall if it covers so much of it
COVERS = 0.5
# No sample for so long is a hole, at any sampling rate that is used
HOLE_NS = 10 * MS


@dataclass(frozen=True, slots=True)
class Task:
    comm: str
    pid: int
    tid: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one process ran on the CPU within a stall. Times are the captured host's; ``share`` is of the stall, 0 to 1.

    ``stacks``: (folded stack, nanoseconds), longest first; ``how``: ``runs``, or ``hole`` where it was seen only as the CPU was sampled again.
    """

    task: Task
    cpu: int
    share: float
    intervals: tuple[tuple[int, int], ...]
    stacks: tuple[tuple[str, float], ...]
    kernel: float
    policy: str | None
    klass: str | None
    how: str = "runs"


@dataclass(frozen=True, slots=True)
class Explained:
    """One stall and what the capture says of it.

    ``blocker``: what kept the CPU, null unless its ``share`` reaches EXPLAINED; ``runs``: all that was seen on that CPU meanwhile, idle time and the
    handler's own runs aside, longest first. ``before``: who handled the last probe before the silence. ``start_ns``, ``drain_ns``: the stall up to
    the first packet handled again, the captured host's clock. ``note``: why nothing is named: ``outside`` (of the capture), ``on_time`` (the host
    handled its packets), ``no_cpu``, ``no_samples``, ``idle``, ``handler`` (it was at work itself), ``hole``, ``several``, ``little`` (known), or None.
    """

    stall: Stall
    start_ns: int
    drain_ns: int
    cpu: int | None = None
    handler: Task | None = None
    backlog: int = 0
    blocker: Run | None = None
    share: float = 0.0
    klass: str | None = None
    gap: Mapping | None = None
    before: Task | None = None
    runs: tuple[Run, ...] = field(default=())
    note: str | None = None


def explain(stalls: Sequence[Stall], capture: Mapping, offset_ns: int, window: tuple[int, int] | None = None) -> list[Explained]:
    """Explain each stall by the capture.

    :param stalls: of flows to the captured host, times in the fleet's common base
    :param capture: its capture.json
    :param offset_ns: nanoseconds that the host's clock is ahead of the base
    :param window: start and end of what was captured, the host's clock; by default what the capture states
    """
    raise NotImplementedError
