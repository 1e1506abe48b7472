# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process is meant: one that was seen at some time, and no other that has its number by now."""

import os

from ansible_collections.fleet.stall.plugins.module_utils import process
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit


def verified(pid: int, comm: str, seen_s_ago: float) -> int:
    """The start time (in ticks since boot) of the process with this number and name that ran that many seconds ago. Raises Unfit.

    A number belongs to one process at a time: who has it now and was there then is the one that was seen. Durations are compared, not
    clocks of two hosts.
    """
    try:
        ticks = process.identity(pid)["start_ticks"]
        age_s = float(text("/proc/uptime").split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
        name = text(f"/proc/{pid}/comm").rstrip("\n")
    except (OSError, Unavailable):
        raise Unfit(f"process {pid} ({comm}) has ended: nothing was touched") from None
    if name != comm:
        raise Unfit(f"process {pid} is {name!r} and not {comm!r}: another one has its number by now, and was not touched")
    if age_s < seen_s_ago:
        raise Unfit(
            f"process {pid} ({comm}) was started {age_s:.0f} s ago, and the one that was seen {seen_s_ago:.0f} s ago was there before: "
            "it is another one, and was not touched; diagnose the host again"
        )
    return ticks
