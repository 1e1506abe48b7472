"""A captured host on paper: stalls of its receive CPU, and the capture.json that looking at it would bring in.

Times are seconds of the window, as in simfleet; the captured host's clock may be off.
"""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils import attribute, causes, findings
from tests.unit import contract
from tests.unit.simfleet import EPOCH_S, GRADES, Fleet, fault

HOST, CONTROL = "node-a1-1", "node-b1-1"
STALLS = [(1.0 + 2.3 * number, 0.08 + 0.004 * number) for number in range(12)]

SMAPS = "entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_read;vfs_read;seq_read_iter;show_smaps_rollup;smap_gather_stats;smaps_pte_range"
IDLE = "common_startup_64;cpu_startup_entry;do_idle;default_idle"
POLL = "ret_from_fork;kthread;napi_threaded_poll;__napi_poll;veth_poll"
TIMER = f"{IDLE};asm_sysvec_apic_timer_interrupt;irq_exit_rcu;handle_softirqs;run_timer_softirq;call_timer_fn;estimation_timer"
UNLOCK = "entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_read;vfs_read;slab_show;_raw_spin_unlock_irqrestore"
USER = "[user]"
NAPI = ("napi/eth0-12", 900, 900)
KSOFTIRQD = ("ksoftirqd/1", 23, 23)
READER = ("smaps-reader", 4711, 4711)
HOG = ("loud", 5000, 5000)
SWAPPER = ("swapper/1", 0, 0)
FLOWS = 500
"""More than any fleet of these tests has."""
TOOLS = ("rx_trace", "recorder", "slow_calls", "strace", "connections", "packets", "memory_stat")


@dataclass
class Capture:
    """``offset_s``: how far the host's clock is ahead."""

    window_s: float = 30.0
    offset_s: float = 0.0
    stacks: list[str] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    gaps: list[dict] = field(default_factory=list)
    holes: list[list[int]] = field(default_factory=list)
    slow_calls: list[dict] = field(default_factory=list)
    quiet: dict[tuple[str, str], int] = field(default_factory=dict)
    served: dict | None = None
    lacks: tuple[str, ...] = ()
    more: dict = field(default_factory=dict)

    def at(self, seconds: float) -> int:
        return round((EPOCH_S + seconds + self.offset_s) * 1e9)

    def index(self, stack: str) -> int:
        if stack not in self.stacks:
            self.stacks.append(stack)
        return self.stacks.index(stack)

    def run(self, start, end, task=READER, stack=SMAPS, cpu=1, policy="fifo"):
        """One run from start to end, in seconds."""
        comm, pid, tid = task
        samples = max(1, round((end - start) * 999))
        self.runs.append(
            {
                "start_ns": self.at(start),
                "end_ns": self.at(end),
                "cpu": cpu,
                "pid": pid,
                "tid": tid,
                "comm": comm,
                "policy": policy,
                "samples": samples,
                "kernel": 0.0 if stack == USER else 1.0,
                "stacks": [[self.index(stack), samples]],
            }
        )
        return self

    def gap(self, start, end, handler=NAPI, cpu=1, flows=(None,), packets=10, before=READER):
        """Probes that came from start on, and were handled from end on."""
        handled = [[self.at(start - 0.01), cpu, before[1], before[2], before[0], flows[0], 1]] if before else []
        for number in range(packets):
            at = self.at(end) + number * 20_000
            handled.append([at, cpu, handler[1], handler[2], handler[0], flows[number % len(flows)], number + 2])
        self.gaps.append({"start_ns": self.at(start), "end_ns": self.at(end), "cpu": cpu, "handled": handled})
        return self

    def hole(self, start, end, cpu=1):
        self.holes.append([cpu, self.at(start), self.at(end)])
        return self

    def call(self, start, length_ms, task=READER, call="read", path="/proc/4712/smaps_rollup", on_cpu_ms=None, buffer=None, how="bpf"):
        comm, pid, tid = task
        self.slow_calls.append(
            {
                "start_ns": None if start is None else self.at(start),
                "duration_ms": length_ms,
                "on_cpu_ms": on_cpu_ms,
                "cpu": 1,
                "pid": pid,
                "tid": tid,
                "comm": comm,
                "call": call,
                "fd": 3,
                "path": path,
                "buffer": buffer,
                "how": how,
            }
        )
        return self

    def heard(self, flow: int) -> list[list[int]]:
        """All of the window but the gaps of that flow, or of any where they name none."""
        spans, start = [], self.at(0)
        for gap in sorted(self.gaps, key=lambda gap: gap["start_ns"]):
            if {flow, None} & {row[5] for row in gap["handled"]}:
                spans.append([start, gap["start_ns"] - 10_000_000])
                start = gap["end_ns"]
        return [*spans, [start, self.at(self.window_s)]]

    def always(self, *cpus: int) -> dict:
        """These CPUs handled a hundred probes in each second."""
        return {"start_ns": self.at(0), "bin_ns": 10**9, "cpus": {str(cpu): [100] * round(self.window_s) for cpu in cpus}}

    def json(self, host: str = "node-a1-1") -> dict:
        runs = sorted(self.runs, key=lambda run: run["start_ns"])
        gaps = [[run["comm"], run["stacks"][0][0], run["samples"]] for run in runs]
        quiet = [[comm, self.index(stack), samples] for (comm, stack), samples in self.quiet.items()]
        return {
            "schema_version": 1,
            "run": "run-1.capture",
            "host": host,
            "status": "measured",
            "reason": None,
            "clock": {"started_ns": self.at(0), "ended_ns": self.at(self.window_s), "observed_s": self.window_s, "skew_s": 0.0},
            "versions": {
                "kernel": "6.18.0",
                "preemption": "none",
                "python": "3.11.2",
                "machine": "x86_64",
                "perf": "6.1",
                "bpftrace": "0.17",
                "strace": "6.1",
            },
            "capabilities": {
                name: {
                    "available": name not in self.lacks,
                    "how": None if name in self.lacks else "tracepoint",
                    "reason": f"no {name} here" if name in self.lacks else None,
                }
                for name in TOOLS
            },
            "handlers": [] if "rx_trace" in self.lacks else [{"cpu": 1, "pid": NAPI[1], "tid": NAPI[2], "comm": NAPI[0], "packets": 3000}],
            "gaps": self.gaps,
            "gaps_omitted": 0,
            "served": None if "rx_trace" in self.lacks else self.served or self.always(1),
            "heard": {} if "rx_trace" in self.lacks else {str(flow): self.heard(flow) for flow in range(FLOWS)},
            "recorded": [] if "recorder" in self.lacks else [[self.at(0), self.at(self.window_s)]],
            "cpus": [] if "recorder" in self.lacks else [0, 1],
            "stacks": self.stacks,
            "runs": runs,
            "holes": self.holes,
            "folded": {"gaps": gaps, "quiet": quiet, "gaps_s": 2.0, "quiet_s": 28.0},
            "slow_calls": self.slow_calls,
            "processes": {
                "4711": {
                    "comm": "smaps-reader",
                    "exe": "/usr/bin/smaps-reader",
                    "unit": "foo.service",
                    "cgroup": "/system.slice/foo.service",
                    "container": None,
                    "policy": "fifo",
                    "priority": 50,
                    "cmdline": "smaps-reader",
                }
            },
            "strace": None,
            "connections": [],
            "packets": None,
            "memory_cgroups": {
                "live": 40,
                "dying": 0,
                "read_ms": 0.2,
                "read_cpu": 0,
                "read_path": "/sys/fs/cgroup/memory/memory.stat",
                "reason": None,
            },
            "cost": {"cpu_s": 1.1, "setup_cpu_s": 0.8, "rss_kb": 40000, "wall_s": self.window_s, "bytes_written": 100000},
            "omitted": {},
            "warnings": [],
            **self.more,
        }


