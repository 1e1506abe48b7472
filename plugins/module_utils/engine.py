# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probing loop: one process, one thread, every flow of this host for one window.

The loop wakes up when flows are due and for connections that have something to say. Replies with kernel timestamps wait
until then. `run` is all that the rest needs.
"""

import gc
import time
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils import pacing, sockets
from ansible_collections.fleet.stall.plugins.module_utils.lateness import Lateness
from ansible_collections.fleet.stall.plugins.module_utils.pacing import monotonic_ns, wall_ns
from ansible_collections.fleet.stall.plugins.module_utils.poller import Poller
from ansible_collections.fleet.stall.plugins.module_utils.probes import connection, datagram, http
from ansible_collections.fleet.stall.plugins.module_utils.probes.flow import Flow, RawLog, Shared

HARVEST_NS = 20000000
LONGEST_SLEEP_NS = 100000000
STEP_NS = 1000000

KINDS: Dict[str, Callable[[Dict[str, Any], Shared], Flow]] = {
    "icmp": datagram.IcmpEcho,
    "tcp_syn": datagram.TcpSyn,
    "tcp_connect": connection.TcpConnect,
    "tcp_kept": connection.tcp_kept,
    "http_new": http.HttpNew,
    "http_kept": http.http_kept,
}


class Clock:
    """Whether the wall clock, which the kernel's timestamps follow, was set during the run."""

    def __init__(self) -> None:
        self.stepped = False
        self._offset = self._read() or wall_ns() - monotonic_ns()

    def _read(self) -> Optional[int]:
        before = monotonic_ns()
        wall = wall_ns()
        after = monotonic_ns()
        return wall - before if after - before < STEP_NS // 10 else None

    def steps(self) -> bool:
        """True once after each step of more than a millisecond; slewing is followed."""
        offset = self._read()
        if offset is None:
            return False
        moved, self._offset = abs(offset - self._offset), offset
        if moved < STEP_NS:
            return False
        self.stepped = True
        return True


def _wait_awake(until_ns: int) -> int:
    now = monotonic_ns()
    while now < until_ns:
        now = monotonic_ns()
    return now


