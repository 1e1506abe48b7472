"""What a capture costs the host it looks at: its CPU, and the round trip of the probes with it against without it, in turns.

The CPUs are kept from idling meanwhile, by processes that give way to anything: on an idle machine the time to wake a CPU up is four
times the round trip, comes and goes, and is less while perf samples.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.lab.topology import Topology

from . import measure, probers
from .capturer import SET_UP_S

ROUNDS = 5
INTERVAL_MS = 10
SLACK_S = 1.0


def compare(lab: Topology) -> dict:
    source, target = lab.hosts[0], lab.hosts[1]
    without, during, costs = [], [], []
    with _awake():
        for _ in range(ROUNDS):
            without.append(_median_us(lab, source.name, target.address))
            capture = _start(lab, target.name)
            time.sleep(SET_UP_S)
            during.append(_median_us(lab, source.name, target.address))
            output, _ = capture.communicate(timeout=60)
            costs.append(json.loads(output.splitlines()[-1]))
    spent = [100 * sum(cost["cost"]["window_cpu_s"].values()) / (probers.SECONDS + SLACK_S) for cost in costs]
    return {
        "path": f"one ICMP flow every {INTERVAL_MS} ms, {probers.SECONDS} s, {ROUNDS} rounds in turns",
        "median_us_without": without,
        "median_us_during": during,
        "ratio_during_to_without": measure.ratio(during, without),
        "median_us_added": statistics.median(after - before for before, after in zip(without, during, strict=True)),
        "cpu_percent_of_a_core": [round(percent, 2) for percent in spent],
        "setup_cpu_s": [cost["cost"]["setup_cpu_s"] for cost in costs],
        "probes_traced": [cost["handled"] for cost in costs],
    }


@contextlib.contextmanager
def _awake() -> Iterator[None]:
    """One process on each CPU that is never idle and never in the way (SCHED_IDLE)."""
    seconds = ROUNDS * (2 * probers.SECONDS + 4 * SET_UP_S)
    spin = f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    line = ["chrt", "--idle", "0", sys.executable, "-c", spin]
    spinners = [subprocess.Popen(["taskset", "-c", str(cpu), *line]) for cpu in sorted(os.sched_getaffinity(0))]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def _median_us(lab: Topology, source: str, address: str) -> float:
    return probers.ours(["ip", "netns", "exec", lab.netns(source)], address, INTERVAL_MS)["median_us"]


def _start(lab: Topology, target: str) -> subprocess.Popen:
    line = ["ip", "netns", "exec", lab.netns(target), sys.executable, "-m", "tests.bench.capturer"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([".", "collections"])}
    return subprocess.Popen(
        [*line, str(INTERVAL_MS), str(probers.SECONDS + SLACK_S)], env=environment, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
