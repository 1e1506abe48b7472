# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bounded job on a host is, and what tells one kind of job from another: an observation, a capture."""

from typing import Any, Callable, Dict, NamedTuple


class Kind(NamedTuple):
    """One kind of job. `plan` is in local time everywhere; times are epoch seconds of this host's clock."""

    noun: str  # in sentences: "the observer"
    doing: str  # "observing"
    module: str  # which ends it
    comm: str  # name of its watchdog's process
    suffix: str  # of the names of its directories
    result: str  # name of the file with its result
    lock: str  # name of its lock: one job of a kind on a host at a time
    address_space: int
    # By when the result is there or never will be.
    deadline: Callable[[Dict[str, Any]], float]
    # (plan, job, should_stop, deadline in seconds of time.monotonic()): does the work and returns the encoded result.
    work: Callable[[Dict[str, Any], Any, Callable[[], bool], float], bytes]
    # (plan, reason): the encoded result where there is none.
    nothing: Callable[[Dict[str, Any], str], bytes]


class Job(NamedTuple):
    """Paths and times (epoch seconds of this host's clock) of one job."""

    dir: str
    result: str
    processes: str
    work: str  # a directory for what the work needs only while it goes on
    raw: str
    ends_at: float
    deadline_at: float
