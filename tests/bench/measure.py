"""What a command costs, and ratios that hold on a noisy machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    """Of one finished process and the children it waited for: seconds, and the largest resident set of one process in KiB."""

    rc: int
    wall_s: float
    cpu_s: float
    rss_kb: int
    output: str


def run(line: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> Cost:
    """Run `line` to its end. The usage is the kernel's accounting of that process tree (wait4), not a sample."""
    begun = time.monotonic()
    process = subprocess.Popen(
        list(line), cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(process.returncode, time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, output)


def ratio(ours: Sequence[float], peers: Sequence[float]) -> dict[str, float]:
    """Ours over the peer's, pair by pair: the pairs ran next to each other, so the machine's drift falls out."""
    pairs = sorted(one / other for one, other in zip(ours, peers, strict=True) if other)
    return {"min": round(pairs[0], 3), "median": round(statistics.median(pairs), 3), "max": round(pairs[-1], 3)} if pairs else {}


def spread(values: Sequence[float]) -> dict[str, float]:
    """The middle of `values` and the distance of its 5th and 95th percentile, the jitter."""
    cuts = statistics.quantiles(values, n=20)
    return {"median": statistics.median(values), "jitter": cuts[-1] - cuts[0]}