class Run:
    """The state of one run."""

    def __init__(self, plan: Dict[str, Any], should_stop: Callable[[], bool]) -> None:
        self.plan = plan
        self.should_stop = should_stop
        self.window = pacing.agree(plan["starts_at"], plan["ends_at"], plan["dispatched_at"], time.time())
        intervals = [int(spec["interval_ms"] * 1e6) for spec in plan["flows"]] or [LONGEST_SLEEP_NS]
        self.lateness = Lateness(int(plan["threshold_ms"] * 1e6), pacing.grid_ns(intervals))
        self.raw = RawLog() if plan.get("keep_raw") else None
        self.shared = Shared(plan, self.lateness, self.raw)
        self.poller = Poller()
        self.shared.watch, self.shared.unwatch = self.poller.watch, self.poller.unwatch
        self.clock = Clock()
        self.flows: List[Flow] = []
        self.dead: Dict[int, Dict[str, Any]] = {}
        self.samples: List[datagram.ClockSamples] = []
        self.started_ns = self.ended_ns = 0
        self.observed_ns = 0  # by the clock that nobody sets

    # getting ready

    def open(self) -> None:
        self.shared.capabilities["timer_slack"] = sockets.sharpen_timers()
        for spec in self.plan["flows"]:
            try:
                self.flows.append(self._open_flow(spec))
            except (OSError, ValueError) as error:
                reason = sockets.reason_of(error) if isinstance(error, OSError) else str(error)
                self._bury(spec, reason)
        self._listen_for_clocks()

    def _open_flow(self, spec: Dict[str, Any]) -> Flow:
        make = KINDS.get(spec["protocol"])
        if make is None:
            raise ValueError("unknown protocol {!r}".format(spec["protocol"]))
        try:
            return self._opened(make(spec, self.shared))
        except PermissionError as error:
            if spec["protocol"] != "tcp_syn":
                raise
            reason = "SOCK_RAW: " + sockets.reason_of(error)
            self.shared.capabilities["raw_tcp"] = sockets.capability(False, "tcp_connect", reason)
            return self._opened(connection.TcpConnect(spec, self.shared))

    @staticmethod
    def _opened(flow: Flow) -> Flow:
        flow.open()
        return flow

    def _bury(self, spec: Dict[str, Any], reason: str) -> None:
        """A flow that can't be measured keeps its row, with the reason."""
        self.dead[spec["id"]] = {"reason": reason, "spec": spec}
        self.shared.warnings.append("flow {} to {} ({}): {}".format(spec["id"], spec["address"], spec["protocol"], reason))

    def _listen_for_clocks(self) -> None:
        families = sorted({4} | {flow.family for flow in self.flows})
        row = sockets.capability(True, "raw ICMP socket")
        for family in families:
            try:
                self.samples.append(datagram.ClockSamples(family, self.shared.token))
            except OSError as error:
                row = sockets.capability(False, None, "SOCK_RAW: " + sockets.reason_of(error))
        self.shared.capabilities["clock_samples"] = row

    # the window

    def probe(self) -> None:
        start, end = (monotonic_ns() + int((at - time.time()) * 1e9) for at in self.window[:2])
        self._wait(start)
        self.clock.steps()
        self.started_ns = wall_ns()
        begun = monotonic_ns()
        if self.flows:
            self._send_until(start, end)
        else:
            self._wait(end)
        self.ended_ns = wall_ns()
        self.observed_ns = max(0, min(monotonic_ns(), end) - begun)
        self._drain(end + self.shared.timeout_ns)

    def _wait(self, until_ns: int) -> None:
        while not self.should_stop():
            left = until_ns - monotonic_ns()
            if left <= 0:
                return
            self.poller.sleep(min(left, LONGEST_SLEEP_NS))
            for samples in self.samples:
                samples.harvest()

    def _send_until(self, start: int, end: int) -> None:
        planned = pacing.groups([(flow.id, flow.interval_ns) for flow in self.flows], str(self.plan["seed"]), str(self.plan["host"]))
        start = max(start, monotonic_ns())
        schedule = pacing.Schedule(planned, start)
        head_start = pacing.head_start_ns(planned)
        bucket = pacing.TokenBucket(float(self.plan["budget_pps"]), len(self.flows), start)
        harvest_at = start
        while True:
            now = monotonic_ns()
            if now >= end:
                return
            due = schedule.next_due()
            if now < due <= now + head_start:
                now = _wait_awake(due)
            if now >= due:
                self.lateness.woke(wall_ns() - (now - due), now - due)
                bucket.refill(now)
                self._fire(schedule.due(now), bucket)
            if now >= harvest_at:
                harvest_at = now + HARVEST_NS
                self._harvest()
                if self.should_stop():
                    return
            wake = min(schedule.next_due() - head_start, end, now + LONGEST_SLEEP_NS)
            self.poller.sleep(wake - monotonic_ns())

    def _fire(self, ready: Any, bucket: pacing.TokenBucket) -> None:
        for group, missed in ready:
            for place in group.members:
                flow = self.flows[place]
                flow.unsent += missed
                if flow.full() or not bucket.take():
                    flow.unsent += 1
                else:
                    flow.fire()

    def _harvest(self) -> None:
        if self.clock.steps():
            for flow in self.flows:
                flow.void("clock was set")
        now = wall_ns()
        for flow in self.flows:
            flow.keep()
            flow.harvest(now)
        for samples in self.samples:
            samples.harvest()

    def _drain(self, until_ns: int) -> None:
        """What is under way may still answer, up to the timeout."""
        while monotonic_ns() < until_ns and not self.should_stop():
            self._harvest()
            self._finish()
            if all(flow.idle() for flow in self.flows):
                break
            self.poller.sleep(HARVEST_NS)
        self._finish()

    def _finish(self) -> None:
        now = wall_ns()
        for flow in self.flows:
            flow.settle(now, final=True)

    # the result

    def report(self) -> Dict[str, Any]:
        flows = {flow.id: flow.report() for flow in self.flows}
        for flow_id, buried in self.dead.items():
            stub = Flow(buried["spec"], self.shared)
            stub.error(buried["reason"])
            flows[flow_id] = stub.report()
        observed = self.observed_ns / 1e9
        sent = sum(row["sent"] for row in flows.values())
        clock_samples: Dict[str, Dict[str, int]] = {}
        for samples in self.samples:
            clock_samples.update(samples.report())
        result = {
            "clock": {
                "started_ns": self.started_ns,
                "ended_ns": self.ended_ns,
                "observed_s": round(observed, 3),
                "skew_s": self.window.skew_s,
                "stepped": self.clock.stepped,
            },
            "flows": [flows[spec["id"]] for spec in self.plan["flows"]],
            "lateness": self.lateness.report(),
            "clock_samples": clock_samples,
            "budget": {
                "limit_pps": self.plan["budget_pps"],
                "sent_pps": round(sent / observed, 1) if observed else 0.0,
                "unsent": sum(row["unsent"] for row in flows.values()),
            },
            "capabilities": self.shared.capabilities,
            "warnings": self.shared.warnings,
        }
        if self.raw:
            result["raw"] = self.raw.report()
        return result

    def close(self) -> None:
        for flow in self.flows:
            flow.close()
        for samples in self.samples:
            samples.close()
        self.poller.close()


def run(plan: Dict[str, Any], should_stop: Callable[[], bool]) -> Dict[str, Any]:
    """Measure the plan's window and return clock, flows, lateness, clock_samples, budget, capabilities, warnings (and raw).

    Blocks until the window ends and what is under way is answered or timed out; `should_stop` is asked every few tens
    of milliseconds. What a flow can't do is in its `errors`; only a malformed plan raises (KeyError, TypeError, ValueError).
    """
    state = Run(plan, should_stop)
    collecting = gc.isenabled()
    gc.disable()  # nothing here makes cycles, and a collection is a pause
    try:
        state.open()
        state.probe()
        return state.report()
    finally:
        if collecting:
            gc.enable()
        state.close()
