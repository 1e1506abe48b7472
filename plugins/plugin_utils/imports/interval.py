# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interval between probes, as a log tells it: by its own clock, by a command line in it, or by the backlogs of its stalls.

A wrong one makes a wrong rate, so that it is rather not known than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median

DEFAULT_MS = 1000.0  # of hping3, ping and fping alike
FAST_MS = 100.0
# Falling round trips are a backlog's only where they are well above the path's own, and as even as the sending was
SAWTOOTH_MS = 20.0
EVEN = 0.2
LEAST_STEPS = 4

_PROGRAM = re.compile(r"(?:^|[\s/])(hping3?|ping[46]?|fping)(?=\s)")
# Where nothing is said of the interval the line has to be a command, and no sentence with one of these words
_TYPED = re.compile(r"(?:^|[#$%] ?|\bsudo )(?:/\S{0,100}/)?(hping3?|ping[46]?|fping) ")
_END = re.compile(r"[|<>;&]")
_VALUE = r"(?:(?:\s{0,8}|=)(u?)(\d{1,9}(?:\.\d{1,6})?|\.\d{1,6})(?=\s|$))?"
_INTERVAL = re.compile(r"\s(?:-[A-Za-z0-9]{0,12}i|--interval)" + _VALUE, re.ASCII)
_PERIOD = re.compile(r"\s(?:-[A-Za-z0-9]{0,12}p|--period)" + _VALUE, re.ASCII)
_AS_IT_CAN = re.compile(r"\s--(?:flood|faster|adaptive)\b")
_PING_AS_IT_CAN = re.compile(r"\s-[A-Za-z]{0,12}[fA]")


def is_command(line: str) -> bool:
    return _program(line) is not None


def _program(line: str) -> re.Match[str] | None:
    """In a line of another shape than a command's, an option has to follow."""
    found = _TYPED.search(line) or _PROGRAM.search(line)
    return found if found and (found.re is _TYPED or " -" in line[found.end() :]) else None


def of_command(line: str) -> float | None:
    """Milliseconds; None: no command, or one that leaves it to the answers or to the machine (--flood; --faster is 1 microsecond)."""
    found = _program(line)
    if not found:
        return None
    program, options = found[1], " " + _END.split(line[found.end() :])[0]
    if _AS_IT_CAN.search(options) or (program.startswith("ping") and _PING_AS_IT_CAN.search(options)):
        return None
    if re.search(r"\s--fast\b", options) and program.startswith("hping"):
        return FAST_MS
    fping = program == "fping"
    said = (_PERIOD if fping else _INTERVAL).search(options)
    if not said:
        return DEFAULT_MS if found.re is _TYPED and _names_host(options) else None
    return float(said[2]) * (1 if fping else 0.001 if said[1] else 1000) or None if said[2] else None


def _names_host(options: str) -> bool:
    """Whether words after a program's name can be its options and a host, and are no remark as `# ping from the shell`."""
    words = options.split()
    plain = [word for before, word in pairwise(["", *words]) if not word.startswith("-") and not before.startswith("-")]
    return len(plain) <= 1 and (len(plain) < len(words) or bool(re.search(r"[\d.:]", "".join(plain))))


def of_backlogs(series: Iterable[tuple[Sequence[int], Sequence[float]]], whole: bool) -> float | None:
    """Milliseconds, as a draining backlog shows them: each of its probes waited that much less than the one before.

    In a whole log a backlog has to show LEAST_STEPS of them in a row, above its own lower quartile; of slow replies alone the tops
    of several have to show as many together. None where they are fewer, or do not agree: other delays fall as well.

    :param series: numbers and round trips (ms) of each
    """
    rows = list(series)
    times = sorted(rtt for _numbers, rtts in rows for rtt in rtts)
    floor = SAWTOOTH_MS + (times[(len(times) - 1) // 4] if whole and times else 0.0)
    least = LEAST_STEPS if whole else 2
    steps = [step for numbers, rtts in rows for run in _even(_falling(numbers, rtts, floor)) if len(run) >= least for step in run]
    if len(steps) < LEAST_STEPS:
        return None
    found = median(steps)
    return round(found, 3) if all(abs(step - found) <= EVEN * found for step in steps) else None


def _falling(numbers: Sequence[int], rtts: Sequence[float], floor: float) -> Iterator[float | None]:
    """The steps from reply to reply; None where there is none that falls from above the floor to above it."""
    for (first, before), (second, after) in pairwise(zip(numbers, rtts, strict=True)):
        yield before - after if second == first + 1 and before > after >= floor else None


def _even(steps: Iterable[float | None]) -> Iterator[list[float]]:
    """Steps in a row that are like the first of the row."""
    run: list[float] = []
    for step in steps:
        if step is not None and run and abs(step - run[0]) <= EVEN * run[0]:
            run.append(step)
            continue
        if run:
            yield run
        run = [] if step is None else [step]
    if run:
        yield run
