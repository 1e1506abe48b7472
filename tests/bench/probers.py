"""Our prober against hping3 and fping, in turns on one path of the lab: round trip, send jitter, CPU.

Send jitter is taken where it matters and alike for all three: from the times at which the packets arrive at the target,
in a capture there.

Ours runs at the priority that it has as root on a host (nice -10), the others at 0. Our round trip is by the kernel's stamps, theirs by
their own clock: that ratio compares the stamps as much as the probers.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dpkt

from tests.lab.topology import Host, Topology

from . import measure

SECONDS = 10
ROUNDS = 3
CAPTURE_STARTS_WITHIN_S = 1.0


def compare(lab: Topology) -> dict:
    source, target = lab.hosts[0], lab.hosts[1]
    unhurried = _in_turns(lab, source, target, TOOLS, interval_ms=10)
    fast = _in_turns(lab, source, target, {name: tool for name, tool in TOOLS.items() if name != "fping"}, interval_ms=1)
    return {
        "path": f"{source.name} to {target.name}, ICMP echo, {SECONDS} s, {ROUNDS} rounds in turns",
        "interval_10ms": _summary(unhurried),
        "interval_1ms": _summary(fast),
    }


def _in_turns(lab: Topology, source: Host, target: Host, tools: dict[str, Callable], interval_ms: float) -> dict[str, list[dict]]:
    rounds: dict[str, list[dict]] = {name: [] for name in tools}
    for _ in range(ROUNDS):
        for name, tool in tools.items():
            rounds[name].append(_once(lab, source, target, tool, interval_ms))
    return rounds


def _once(lab: Topology, source: Host, target: Host, tool: Callable, interval_ms: float) -> dict:
    prefix = ["ip", "netns", "exec", lab.netns(source.name)]
    with tempfile.TemporaryDirectory() as scratch:
        capture = Path(scratch) / "arrivals.pcap"
        listen = ["tcpdump", "-i", "eth0", "-n", "-s", "64", "-w", str(capture), "icmp[icmptype] = icmp-echo"]
        sniffer = subprocess.Popen(
            ["ip", "netns", "exec", lab.netns(target.name), *listen], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(CAPTURE_STARTS_WITHIN_S)
        try:
            figures = tool(prefix, target.address, interval_ms)
        finally:
            time.sleep(0.3)
            sniffer.terminate()
            sniffer.wait()
        return figures | _arrivals(capture, interval_ms)


def _arrivals(capture: Path, interval_ms: float) -> dict:
    with capture.open("rb") as file:
        times = [stamp for stamp, _ in dpkt.pcap.Reader(file)]
    gaps = [(after - before) * 1e6 - interval_ms * 1000 for before, after in zip(times, times[1:], strict=False)]
    return {"arrived": len(times), "send_jitter_us": measure.spread(gaps)["jitter"]}


def ours(prefix: list[str], address: str, interval_ms: float, seconds: float = SECONDS) -> dict:
    line = [*prefix, sys.executable, "-m", "tests.bench.prober", address, str(interval_ms), str(seconds)]
    done = measure.run(line, env=os.environ | {"PYTHONPATH": os.pathsep.join([".", "collections"])})
    assert done.rc == 0, done.output
    result = json.loads(done.output.splitlines()[-1])
    return {"median_us": result["median_us"], "cpu_s": result["cpu_s"], "rss_kb": result["rss_kb"]}


def hping3(prefix: list[str], address: str, interval_ms: float) -> dict:
    count = int(SECONDS * 1000 / interval_ms)
    done = measure.run([*prefix, "hping3", "--icmp", "-n", "-c", str(count), "-i", f"u{int(interval_ms * 1000)}", address])
    times = [float(found) * 1000 for found in re.findall(r"rtt=([0-9.]+) ms", done.output)]
    return {"median_us": statistics.median(times), "cpu_s": done.cpu_s}


def fping(prefix: list[str], address: str, interval_ms: float) -> dict:
    count = int(SECONDS * 1000 / interval_ms)
    done = measure.run([*prefix, "fping", "-p", str(interval_ms), "-c", str(count), address])
    times = [float(found) * 1000 for found in re.findall(r"bytes, ([0-9.]+) ms \(", done.output)]
    return {"median_us": statistics.median(times), "cpu_s": done.cpu_s}


TOOLS: dict[str, Callable] = {"fleet.stall": ours, "hping3": hping3, "fping": fping}


def _summary(rounds: dict[str, list[dict]]) -> dict:
    summary: dict = {"figures": {name: {key: [row[key] for row in rows] for key in rows[0]} for name, rows in rounds.items()}}
    for peer in [name for name in rounds if name != "fleet.stall"]:
        summary[f"ratio_to_{peer}"] = {
            key: measure.ratio([row[key] for row in rounds["fleet.stall"]], [row[key] for row in rounds[peer]])
            for key in ("median_us", "send_jitter_us", "cpu_s")
        }
    return summary
