"""One capture, alone: run in the network namespace of a lab host, it prints its cost as JSON. `stack_hz` 0 leaves the tools out."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

from ansible_collections.fleet.stall.plugins.module_utils.capture import capture

SET_UP_S = 5.0


def plan(interval_ms: float, seconds: float) -> dict:
    now = time.time()
    flow = {"id": 1, "source": "source", "protocol": "icmp", "family": 4, "port": None, "source_address": None, "source_port": None}
    return {
        "schema_version": 1,
        "run": "bench",
        "host": "target",
        "token": 1,
        "starts_at": now + SET_UP_S,
        "ends_at": now + SET_UP_S + seconds,
        "dispatched_at": now,
        "skew_s": 0.0,
        "threshold_ms": 10,
        "addresses": [],
        "flows": [{**flow, "interval_ms": interval_ms}],
        "stack_hz": 999,
        "strace_s": 0,
        "strace_bytes": 0,
        "slow_call_ms": 10,
        "memory_stat": False,
        "connections": True,
        "endpoints": [],
        "packets": [],
        "only_packets": False,
        "bytes_limit": 32 << 20,
    }


def main(interval_ms: str, seconds: str) -> int:
    with tempfile.TemporaryDirectory() as workdir:
        found = capture.capture(plan(float(interval_ms), float(seconds)), lambda: False, os.path.join(workdir, "work"))
    assert found["status"] == "measured", found["reason"]
    handled = sum(row["packets"] for row in found["handlers"])
    print(json.dumps({"cost": found["cost"], "handled": handled, "capabilities": found["capabilities"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
