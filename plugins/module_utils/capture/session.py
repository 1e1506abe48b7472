# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a capture in their order, each of which may fail without costing the others."""

import contextlib
import os
import resource
import time
from typing import Any, Callable, Dict, List, Optional, Union

from ansible_collections.fleet.stall.plugins.module_utils import sockets, statedir
from ansible_collections.fleet.stall.plugins.module_utils.capture import (
    bounded,
    connections,
    evidence,
    gaps,
    memcg,
    packets,
    rxperf,
    rxtrace,
    strace_stage,
    throttle,
    tracefs,
    witness,
)
from ansible_collections.fleet.stall.plugins.module_utils.capture import plan as plans
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import Clock, monotonic_ns
from ansible_collections.fleet.stall.plugins.module_utils.capture.recorder import GAPS_TO_KNOW, Recorder
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable

POLL_S = 0.1
# While strace runs, so that its bounds are kept.
QUICK_POLL_S = 0.05
# As the observer's: a reader that is held up by the stall would miss its end.
READER_NICENESS = -10
# After the window nothing is in a hurry any more.
LATER_NICENESS = 19
TOOLS_OUTLIVE_S = 3.0
# Of the window, before the named process is slowed down by strace: the stalls until then are as they are.
UNTOUCHED_SHARE = 0.5
STRACE_LEAST_S = 1.0
PACKETS_SHARE = 8
MEMORY_STAT_S = 3.0
# A CPU that handled fewer of the probes than this serves none of their queues.
SERVES_SHARE = 0.02


