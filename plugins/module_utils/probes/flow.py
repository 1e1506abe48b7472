# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every kind of flow shares: the ring of probes under way, and their way into histogram and stall events."""

import base64
import heapq
import struct
import zlib
from array import array
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.histogram import Histogram, index_of
from ansible_collections.fleet.stall.plugins.module_utils.lateness import Lateness
from ansible_collections.fleet.stall.plugins.module_utils.stalls import Baseline, Event, StallExtractor, chance_run

WARM_UP = 32  # answers before the first verdict, so that a stall at the start is not the baseline
PENDING, FAILED = 0, -1
LATE_OR_TWICE = "reply after the timeout, or twice"


class RawLog:
    """Every probe as (flow u32, sent ns i64, round trip us u32, 4294967295 if lost), little-endian, compressed, bounded."""

    LOST = 0xFFFFFFFF
    LIMIT = 8 << 20

    def __init__(self) -> None:
        self._pack = struct.Struct("<IqI").pack
        self._zip = zlib.compressobj(1)
        self._parts: List[bytes] = []
        self._size = self._samples = self._omitted = 0

    def add(self, flow_id: int, send_ns: int, rtt_ns: Optional[int]) -> None:
        if self._size >= self.LIMIT:
            self._omitted += 1
            return
        part = self._zip.compress(self._pack(flow_id, send_ns, self.LOST if rtt_ns is None else rtt_ns // 1000))
        self._samples += 1
        if part:
            self._parts.append(part)
            self._size += len(part)

    def report(self) -> Dict[str, Any]:
        data = b"".join(self._parts) + self._zip.flush()
        return {
            "format": "base64 of zlib of <IqI: flow id, sent (epoch ns), round trip (us, 4294967295: lost)",
            "samples": self._samples,
            "omitted": self._omitted,
            "data": base64.b64encode(data).decode("ascii"),
        }


class Shared:
    """What the flows of one run have in common. `watch(fd, mask, handler)` and `unwatch(fd)` belong to the engine's loop."""

    def __init__(self, plan: Dict[str, Any], lateness: Lateness, raw: Optional[RawLog]) -> None:
        self.token = int(plan["token"]) & 0xFFFFFFFF
        self.timeout_ns = int(plan["reply_timeout_ms"] * 1e6)
        self.threshold_ns = int(plan["threshold_ms"] * 1e6)
        self.event_limit = int(plan["event_limit"])
        self.lateness = lateness
        self.raw = raw
        self.warnings: List[str] = []
        self.capabilities: Dict[str, Dict[str, Any]] = {}
        self.watch: Any = None
        self.unwatch: Any = None


class Flow:
    """One flow. `fire` sends the probe that is due, `harvest` takes in what came back; times are epoch nanoseconds.

    A subclass keeps `sends` (when the probe left, as well as is known) and calls `begin` and `answer`.
    """

    lost_run = 2
    closed_loop = False  # the next probe waits for the reply to the one before

    def __init__(self, spec: Dict[str, Any], shared: Shared) -> None:
        self.spec = spec
        self.shared = shared
        self.id = int(spec["id"])
        self.family = int(spec.get("family") or 4)
        self.interval_ns = int(spec["interval_ms"] * 1e6)
        under_way = shared.timeout_ns // self.interval_ns + 2 * WARM_UP + 64
        self.size = 1 << under_way.bit_length()
        self.mask = self.size - 1
        self.sends = array("q", [0]) * self.size
        self.replies = array("q", [0]) * self.size
        self.tx_delays: Dict[int, int] = {}
        self.no_delay: Optional[int] = None
        self.head = self.next = 0
        self.sent = self.received = self.lost = self.unsent = self.refused = 0
        self.errors: Dict[str, int] = {}
        self.local_address: Optional[str] = None
        self.local_port: Optional[int] = None
        self._histogram = Histogram()
        self._baseline = Baseline()
        self._fresh: List[Event] = []
        self._extractor = StallExtractor(shared.threshold_ns, self.interval_ns, self.lost_run, self._fresh.append)
        self._answers = 0
        self._lost_in_row = self._single_losses = 0
        self._events: List[Tuple[float, int, Event]] = []
        self._events_total = self._own_lateness = 0
        self._omitted_ms = 0.0

    # for the engine

    def open(self) -> None:
        """Get ready to send; OSError or ValueError if that can't be."""
        raise NotImplementedError

    def fire(self) -> None:
        raise NotImplementedError

    def harvest(self, now_ns: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def idle(self) -> bool:
        """Nothing is under way."""
        return self.head == self.next

    def full(self) -> bool:
        return self.next - self.head >= self.size

    # for the subclasses

    def error(self, text: str) -> None:
        self.errors[text] = self.errors.get(text, 0) + 1

    def begin(self, send_ns: int) -> int:
        number = self.next
        place = number & self.mask
        self.sends[place] = send_ns
        self.replies[place] = PENDING
        self.next = number + 1
        self.sent += 1
        return number

    def answer(self, number: int, reply_ns: int) -> bool:
        """Whether this is the first reply to a probe under way; replies too late and doubles are counted as errors."""
        place = number & self.mask
        if not self.head <= number < self.next or self.replies[place] != PENDING:
            if 0 <= number < self.next:
                self.error(LATE_OR_TWICE)
            return False
        self.replies[place] = reply_ns
        self._answers += 1
        return True

    def fail(self, number: int, text: str) -> None:
        """The probe came to an end that is neither a reply nor silence."""
        self.error(text)
        if self.head <= number < self.next:
            self.replies[number & self.mask] = FAILED

    def void(self, text: str) -> None:
        """Forget the probes under way: their times can't be trusted."""
        for number in range(self.head, self.next):
            self.fail(number, text)
        self.tx_delays.clear()
        self._extractor.close()

    # the way of a probe that is over

    def settle(self, now_ns: int, final: bool = False) -> None:
        """Judge, in the order of sending, every probe that is answered or beyond the timeout."""
        head, end, mask = self.head, self.next, self.mask
        if head == end:
            return
        if self._baseline.ns is None and not self._warm(now_ns, final):
            return
        sends, replies, extractor, baseline = self.sends, self.replies, self._extractor, self._baseline
        counts, timeout, threshold, raw = self._histogram.counts, self.shared.timeout_ns, self.shared.threshold_ns, self.shared.raw
        while head != end:
            send, reply = sends[head & mask], replies[head & mask]
            if reply > 0:
                rtt = reply - send
                if rtt < 0:
                    rtt = 0
                self.received += 1
                counts[index_of(rtt // 1000)] += 1
                excess = rtt - (baseline.ns or 0)
                tx_delay = self.tx_delays.pop(head, self.no_delay)
                if excess >= threshold or extractor.active:
                    extractor.answered(send, rtt, excess, tx_delay)
                if self.closed_loop and rtt > self.interval_ns:
                    self._fill_in(rtt)
                baseline.add(rtt)
                if self._lost_in_row:
                    self._single_losses += self._lost_in_row == 1
                    self._lost_in_row = 0
                if raw:
                    raw.add(self.id, send, rtt)
            elif reply == PENDING:
                if now_ns - send < timeout:
                    break
                self.lost += 1
                self._lost_in_row += 1
                extractor.lost(send)
                if raw:
                    raw.add(self.id, send, None)
            head += 1
        self.head = head

    def _warm(self, now_ns: int, final: bool) -> bool:
        """Whether the baseline can be told: from the first answers, or from what there is once waiting is over."""
        patience = self.shared.timeout_ns + WARM_UP * self.interval_ns
        if self._answers < WARM_UP and not final and now_ns - self.sends[self.head & self.mask] < patience:
            return False
        first = Baseline()
        for number in range(self.head, self.next):
            place = number & self.mask
            if self.replies[place] > 0:
                first.add(max(0, self.replies[place] - self.sends[place]))
        first.refresh()
        self._baseline.ns = first.ns
        return True

    def _fill_in(self, rtt_ns: int) -> None:
        """The probes that were not sent while this one was waiting would have waited for the rest of it.

        Without them a closed loop omits just the slow times (Gil Tene's "coordinated omission").
        """
        missing = rtt_ns - self.interval_ns
        while missing > 0:
            self._histogram.add(missing // 1000)
            missing -= self.interval_ns

    def keep(self) -> None:
        """Take in the events that are over, but for those that own lateness explains.

        Not as they end: a prober that was held up reads the replies before its next wake-up tells how late it is.
        """
        if not self._fresh:
            return
        for event in self._fresh:
            start, length = event["start_ns"], event["duration_ms"]
            if self.shared.lateness.explains(start, start + int(length * 1e6)):
                self._own_lateness += 1
            elif not self._is_chance(event):
                self._events_total += 1
                heapq.heappush(self._events, (length, start, event))
                if len(self._events) > self.shared.event_limit:
                    self._omitted_ms += heapq.heappop(self._events)[0]
        self._fresh.clear()

    def _is_chance(self, event: Event) -> bool:
        """A short run of lost probes on a flow that loses single ones all along is loss."""
        if self.lost_run == 1 or event["lost"] < event["packets"]:
            return False
        return event["lost"] < chance_run(self.sent, self._single_losses)

    def report(self) -> Dict[str, Any]:
        """The flow's row in observe.json. Probes without a reply or a timeout yet are neither received nor lost."""
        self._extractor.close()
        self.keep()
        events = [event for _length, _start, event in sorted(self._events, key=lambda item: item[1]) if not self._is_chance(event)]
        total = self._events_total - (len(self._events) - len(events))
        self._baseline.refresh()
        return {
            "id": self.id,
            "sent": self.sent,
            "received": self.received,
            "lost": self.lost,
            "unsent": self.unsent,
            "refused": self.refused,
            "errors": self.errors,
            "baseline_us": None if self._baseline.ns is None else self._baseline.ns // 1000,
            "local_address": self.local_address,
            "local_port": self.local_port,
            "histogram": self._histogram.to_dict(),
            "events": events,
            "events_total": total,
            "events_own_lateness": self._own_lateness,
            "events_omitted": total - len(events),
            "events_omitted_ms": round(self._omitted_ms, 3),
        }
