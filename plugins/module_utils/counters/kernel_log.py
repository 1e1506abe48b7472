# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the kernel log that tell of stalls, from /dev/kmsg (Documentation/ABI/testing/dev-kmsg)."""

import errno
import os
import time
from collections import deque
from typing import Any, Deque, Dict, Iterable, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable

PATH = "/dev/kmsg"
DAY_S = 86400.0
MOST_RECORDS = 50000
MOST_LINES = 40
LONGEST_LINE = 240
READ_S = 1.0
# What a line holds; plain words, since a ring buffer holds thousands of lines.
KINDS = (
    ("soft_lockup", "soft lockup"),
    ("hard_lockup", "hard LOCKUP"),
    ("rcu_stall", "detected stall"),
    ("rcu_stall", "detected expedited stall"),
    ("hogged_cpu", "hogged CPU for"),
    ("drop_caches", "drop_caches:"),
    ("rt_throttling", "RT throttling activated"),
    ("perf_slow", "perf: interrupt took too long"),
    ("tx_paused", "is paused for too long"),
    ("tx_paused", "napi handler hasn't been called for a long time"),
    ("tx_hang", "Unit Hang"),
    ("netdev_watchdog", "NETDEV WATCHDOG"),
    ("hung_task", "blocked for more than"),
    ("conntrack_full", "nf_conntrack: table full"),
    ("neighbour_full", "table overflow"),
    ("clocksource", "Marking clocksource"),
    ("audit_backlog", "audit_backlog="),
    ("audit_backlog", "backlog limit exceeded"),
    ("hardware_error", "[Hardware Error]"),
    ("printk_dropped", "printk messages dropped"),
    ("out_of_memory", "Out of memory"),
    ("out_of_memory", "oom-kill:"),
)


def parse(record: str) -> Optional[Tuple[int, float, str]]:
    """(sequence, seconds since boot, message) of a record "6,339,5140900,-;NET: Registered ..."; None for what is not one.

    The first number holds the facility above its three lowest bits; what a program wrote into the log has another than the kernel's 0,
    and its message is left empty.
    """
    head, separator, rest = record.partition(";")
    fields = head.split(",")
    if not separator or len(fields) < 3 or not all(field.isdecimal() for field in fields[:3]):
        return None
    if int(fields[0]) >> 3:
        rest = ""
    return int(fields[1]), int(fields[2]) / 1e6, rest.partition("\n")[0]


def kind_of(message: str) -> Optional[str]:
    return next((kind for kind, words in KINDS if words in message), None)


def select(records: Iterable[str], uptime_s: float, since_s: float = DAY_S) -> Dict[str, Any]:
    """{last_sequence, counts {kind: n}, lines [{age_s, kind, text}, newest last], omitted} of records at most `since_s` old."""
    last: Optional[int] = None
    counts: Dict[str, int] = {}
    lines: List[Dict[str, Any]] = []
    for record in records:
        parsed = parse(record)
        if parsed is None:
            continue
        last = parsed[0]
        kind = kind_of(parsed[2])
        age_s = max(0.0, uptime_s - parsed[1])
        if kind is None or age_s > since_s:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        lines.append({"age_s": round(age_s, 3), "kind": kind, "sequence": last, "text": _printable(parsed[2])})
    return {"last_sequence": last, "counts": counts, "lines": lines[-MOST_LINES:], "omitted": max(0, len(lines) - MOST_LINES)}


def reduce(start: Dict[str, Any], end: Optional[Dict[str, Any]]) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """The second reading with only the lines that were logged after the first."""
    if end is None or start["last_sequence"] is None:
        return start, end
    new = [line for line in end["lines"] if line["sequence"] > start["last_sequence"]]
    # What grew older than a day since then makes the difference too small; the lines that were kept show how much at the least.
    kinds = [line["kind"] for line in new]
    counts = {kind: max(count - start["counts"].get(kind, 0), kinds.count(kind)) for kind, count in end["counts"].items()}
    return start, dict(end, lines=new, counts={kind: count for kind, count in counts.items() if count > 0})


def read() -> Dict[str, Any]:
    try:
        descriptor = os.open(PATH, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        hint = " (kernel.dmesg_restrict asks for CAP_SYSLOG)" if error.errno == errno.EPERM else ""
        raise Unavailable(f"{PATH}: {error.strerror}{hint}") from None
    try:
        records, complete = _records(descriptor)
    finally:
        os.close(descriptor)
    return dict(select(records, time.monotonic()), complete=complete)


def _records(descriptor: int) -> Tuple[Iterable[str], bool]:
    """The newest records, and whether they are all there are. The log can only be read from its oldest on."""
    records: Deque[str] = deque(maxlen=MOST_RECORDS)
    seen, until = 0, time.monotonic() + READ_S
    while time.monotonic() < until:
        try:
            records.append(os.read(descriptor, 8192).decode("utf-8", "replace"))
            seen += 1
        except BlockingIOError:
            return records, seen <= MOST_RECORDS
        except OSError as error:
            # EPIPE: the record was overwritten while we read; the next read goes on after it.
            if error.errno != errno.EPIPE:
                raise Unavailable(f"{PATH}: {error.strerror}") from None
    return records, False


def _printable(message: str) -> str:
    return "".join(character if character.isprintable() else " " for character in message)[:LONGEST_LINE]
