# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long before a window its hosts must be asked, so that it is common to all of them."""

from __future__ import annotations

import os

from ansible import constants as C
from ansible import context

# To start a host takes so much CPU of all who are in it, which in a lab is this machine alone, and so long while it holds a fork.
START_CPU_S, START_FORK_S = 0.65, 2.0
# A trace takes about this long to compile; an observer, less.
LEAD_S = 3.0
# To get the tools of a capture ready: what it misses until then it can't explain.
CAPTURE_CPU_S = 2.5


def lead_s(starts: int, in_turn: int = 1, captures: int = 0) -> float:
    """Seconds until the last of so many jobs is started and at work.

    :param in_turn: how many of them one host has to start, which is one after the other
    :param captures: how many of them are captures
    """
    forks, cpus = context.CLIARGS.get("forks") or C.DEFAULT_FORKS, os.cpu_count() or 1
    starting = max(starts * max(START_CPU_S / cpus, START_FORK_S / forks), (in_turn - 1) * START_FORK_S)
    return LEAD_S + starting + captures * CAPTURE_CPU_S / cpus