def stalled(stalls, **changes) -> Capture:
    """A host whose receive CPU 1 a reader of smaps_rollup keeps during each (start, length) in seconds."""
    capture = Capture(**changes)
    for start, length in stalls:
        capture.gap(start, start + length).run(start - 0.002, start + length).call(
            start - 0.002, length * 1000 + 2, on_cpu_ms=length * 1000
        )
    return capture


@functools.cache
def catalogue():
    return causes.load([])


@functools.cache
def windows(stalls, in_capture, component, clocks, captured):
    """Manifest, evidence and findings of a first window, then manifest and evidence of the capture's."""
    fleet = Fleet(faults=[fault(component, list(stalls))], offsets_s=dict(clocks))
    first = fleet.manifest()
    evidence = fleet.evidence(first)
    second = copy.deepcopy(first)
    second["run"] |= {"id": "run-1.capture", "captured": dict(captured)}
    second["flows"] = [flow for flow in second["flows"] if flow["target"] in second["run"]["captured"]]
    during = Fleet(faults=[fault(component, list(in_capture))], offsets_s=dict(clocks)).evidence(second)
    return first, evidence, findings.build(first, evidence, GRADES), second, during


def attributed(
    capture,
    stalls=STALLS,
    component=f"host:{HOST}",
    in_capture=None,
    observe=None,
    host=HOST,
    clocks=None,
    control=None,
    silent=False,
    taps=None,
    endpoints=None,
):
    """The findings of two windows with the same fault, and a capture in the second. `capture`: a Capture, or what came instead of one.

    `silent`: no host that probes has a result of the second. `endpoints`: by service, where it listens. `taps`: given, packets were asked
    for; captures of those that probe.
    """
    captured = ((host, "suspect"), *([(CONTROL, "control")] if control else []))
    in_capture = stalls if in_capture is None else in_capture
    first, evidence, found, second, during = windows(tuple(stalls), tuple(in_capture), component, tuple((clocks or {}).items()), captured)
    if observe:
        during = {**during, host: {**during[host], "counters": {**during[host]["counters"], **observe}}}
    during = {} if silent else during
    captures = {host: capture.json(host) if isinstance(capture, Capture) else capture}
    captures |= {CONTROL: control.json(CONTROL)} if control else {}
    if taps is not None:
        used = {**second["run"]["parameters"], "capture_packets": True}
        second, captures = {**second, "run": {**second["run"], "parameters": used}}, {**captures, **taps}
    if endpoints:
        services = [{**service, "endpoints": endpoints.get(service["name"], [])} for service in second["run"]["parameters"]["services"]]
        second = {**second, "run": {**second["run"], "parameters": {**second["run"]["parameters"], "services": services}}}
    before = json.dumps(found, sort_keys=True)
    built = attribute.build(found, second, during, captures, catalogue(), (first, evidence))
    assert json.dumps(found, sort_keys=True) == before, "the findings given are left as they are"
    return built


def run(capture, **more):
    """Rows of the findings by host; they are as the contract says."""
    built = attributed(capture, **more)
    contract.holds(built)
    return {row["host"]: row for row in built["hosts"]}


def row(capture, **more):
    """The row of the captured host."""
    host = more.get("host", HOST)
    return run(capture.json(host) if isinstance(capture, Capture) else capture, **more)[host]


def of_each(method, **changes):
    """A capture in which each of the stalls is what `method(capture, start, end)` makes of it."""
    capture = Capture(**changes)
    for start, length in STALLS:
        method(capture, start, start + length)
    return capture
