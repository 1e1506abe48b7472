#!/usr/bin/python3
"""Leaves dying memory control groups behind: `zombie-maker --count N --per-s N --kept N`. Runs in the lab's machines.

A group is made, this process writes a file while in it, leaves it and removes it: the kernel keeps the group as long as there are pages
that were charged to it. Says how many it has made when `--count` is reached, then goes on making `--per-s` of them each second. Each
`--kept`-th group's file is in a tmpfs, where drop_caches does not free it (0: none is).
"""

from __future__ import annotations

import argparse
import os
import time

GROUPS = "/sys/fs/cgroup/memory"
CACHED, KEPT = "/var/lib/zombie-maker", "/run/zombie-maker"
PAGE = bytes(4096)


def main() -> None:
    parser = argparse.ArgumentParser(prog="zombie-maker")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--per-s", type=float, required=True)
    parser.add_argument("--kept", type=int, required=True)
    options = parser.parse_args()
    for directory in (CACHED, KEPT):
        os.makedirs(directory, exist_ok=True)
    for number in range(options.count):
        make(number, options.kept)
    print("made", options.count, flush=True)
    number = options.count
    while options.per_s:
        time.sleep(1 / options.per_s)
        make(number, options.kept)
        number += 1
    time.sleep(1e9)


def make(number: int, kept: int) -> None:
    group = f"{GROUPS}/zombie-{os.getpid()}-{number}"
    os.mkdir(group)
    join(group)
    directory = KEPT if kept and number % kept == 0 else CACHED
    descriptor = os.open(f"{directory}/{number}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, PAGE)
    if directory == CACHED:
        os.fdatasync(descriptor)  # only a clean page can be dropped
    os.close(descriptor)
    join(GROUPS)
    os.rmdir(group)


def join(group: str) -> None:
    with open(f"{group}/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))


if __name__ == "__main__":
    main()
