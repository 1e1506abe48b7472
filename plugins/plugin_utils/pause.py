# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a campaign that may not go on now may: soak time and maintenance windows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import windows

WAIT_MOST_S = 600.0


@dataclass(frozen=True)
class Pause:
    """`wait_s`: so long until the next wave, worth waiting for; else, with `because`, the run ends and another one goes on at `until`."""

    wait_s: float = 0.0
    because: str = ""
    until: datetime | None = None


def before_wave(limits: Mapping[str, Any], soak_left_s: float, now: datetime) -> Pause:
    """
    :param limits: of the plan
    :param soak_left_s: until the wave before has soaked
    :param now: with a time zone
    """
    soaked = now + timedelta(seconds=soak_left_s)
    closed = windows.closed(limits["windows"], soaked)
    if not closed and soak_left_s <= WAIT_MOST_S:
        return Pause(wait_s=soak_left_s)
    because = closed or f"the wave before soaks for {limits['soak_s']:g} s"
    return Pause(because=because, until=windows.opens_at(limits["windows"], soaked) if closed else soaked)
