"""What a capture costs the host it looks at: its CPU, and the round trip of the probes with it against without it, in turns.
Without bpftrace, too, where perf trace stands in.

On two paths: the lab's own, which is a few microseconds long and passes the traced point once for each of its hosts and bridges (they
share one kernel), and one that holds each packet for as long as a network would: the budget is for that one. `holds_from_us` says how
long a path is of which what was added is a tenth. Beside the capture runs, in turns as well, a program on the same tracepoint that
looks at nothing: below what that costs no trace by it can go.

The CPUs are kept from idling meanwhile, by processes that give way to anything: on an idle machine the time to wake a CPU up is four
times the round trip, comes and goes, and is less while perf samples. The prober and the hop have each a CPU for the same reason: whether
they happen to share one changes the round trip by half.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from tests.lab.topology import Topology

from . import measure, probers
from .capturer import SET_UP_S

ROUNDS = 5
PATIENCE_S = 15
SECONDS = 6
INTERVAL_MS = 10
SLACK_S = 1.0
# `ip netns exec` has mounts of its own, so that a tool is gone for what runs in it alone
WITHOUT_BPFTRACE = ["sh", "-c", 'mount --bind /dev/null "$(command -v bpftrace)"; exec "$@"', "sh"]
CAPTURES: dict[str, list[str]] = {"capture": [], "capture_without_bpftrace": WITHOUT_BPFTRACE}
BUDGETS = {"rtt_to_without": 1.1, "cpu_percent_of_a_core": 3.0}
HOP_ADDRESSES = ("198.51.100.1", "198.51.100.2")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([".", "collections"])}


def compare(lab: Topology) -> dict:
    source, target = lab.hosts[0].name, lab.hosts[1].name
    with _awake():
        straight = _in_turns(lab, source, target, lab.hosts[1].address)
        with _hop(lab, source, target):
            through = _in_turns(lab, source, target, HOP_ADDRESSES[1])
    return {
        "how": f"one ICMP flow every {INTERVAL_MS} ms, {SECONDS} s, {ROUNDS} rounds in turns",
        "lab_path": straight,
        "path_of_100_us": through,
        "budgets": BUDGETS,
        "within_budget": {
            "rtt_to_without": through["to_without"]["capture"]["median"] <= BUDGETS["rtt_to_without"],
            "cpu_percent_of_a_core": statistics.median(through["capture"]["cpu_percent_of_a_core"]) <= BUDGETS["cpu_percent_of_a_core"],
        },
    }


def _in_turns(lab: Topology, source: str, target: str, address: str) -> dict:
    rows: dict[str, list[float]] = {name: [] for name in ("without", "floor", *CAPTURES)}
    captured: dict[str, list[dict]] = {name: [] for name in CAPTURES}
    for _ in range(ROUNDS):
        rows["without"].append(_median_us(lab, source, address))
        with _running(_command(lab, target, "tests.bench.floor")):
            rows["floor"].append(_median_us(lab, source, address))
        for name, prefix in CAPTURES.items():
            capture = _start(_command(lab, target, "tests.bench.capturer", str(INTERVAL_MS), str(SECONDS + SLACK_S), prefix=prefix))
            time.sleep(SET_UP_S)
            rows[name].append(_median_us(lab, source, address))
            output, _ = capture.communicate(timeout=60)
            captured[name].append(json.loads(output.splitlines()[-1]))
    added = {name: _added(rows["without"], rows[name]) for name in rows if name != "without"}
    return {
        "median_us": rows,
        "to_without": {name: measure.ratio(rows[name], rows["without"]) for name in rows if name != "without"},
        "us_added": added,
        "holds_from_us": {name: round(us / (BUDGETS["rtt_to_without"] - 1), 1) for name, us in added.items()},
        **{name: _costs(captured[name]) for name in CAPTURES},
    }


def _costs(captured: list[dict]) -> dict[str, list[float]]:
    costs = [one["cost"] for one in captured]
    spent = [100 * (sum(cost["window_cpu_s"].values()) + cost["traced_calls_cpu_s"]) / (SECONDS + SLACK_S) for cost in costs]
    return {
        "cpu_percent_of_a_core": [round(percent, 2) for percent in spent],
        "setup_cpu_s": [cost["setup_cpu_s"] for cost in costs],
        "probes_traced": [one["handled"] for one in captured],
    }


def _added(before: Sequence[float], after: Sequence[float]) -> float:
    return round(statistics.median(one - other for one, other in zip(after, before, strict=True)), 2)


@contextlib.contextmanager
def _awake() -> Iterator[None]:
    """One process on each CPU that is never idle and never in the way (SCHED_IDLE)."""
    seconds = 2 * ROUNDS * ((2 + len(CAPTURES)) * (SECONDS + 2 * SET_UP_S) + 4 * SET_UP_S)
    spin = f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    line = ["chrt", "--idle", "0", sys.executable, "-c", spin]
    spinners = [subprocess.Popen(["taskset", "-c", str(cpu), *line]) for cpu in _cpus()]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def _cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def _hop(lab: Topology, source: str, target: str) -> Iterator[None]:
    pinned = ["unshare", "--net", "taskset", "-c", str(max(_cpus())), sys.executable, "-m", "tests.bench.hop"]
    with _running([*pinned, lab.netns(source), lab.netns(target), *HOP_ADDRESSES]):
        yield


@contextlib.contextmanager
def _running(line: list[str]) -> Iterator[None]:
    """A program that says "up" when it is, for as long as it is needed."""
    process = _start(line)
    try:
        assert process.stdout and any(said.strip() == "up" for said in process.stdout), f"{' '.join(line)} did not come up"
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:  # a bpftrace that does not come to an end, once in some hundred
            process.kill()
            process.communicate()


def _median_us(lab: Topology, source: str, address: str) -> float:
    prefix = ["taskset", "-c", str(min(_cpus())), "ip", "netns", "exec", lab.netns(source)]
    return probers.ours(prefix, address, INTERVAL_MS, SECONDS)["median_us"]


def _command(lab: Topology, host: str, module: str, *arguments: str, prefix: Sequence[str] = ()) -> list[str]:
    return ["ip", "netns", "exec", lab.netns(host), *prefix, sys.executable, "-m", module, *arguments]


def _start(line: list[str]) -> subprocess.Popen:
    return subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