class Session:
    """The plan is in local time; `ends` in seconds of time.monotonic()."""

    def __init__(self, plan: Dict[str, Any], workdir: str) -> None:
        free = statedir.free_bytes(workdir)
        self.plan, cut = plans.within(plan, free)
        self.workdir, self._room = workdir, free // plans.FREE_SHARE
        offset = time.monotonic() - time.time()
        self.starts, self.ends = plan["starts_at"] + offset, plan["ends_at"] + offset
        seconds = self.ends - time.monotonic() + TOOLS_OUTLIVE_S
        self.clock = Clock()
        self.rx: Union[rxtrace.RxTrace, rxperf.PerfTrace] = rxtrace.RxTrace(plan, seconds, workdir, self._room)
        self._before_rx: List[bounded.Tool] = []
        self.recorder = Recorder(plan["stack_hz"], seconds, self.plan["bytes_limit"], workdir)
        self.witness = witness.Witness()
        self.throttle = throttle.Watch()
        self.strace: Optional[strace_stage.Stage] = None
        self.strace_reason = "no process was seen to keep a CPU in system calls while probes waited" if plan["strace_s"] else "switched off"
        self.packets: Optional[packets.Stage] = None
        self.warnings: List[str] = [cut] if cut else []
        self.connections: List[Dict[str, Any]] = []
        self.connections_omitted = 0
        self.capabilities: Dict[str, Dict[str, Any]] = {}
        self.window_ns = (int(self.starts * 1e9), int(self.ends * 1e9))
        self.setup_cpu_s = 0.0
        self.window_cpu_s: Dict[str, float] = {}
        self.traced_calls_cpu_s = 0.0
        self._finder = gaps.Finder(gaps.intervals(plan["flows"]), int(plan["threshold_ms"] * 1e6), gaps.sources(plan["flows"]))
        self._suspicions = witness.Suspicions(ours())
        self._named = 0

    def watch(self, should_stop: Callable[[], bool]) -> None:
        """Set up, and stay until the window is over."""
        blind = tracefs.see_tracefs() if os.geteuid() == 0 else None
        if blind:
            self.warnings.append(blind)
        self.rx.start()
        self.recorder.start()
        if self.plan["packets"]:
            self._start_packets()
        _be_nice(READER_NICENESS)
        while time.monotonic() < self.starts and not should_stop():
            self._look()
            self.throttle.prepare(self.starts - time.monotonic())
            time.sleep(POLL_S)
        before, traced_before_s = self._spent(), self._traced_s()
        self.setup_cpu_s = sum(before.values())
        looked_at_connections = not self.plan["connections"]
        while time.monotonic() < self.ends and not should_stop():
            self._look()
            if not looked_at_connections and self._share() >= UNTOUCHED_SHARE:
                looked_at_connections = True
                self._look_at_connections()
            time.sleep(max(0.0, min(QUICK_POLL_S if self.strace else POLL_S, self.ends - time.monotonic())))
        self.window_ns = (self.window_ns[0], max(self.window_ns[0], monotonic_ns()))
        self.window_cpu_s = {part: round(spent - before[part], 3) for part, spent in self._spent().items()}
        self.traced_calls_cpu_s = self._traced_s() - traced_before_s
        if should_stop():
            self.warnings.append("the capture was told to end before the window did")

    def _spent(self) -> Dict[str, float]:
        """CPU time so far, by part, with that of tools that have ended. The kernel counts those as our children, so as ours."""
        parts = {"rx_trace": self._before_rx + self.rx.tools, "recorder": self.recorder.tools}
        spent = {part: sum(tool.cpu_s() for tool in tools) for part, tools in parts.items()}
        ended = sum(tool.cpu_s() for tools in parts.values() for tool in tools if tool.ended is not None)
        return dict(spent, own=max(0.0, rusage_s() - ended))

    def _traced_s(self) -> float:
        """What looking at system calls has cost those who make them so far, an estimate."""
        return self.rx.budget.spent_s if isinstance(self.rx, rxtrace.RxTrace) else 0.0

    def _share(self) -> float:
        """How much of the window is over."""
        return (time.monotonic() - self.starts) / max(0.001, self.ends - self.starts)

    def _look(self) -> None:
        self.clock.mark()
        self.throttle.poll()
        rows, calls = self.rx.poll()
        if isinstance(self.rx, rxtrace.RxTrace) and self.rx.reason and not self.rx.ready:
            self._before_rx = self.rx.tools
            seconds = self.ends - time.monotonic() + TOOLS_OUTLIVE_S
            self.rx = rxperf.PerfTrace(self.plan, seconds, self.workdir, self.rx.reason, self._room)
            self.rx.start()
        found = [late for late in map(self._finder.add, rows) if late]
        for call in calls:
            self.witness.add(call)
        self._suspicions.judge(calls, found)
        if found:
            self.recorder.want()
            if len(self._suspicions.silences) >= GAPS_TO_KNOW:
                self.recorder.narrow(self._suspicions.silences.cpus)
        self.recorder.alone = not self.rx.live
        self.recorder.poll()
        if self.packets:
            self.packets.poll()
        if self.strace:
            if not self.strace.poll() and self.strace.reason:
                self._pass_over()
        elif self.plan["strace_s"] and self._share() >= UNTOUCHED_SHARE:
            self._start_strace()

    def _start_strace(self) -> None:
        left = self.ends - time.monotonic() - strace_stage.SAMPLE_S
        named = self._suspicions.named()
        if named is None or left < STRACE_LEAST_S:
            return
        seconds = min(self.plan["strace_s"], left)
        self._named = named.pid
        self.strace = strace_stage.Stage(seconds, self.plan["strace_bytes"], self.workdir, self.plan["slow_call_ms"])
        if not self.strace.start(named.pid, named.why):
            self._pass_over()

    def _pass_over(self) -> None:
        """The one that was named can't be traced, as it has ended; the next one may be."""
        assert self.strace is not None
        self.strace_reason = self.strace.reason or self.strace_reason
        self.strace = None
        self._suspicions.excuse(self._named)

    def _start_packets(self) -> None:
        seconds = self.ends - time.monotonic()
        self.packets = packets.Stage(
            self.plan["packets"], seconds, self.plan["bytes_limit"] // PACKETS_SHARE, self.workdir, self.plan["token"]
        )
        self.packets.start()

    def _finish_packets(self) -> Optional[List[Dict[str, Any]]]:
        held = self.packets.finish() if self.packets else None
        if self.packets and self.packets.missed:
            self.warnings.append(f"tcpdump missed {self.packets.missed} packets: some that count as lost are not")
        return held

    def _columns(self, held: Optional[List[Dict[str, Any]]]) -> Optional[List[Dict[str, Any]]]:
        return held and packets.columns(dict(row, at_ns=self.clock.steady(row["at_ns"])) for row in held)

    def _packets_capability(self, held: Optional[List[Dict[str, Any]]]) -> Dict[str, Any]:
        if self.packets is None:
            return switched_off()
        return sockets.capability(held is not None, "tcpdump" if held is not None else None, self.packets.reason)

    def _look_at_connections(self) -> None:
        try:
            found = connections.survey(asked=connections.asked_by(self.plan["flows"]), endpoints=connections.ends(self.plan["endpoints"]))
            self.connections = found["rows"]
            owners = [self.witness.meet(pid) for pid in {row["pid"] for row in self.connections} - {None}]
            self.throttle.meet({owner["cpu_cgroup"] or owner["cgroup"] for owner in owners} - {None})
            partly = (
                None if found["complete"] else f"only {found['seen']} connections were looked at: there was no time or no room for the rest"
            )
            self.capabilities["connections"] = sockets.capability(True, "sock_diag", partly)
            self.warnings += filter(None, [found["unseen"]])
            if partly:
                self.connections_omitted = found["seen"] - len(found["rows"])
                self.warnings.append(partly)
        except (Unavailable, OSError) as error:
            self.capabilities["connections"] = sockets.capability(False, None, str(error))

    def result(self) -> Dict[str, Any]:
        """End all stages and put together what they found; the content of capture.json but for its head and cost."""
        _rows, calls = self.rx.finish()
        for call in calls:
            self.witness.add(call)
        files = self.recorder.finish()
        straced = self.strace.finish() if self.strace else None
        held = self._finish_packets()
        _be_nice(LATER_NICENESS)
        self.clock.mark()
        if self.clock.problem():
            self.warnings.append(str(self.clock.problem()))
        found = evidence.found(self, files, straced)
        if isinstance(self.rx, rxtrace.RxTrace):
            found["omitted"].update(evidence.omitted(handled=self.rx.rows_omitted + self.rx.rows_lost + self.rx.rows_refused))
        self.warnings += self.rx.problems()
        found["packets"] = self._columns(held)
        found["connections"] = self.connections
        found["throttled"] = self.throttle.rows(self.clock)
        self.warnings += [self.throttle.warning] if self.throttle.warning else []
        found["omitted"].update(evidence.omitted(connections=self.connections_omitted))
        found["capabilities"] = self._capabilities(straced, held)
        found["memory_cgroups"] = self._memory(found)
        if not self.plan["memory_stat"]:
            found["capabilities"]["memory_stat"] = switched_off()
        else:
            reason = found["memory_cgroups"]["reason"]
            read = found["memory_cgroups"]["read_ms"] is not None
            found["capabilities"]["memory_stat"] = sockets.capability(read, "one timed read" if read else None, reason)
        found["warnings"] = self.warnings
        return found

    def _capabilities(self, straced: Optional[Dict[str, Any]], held: Any) -> Dict[str, Dict[str, Any]]:
        found = dict(self.capabilities, **self.rx.capabilities())
        found["recorder"] = self.recorder.capability()
        if not self.plan["connections"]:
            found["connections"] = switched_off()
        found.setdefault("connections", sockets.capability(False, None, "the capture ended before they were looked at"))
        able = strace_stage.capability() if self.plan["strace_s"] else switched_off()
        if able["available"] and straced is None:
            able = dict(able, reason=(self.strace.reason if self.strace else None) or self.strace_reason)
        found["strace"] = able
        found["packets"] = self._packets_capability(held)
        return found

    def _memory(self, found: Dict[str, Any]) -> Dict[str, Any]:
        """Last of all: the read can be a stall itself, and would be found as one."""
        total = sum(row["packets"] for row in found["handlers"])
        serving = {row["cpu"] for row in found["handlers"] if row["packets"] >= SERVES_SHARE * total}
        serving |= {gap["cpu"] for gap in found["gaps"]}
        return memcg.measure(serving, MEMORY_STAT_S if self.plan["memory_stat"] else 0.0)


def switched_off() -> Dict[str, Any]:
    return sockets.capability(False, None, "switched off")


def ours() -> List[int]:
    return [os.getpid(), os.getppid()]


def rusage_s() -> float:
    """CPU time of this process and of its children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def _be_nice(value: int) -> None:
    with contextlib.suppress(OSError):  # only root may
        os.setpriority(os.PRIO_PROCESS, 0, value)
