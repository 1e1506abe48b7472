"""The least that a trace of packets by tracepoint can cost: a program on it that looks at nothing, until it is killed."""

from __future__ import annotations

import os
import sys

from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, tracefs

PROGRAM = 'BEGIN { printf("up\\n"); } tracepoint:net:netif_receive_skb /args->len == 0xffffffff/ { @never = 1; }'


def main() -> None:
    blind = tracefs.see_tracefs()
    bpftrace = bounded.find("bpftrace")
    if blind or bpftrace is None:
        sys.exit(blind or "bpftrace is not installed")
    os.execv(bpftrace, [bpftrace, "-B", "line", "-e", PROGRAM])


if __name__ == "__main__":
    main()
