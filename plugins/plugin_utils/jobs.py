# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be left behind on a host for a window: an observation or a capture. They differ in module, files and words only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """`plan`, `job`, `result`, `status`: names in the host's directory of a run (see rundir)."""

    name: str
    module: str
    plan: str
    job: str
    result: str
    status: str
    noun: str
    done: str


OBSERVE = Job("observe", "fleet.stall.observe", "plan", "job", "observe", "status", "observer", "measured")
CAPTURE = Job("capture", "fleet.stall.capture", "capture_plan", "capture_job", "capture", "capture_status", "capture", "captured")
JOBS = (OBSERVE, CAPTURE)


def named(name: str) -> Job:
    """Raises ValueError that names those there are."""
    for job in JOBS:
        if job.name == name:
            return job
    raise ValueError(f"job is '{name}': it must be one of {', '.join(job.name for job in JOBS)}")
