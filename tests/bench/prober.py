"""One flow of our prober, alone: run in a network namespace, it prints its result and its cost as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from ansible_collections.fleet.stall.plugins.module_utils import engine, observer
from ansible_collections.fleet.stall.plugins.module_utils.histogram import Histogram, lower_bound


def plan(address: str, interval_ms: float, seconds: float) -> dict:
    now = time.time()
    flow = {
        "id": 1,
        "source": "source",
        "target": "target",
        "layer": "node",
        "protocol": "icmp",
        "family": 4,
        "address": address,
        "port": None,
        "source_port": None,
        "interval_ms": interval_ms,
        "service": None,
        "request": None,
        "path": None,
    }
    return {
        "schema_version": 1,
        "run": "bench",
        "host": "source",
        "token": 1,
        "starts_at": now + 0.1,
        "ends_at": now + 0.1 + seconds,
        "dispatched_at": now,
        "threshold_ms": 10,
        "reply_timeout_ms": 500,
        "budget_pps": 5000,
        "seed": 1,
        "keep_raw": False,
        "counters": False,
        "event_limit": 200,
        "flows": [flow],
    }


def median_us(found: Histogram) -> float:
    """The median, finer than the buckets are wide: in proportion to the counts within its own."""
    before, half = 0, found.total() / 2
    for index, count in enumerate(found.counts):
        if count and before + count >= half:
            low, high = lower_bound(index), lower_bound(index + 1)
            return round(low + (high - low) * (half - before) / count, 2)
        before += count
    return 0.0


def main(address: str, interval_ms: str, seconds: str) -> int:
    os.setpriority(os.PRIO_PROCESS, 0, observer.PROBER_NICENESS)
    idle = resource.getrusage(resource.RUSAGE_SELF)
    result = engine.run(plan(address, float(interval_ms), float(seconds)), lambda: False)
    used = resource.getrusage(resource.RUSAGE_SELF)
    flow = result["flows"][0]
    print(
        json.dumps(
            {
                "sent": flow["sent"],
                "received": flow["received"],
                "median_us": median_us(Histogram.from_dict(flow["histogram"])),
                "cpu_s": used.ru_utime + used.ru_stime - idle.ru_utime - idle.ru_stime,
                "rss_kb": used.ru_maxrss,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
