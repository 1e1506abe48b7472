# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which task handled which probe: a packet log of bcc or bpftrace, and what it says of a stall.

A row is `pid tid comm number`, then perhaps the CPU and the time in seconds; a heading may name and order the columns otherwise. Where a
task was in a system call, packets are handled in its name, though it is the kernel that does it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from ansible_collections.fleet.stall.plugins.plugin_utils.classes import is_packet_thread
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.hping import REORDERED, WRAP
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.sawtooth import Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import IDLE_PID, Task

ROWS_LIMIT = 500_000
# A backlog is handled at once: what came later is none of it
AT_ONCE_S = 0.005
# Rows before the backlog that are looked at for who handled packets just before
BEFORE = 3

_COLUMNS = {
    "pid": "pid",
    "tgid": "pid",
    "tid": "tid",
    "comm": "comm",
    "command": "comm",
    "process": "comm",
    "task": "comm",
    "seq": "number",
    "icmp_seq": "number",
    "number": "number",
    "cpu": "cpu",
    "time": "time",
    "time(s)": "time",
    "timestamp": "time",
}
# A name may end in a number, as that of a thread of a pool: where the columns stand apart, single spaces are the name's own
_ROWS = tuple(
    re.compile(
        r"\s{0,20}(\d{1,10})%s(\d{1,10})%s(\S(?:[^\t\n]{0,62}?\S)??)%s(\d{1,10})"
        r"(?:%s(\d{1,5}))?(?:%s(\d{1,12}\.\d{1,9}))?\s{0,40}(?:\*\*.{0,80})?" % ((apart,) * 5),
        re.ASCII,
    )
    for apart in (r"(?:\t{1,9}|\s{2,40})", r"\s{1,40}")
)
_WIDE = re.compile(r"\t+|\s{2,}")
_PER_CPU = re.compile(r"(?:ksoftirqd|swapper)/(\d{1,5})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One probe that was handled; ``cpu`` from its column or from the name of a thread that has a CPU of its own."""

    task: Task
    number: int
    cpu: int | None
    at_s: float | None


@dataclass(slots=True)
class PacketLog:
    """In the order of the log; ``where``: number -> positions."""

    rows: list[Row] = field(default_factory=list)
    where: dict[int, list[int]] = field(default_factory=dict)
    omitted: int = 0
    skipped: int = 0
    first_skipped: str = ""

    def handlers(self) -> list[tuple[Task, int | None, int]]:
        """Task, CPU and packets, most first."""
        counts = Counter((row.task, row.cpu) for row in self.rows)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][0].tid, item[0][0].comm))
        return [(task, cpu, count) for (task, cpu), count in ordered]


@dataclass(frozen=True, slots=True)
class Handled:
    """A stall in the packet log. ``backlog``: its probes, which ``handler`` handled in a row; ``before``: who handled the one before.

    ``cpu``: that of the backlog; ``before_cpu`` that of ``before``; None: the log does not tell.
    """

    handler: Task
    cpu: int | None
    backlog: int
    before: Task | None
    before_cpu: int | None

    @property
    def by_thread(self) -> bool:
        return is_packet_thread(self.handler.comm)

    @property
    def same_cpu(self) -> bool | None:
        return None if self.cpu is None or self.before_cpu is None else self.cpu == self.before_cpu


def count(lines: Iterable[str]) -> int:
    """How many lines are rows."""
    return sum(row is not None for _line, row in _parsed(lines))


def read(lines: Iterable[str]) -> PacketLog:
    """Never raises; lines that are no row count as skipped."""
    log = PacketLog()
    tasks: dict[Task, Task] = {}
    for line, row in _parsed(lines):
        if row is None:
            log.skipped += 1
            log.first_skipped = log.first_skipped or line
        elif len(log.rows) >= ROWS_LIMIT:
            log.omitted += 1
        else:
            log.rows.append(Row(tasks.setdefault(row.task, row.task), row.number, row.cpu, row.at_s))
    for at, number in enumerate(_numbers([row.number for row in log.rows])):
        row = log.rows[at]
        log.rows[at] = Row(row.task, number, row.cpu, row.at_s)
        log.where.setdefault(number, []).append(at)
    return log


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, Row | None]]:
    """Each line but empty ones and a heading before the first row, with its row; None: it is none."""
    order: list[str] = []
    begun = False
    for line in lines:
        if not line.strip():
            continue
        if not begun and (named := _heading(line)):
            order = named
            continue
        row = _by_heading(line, order) if order else _positional(line)
        begun = begun or row is not None
        yield line, row


