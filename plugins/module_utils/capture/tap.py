# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture of the packets alone, on a host that probes a suspect: when its probes left it."""

import time
from typing import Any, Callable, Dict

from ansible_collections.fleet.stall.plugins.module_utils.capture import session


class Tap(session.Session):
    """Of all stages the one of the packets; who stalls is looked into elsewhere."""

    def watch(self, should_stop: Callable[[], bool]) -> None:
        """Record until the window is over."""
        self._start_packets()
        while time.monotonic() < self.ends and not should_stop():
            self.clock.mark()
            if self.packets:
                self.packets.poll()
            time.sleep(max(0.0, min(session.POLL_S, self.ends - time.monotonic())))

    def result(self) -> Dict[str, Any]:
        """`packets`, whether they could be recorded, and warnings; no other part of capture.json."""
        held = self._finish_packets()
        self.clock.mark()
        return {
            "packets": self._columns(held),
            "capabilities": {"packets": self._packets_capability(held)},
            "omitted": {},
            "warnings": self.warnings,
        }
