#!/usr/bin/python3
"""A collector of statistics, as every fleet has one: reads a few files of /proc now and then. Runs in the lab's machines.

`stats-reader [--interval SECONDS] [--detailed-once FILE] [FILE ..]`; the environment's STATS_INTERVAL_S is the interval where the option
is not given. Files that are not there are passed over. With --detailed-once, the FILEs are read only by a process that found that file
when it started, and it took the file away: a setting that somebody left on, and that a restart loses.
"""

from __future__ import annotations

import argparse
import os
import time


def main() -> None:
    parser = argparse.ArgumentParser(prog="stats-reader")
    parser.add_argument("--interval", type=float, default=float(os.environ.get("STATS_INTERVAL_S", "1")))
    parser.add_argument("--detailed-once")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    files = ["/proc/stat", "/proc/meminfo"]
    if not options.detailed_once or take(options.detailed_once):
        files += options.files
    while True:
        for name in files:
            read(name)
        time.sleep(options.interval)


def take(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def read(name: str) -> None:
    try:
        with open(name, "rb", buffering=0) as file:
            file.read(65536)
    except FileNotFoundError:
        pass


if __name__ == "__main__":
    main()
