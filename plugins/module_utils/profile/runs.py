# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs: which task had a CPU, in which system call, from when to when. Signatures first."""

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Sample

Hole = Tuple[int, int, int]


class Run(NamedTuple):
    """`samples` x period is the time on the CPU; `kernel`: share of samples in the kernel; stacks: most samples first, at most 20."""

    start_ns: int
    end_ns: int
    cpu: int
    pid: int
    tid: int
    comm: str
    samples: int
    kernel: float
    stacks: List[Tuple[str, int]]


def collapse(samples: Iterable[Sample], period_ns: int) -> List[Run]:
    """All runs, by start. The samples may come in any order."""
    raise NotImplementedError


def stream(samples: Iterable[Sample], period_ns: int, holes: Optional[List[Hole]] = None) -> Iterator[Run]:
    """Each run when it ends, in bounded memory. The samples of each CPU must come in time order."""
    raise NotImplementedError


def holes(samples: Iterable[Sample], period_ns: int) -> List[Hole]:
    """(cpu, start_ns, end_ns) without a sample for more than five periods, by start. Only samples of a clock (cpu-clock) tell this."""
    raise NotImplementedError


def folded(samples: Iterable[Sample]) -> Dict[Tuple[str, str], int]:
    """{(comm, "root;..;leaf"): samples}"""
    raise NotImplementedError


def idle(run: Run) -> bool:
    """Whether the CPU had nothing to do: the idle task, and not an interrupt or softirq on top of it."""
    raise NotImplementedError
