# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture as a kind of job."""

from typing import Any, Callable, Dict

from ansible_collections.fleet.stall.plugins.module_utils import statedir
from ansible_collections.fleet.stall.plugins.module_utils.capture import capture, encoding, session, tap
from ansible_collections.fleet.stall.plugins.module_utils.job import Job, Kind
from ansible_collections.fleet.stall.plugins.module_utils.result import WIRE_BYTES

# After the window: the recordings are read, memory.stat is read once, the result is written.
GRACE_S = 30.0
# Beside what any result may take: who asks for the packets shall not get them at the price of the rest, or lose them to it.
PACKETS_BYTES = 150000


def _work(plan: Dict[str, Any], job: Job, should_stop: Callable[[], bool], deadline: float) -> bytes:
    kind = tap.Tap if plan["only_packets"] else session.Session
    try:
        return encoding.encode(capture.capture(plan, should_stop, job.work, kind), WIRE_BYTES + (PACKETS_BYTES if plan["packets"] else 0))
    finally:
        statedir.remove(job.work)


CAPTURE = Kind(
    noun="the capture",
    doing="capturing",
    module="capture",
    comm="fleet-stall-cap",
    suffix=".capture",
    result="capture.json.gz",
    lock=statedir.CAPTURE_LOCK,
    address_space=8 << 30,
    deadline=lambda plan: plan["ends_at"] + GRACE_S,
    work=_work,
    nothing=lambda plan, reason: encoding.encode(dict(capture.head(plan), **capture.failed(reason))),
)