def _numbers(numbers: list[int]) -> Iterator[int]:
    """As hping3 prints them: it sends them in the byte order of its host, so that a log may have their bytes swapped; unwrapped."""
    swapped = [_swapped(number) for number in numbers]
    if _steps(swapped) > _steps(numbers):
        numbers = swapped
    offset, before = 0, 0
    for number in numbers:
        if WRAP > before >= WRAP - REORDERED and number < REORDERED:
            offset += WRAP
        before = number
        yield number + offset


def _swapped(number: int) -> int:
    return (number & 0xFF) << 8 | number >> 8 if number < WRAP else number


def _steps(numbers: list[int]) -> int:
    """How many rows follow the one with the number before."""
    return sum(after - before == 1 for before, after in pairwise(numbers))


def of_stall(log: PacketLog, stall: Stall) -> Handled | None:
    """What the log has of a stall: from its first probe on, consecutive numbers that one task handled, at most as many as it held back."""
    found = [handled for at in log.where.get(stall.number, ()) if (handled := _at(log, at, stall))]
    return max(found, key=lambda handled: handled.backlog, default=None)


def _at(log: PacketLog, at: int, stall: Stall) -> Handled | None:
    first = log.rows[at]
    backlog = 0
    for step, row in enumerate(log.rows[at : at + max(1, stall.backlog)]):
        if row.task != first.task or row.number != first.number + step:
            break
        if row.at_s is not None and first.at_s is not None and row.at_s - first.at_s > AT_ONCE_S:
            break
        backlog += 1
    before = next((row for row in reversed(log.rows[max(0, at - BEFORE) : at]) if 0 < first.number - row.number <= BEFORE), None)
    return Handled(first.task, first.cpu, backlog, before.task if before else None, before.cpu if before else None)


def is_idle(task: Task) -> bool:
    return task.pid == IDLE_PID


def cpu_of(comm: str) -> int | None:
    """Of a thread that has a CPU of its own, as `ksoftirqd/11`."""
    found = _PER_CPU.match(comm)
    return int(found[1]) if found else None


def _heading(line: str) -> list[str]:
    """The columns in their order, "" for one that is not needed; empty: no heading."""
    text = line.strip().lstrip("# ").lower()
    words = text.split()
    if not set(words) <= set(_COLUMNS):
        words = _WIDE.split(text) if len(_WIDE.split(text)) >= 4 else words
    # bcc's tools print TGID and PID, which are the process and the thread
    own = {"pid": "tid"} if "tgid" in words else {}
    named = [own.get(word) or _COLUMNS.get(word) or _COLUMNS.get(word.split()[0], "") for word in words if word]
    return named if {"comm", "number"} <= set(named) and {"pid", "tid"} & set(named) else []


def _by_heading(line: str, order: list[str]) -> Row | None:
    line = line.split("**")[0].strip()
    for words in (_WIDE.split(line), _with_spaces(line.split(), order)):
        row = _of_words(words, order) if len(words) == len(order) else None
        if row:
            return row
    return None


def _with_spaces(words: list[str], order: list[str]) -> list[str]:
    """Words that are more than the columns are of the task's name."""
    at, more = order.index("comm"), len(words) - len(order)
    return words if more <= 0 else [*words[:at], " ".join(words[at : at + more + 1]), *words[at + more + 1 :]]


def _of_words(words: list[str], order: list[str]) -> Row | None:
    fields = dict(zip(order, words, strict=True))
    number = _whole(fields["number"])
    pid, tid = _whole(fields.get("pid") or fields.get("tid", "")), _whole(fields.get("tid") or fields.get("pid", ""))
    if number is None or pid is None or tid is None:
        return None
    return _row(pid, tid, fields["comm"], number, _whole(fields.get("cpu", "")), _seconds(fields.get("time", "")))


def _positional(line: str) -> Row | None:
    found = next((found for row in _ROWS if (found := row.fullmatch(line))), None)
    if not found:
        return None
    pid, tid, comm, number, cpu, at = found.groups()
    return _row(int(pid), int(tid), comm, int(number), int(cpu) if cpu else None, float(at) if at else None)


def _row(pid: int, tid: int, comm: str, number: int, cpu: int | None, at_s: float | None) -> Row:
    return Row(Task(comm, pid, tid), number, cpu_of(comm) if cpu is None else cpu, at_s)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(?:\.\d{1,9})?", text, re.ASCII) else None
