# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stall events out of a flow's probes, streaming: each probe is looked at once, in the order of sending.

A probe holds the interval [send, reply - baseline]: as long as the probe was kept longer than its way takes. A stall
event is a maximal run of probes whose intervals overlap and whose excess over the baseline passes the threshold.
All times are integers in nanoseconds.
"""

from typing import Any, Callable, Dict, Optional

from ansible_collections.fleet.stall.plugins.module_utils.histogram import BUCKETS, index_of, middle

Event = Dict[str, Any]

REFRESH = 64
HORIZON = 1024


class Baseline:
    """The lower quartile of the round trips, old ones fading out over some 1000 answers.

    The quartile and not the median: a host that stalls half of the time must not become its own baseline. Fading: a
    path that gets longer for good is not one endless stall.
    """

    def __init__(self) -> None:
        self.ns: Optional[int] = None
        self._counts = [0] * BUCKETS
        self._total = 0

    def add(self, rtt_ns: int) -> None:
        self._counts[index_of(rtt_ns // 1000)] += 1
        self._total += 1
        if self._total % REFRESH == 0:
            self.refresh()

    def refresh(self) -> None:
        """Recompute from what was added; without any, the baseline stays unknown."""
        if not self._total:
            return
        if self._total >= HORIZON:
            self._counts = [count // 2 for count in self._counts]
            self._total = sum(self._counts)
        rank, seen = max(1, self._total // 4), 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                self.ns = middle(index) * 1000
                return


class StallExtractor:
    """Feed every probe of one flow in the order of sending; `emit` gets each event when it is over.

    `lost_run`: how many lost probes in a row are a stall: 2 for datagrams (one alone is loss), 1 on a connection,
    where silence until the timeout is a stall of at least that length.
    """

    def __init__(self, threshold_ns: int, interval_ns: int, lost_run: int, emit: Callable[[Event], None]) -> None:
        self.threshold_ns = threshold_ns
        self._interval_ns = interval_ns
        self._lost_run = lost_run
        self._emit = emit
        self.active = False
        self._reset()

    def _reset(self) -> None:
        self.active = False
        self._start = self._end = self._held_until = 0
        self._packets = self._lost = self._lost_tail = 0
        self._last_lost = 0
        self._max_rtt = 0
        self._tx_delay: Optional[int] = None

    def answered(self, send_ns: int, rtt_ns: int, excess_ns: int, tx_delay_ns: Optional[int]) -> None:
        """A probe that was answered. Outside an event (`active` false) only probes past the threshold matter."""
        drain = send_ns + excess_ns
        stalled = excess_ns >= self.threshold_ns
        if stalled:
            if self.active and not self._lost_tail and send_ns > self._end:
                self.close(send_ns)
            if not self.active:
                self._open(send_ns)
            self._held_until = max(self._held_until, drain)
        elif not self.active:
            return
        elif send_ns > self._end:
            self.close(send_ns)
            return
        self._lost_tail = 0
        if not stalled and not send_ns < self._held_until <= drain + self.threshold_ns // 4:
            return  # it overtook the held ones, or only followed the tail
        self._end = max(self._end, drain)
        self._packets += 1
        self._max_rtt = max(self._max_rtt, rtt_ns)
        if tx_delay_ns is not None:
            self._tx_delay = max(self._tx_delay or 0, tx_delay_ns)

    def lost(self, send_ns: int) -> None:
        """A probe that was not answered within the timeout."""
        if self.active and not self._lost_tail and send_ns > self._end:
            self.close(send_ns)
        if not self.active:
            self._open(send_ns)
        self._packets += 1
        self._lost += 1
        self._lost_tail += 1
        self._last_lost = send_ns

    def close(self, next_send_ns: Optional[int] = None) -> None:
        """The run is over: by a probe, sent at `next_send_ns`, that does not belong to it, or by the window's end."""
        if not self.active:
            return
        until = self._last_lost + self._interval_ns if next_send_ns is None else next_send_ns
        lost_only = self._lost == self._packets
        censored = lost_only or (self._lost_tail > 0 and self._last_lost > self._end)
        end = until if censored else self._end
        event = {
            "start_ns": self._start,
            "duration_ms": round((end - self._start) / 1e6, 3),
            "packets": self._packets,
            "lost": self._lost,
            "max_ms": round((end - self._start if lost_only else self._max_rtt) / 1e6, 3),
            "censored": censored,
            "tx_delay_ms": None if self._tx_delay is None else round(self._tx_delay / 1e6, 3),
        }
        is_stall = not lost_only or (self._lost >= self._lost_run and end - self._start >= self.threshold_ns)
        self._reset()
        if is_stall:
            self._emit(event)

    def _open(self, send_ns: int) -> None:
        self.active = True
        self._start = self._end = send_ns


def chance_run(sent: int, single_losses: int) -> int:
    """The shortest run of lost probes that chance does not explain, at the flow's rate of single losses.

    With independent loss at a rate p a lost probe stands alone with p (1 - p)^2, and `sent` probes hold about
    sent * p^k runs of k; a run counts as a stall from less than one expected in a thousand windows.
    """
    single = min(single_losses / sent, 4 / 27) if sent else 0.0
    rate = 0.0
    for _step in range(30):
        rate = min(single / (1 - rate) ** 2, 1 / 3)
    length = 2
    while sent * rate**length >= 1e-3:
        length += 1
    return length
