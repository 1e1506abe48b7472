# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes out of the output of hping3, ping and fping, filtered or whole.

Sources: hping3(8) and what hping3 3.0.0-alpha-2, iputils ping and fping 5.1 print. Numbers are unwrapped: they grow over a log.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from ansible_collections.fleet.stall.plugins.plugin_utils.imports import interval

ICMP, TCP_SYN = "icmp", "tcp_syn"
# Two bytes on the wire: the number after 65535 is 0
WRAP = 65536
# Replies come in the order of sending but for what a stall interleaves; a number that falls by more begins a new log, or wraps
REORDERED = 4096
ROWS_LIMIT = 4_000_000
# A log that holds this share of its numbers, from the first probe on or with fast replies among them, holds all replies: the rest was lost
WHOLE = 0.5
FEW = 20
SECOND_MS, LIKE_MS = 1000.0, 15.0

_NUMBER = re.compile(r"(?:\bicmp_seq|\bseq)[=: ](\d{1,9})(?!\d)", re.ASCII)
_RTT = re.compile(r"\b(?:rtt|time)[=<](\d{1,9}(?:\.\d{1,9})?) ?ms", re.ASCII)
_FPING = re.compile(
    r"(?:\[\d{1,12}\.\d{1,9}\] )?(\S{1,255})\s{1,64}: \[(\d{1,9})\], (?:\d{1,6} bytes, (\d{1,9}(?:\.\d{1,9})?) ms|timed out)", re.ASCII
)
_FROM = re.compile(r"\b(?:ip=|bytes from (?:\S{1,255} \()?)([0-9A-Fa-f.:]{2,45}?(?:%[\w.-]{1,15})?)\)?:?(?:\s|$)", re.ASCII)
_HEADER = re.compile(
    r"(?:HPING|PING) ([^\s(]{1,255})(?=[ (])(?: ?\((?:[^\s()]{1,255} \(?)?([0-9A-Fa-f.:]{2,45}(?:%[\w.-]{1,15})?)\))?", re.ASCII
)
ADDRESSES_LIMIT = 8
_SENT = re.compile(r"(\d{1,9}) packets (?:transmitted|tramitted), (\d{1,9}) (?:packets )?received", re.ASCII)
_LONGEST = re.compile(r"(?:round-trip|rtt) min/avg/max(?:/\w{1,8})? = [\d.]{1,12}/[\d.]{1,12}/(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_TOOK = re.compile(r"\btime (\d{1,12}) ?ms", re.ASCII)
_STAMP = re.compile(r"\[(\d{1,12}\.\d{1,9})\] ", re.ASCII)


@dataclass(slots=True)
class Probes:
    """One log. ``numbers`` and ``rtts`` (ms) are those of the replies in it, in their order; ``series`` where a new count begins.

    ``name``: whom it was sent to, of its first line; ``addresses``: those in it, in their order, ADDRESSES_LIMIT at most;
    ``sent``, ``received``, ``longest_ms``: of the statistics at its end, None without; ``interval_ms``: of the command line in it;
    ``timed_ms``: the interval by its own clock, of ping's "time" in the statistics, else of the stamps of -D;
    ``lost``: numbers that the log itself calls lost; ``corrected``, ``doubtful``: replies that hping3 shows a second too long, or may.
    """

    protocol: str | None = None
    name: str | None = None
    addresses: dict[str, None] = field(default_factory=dict)
    numbers: array = field(default_factory=lambda: array("q"))
    rtts: array = field(default_factory=lambda: array("d"))
    series: list[int] = field(default_factory=list)
    sent: int | None = None
    received: int | None = None
    longest_ms: float | None = None
    interval_ms: float | None = None
    timed_ms: float | None = None
    lost: int = 0
    corrected: int = 0
    doubtful: int = 0
    omitted: int = 0
    skipped: int = 0
    first_skipped: str = ""

    def parts(self) -> list[tuple[array, array]]:
        """Each series by itself."""
        ends = [*self.series[1:], len(self.numbers)] if self.series else []
        return [(self.numbers[start:end], self.rtts[start:end]) for start, end in zip(self.series, ends, strict=True) if end > start]

    @property
    def spanned(self) -> int:
        """Probes from the first number to the last; each is known to have been sent."""
        return sum(max(numbers) - min(numbers) + 1 for numbers, _rtts in self.parts())

    @property
    def whole(self) -> bool:
        """Whether all replies are in the log, and not the slow ones alone."""
        if not self.numbers or self.omitted:
            return False
        if self.received is not None:
            return len(self.numbers) >= WHOLE * self.received
        if len(self.numbers) < max(FEW, WHOLE * self.spanned):
            return False
        return min(self.numbers) <= 1 or sorted(self.rtts)[len(self.rtts) // 4] < interval.SAWTOOTH_MS

    def tells_interval(self) -> float | None:
        """Milliseconds between probes as the backlogs show them; None where they do not tell."""
        return interval.of_backlogs(self.parts(), self.whole)


def recognises(line: str) -> bool:
    """Whether a line is one of a probe's, or of what frames them."""
    return _row(line) is not None or bool(_SENT.search(line)) or line.startswith(("HPING ", "PING "))


def read(lines: Iterable[str]) -> Probes:
    """All series of a log. Never raises; lines that are none of its own count as skipped."""
    reader = _Reader()
    for line in lines:
        reader.add(line)
    reader.probes.timed_ms = reader.timed_ms()
    if reader.is_hping:
        _without_false_seconds(reader.probes)
    return reader.probes


def _without_false_seconds(probes: Probes) -> None:
    """hping3 takes seconds and microseconds from two clocks, so that now and then a reply shows a second more than it took.

    Beside its neighbours it is told and put right. A lone echo of a second and more among slow replies alone is left out: what was sent
    just after it would have waited nearly as long.
    """
    numbers, rtts = probes.numbers, probes.rtts
    for at in range(1, len(numbers) - 1):
        rest = rtts[at] - SECOND_MS
        if rest >= 0 and numbers[at - 1] + 1 == numbers[at] == numbers[at + 1] - 1:
            beside = (rtts[at - 1], rtts[at + 1])
            if max(beside) < rtts[at] - SECOND_MS / 2 and min(beside) - LIKE_MS <= rest <= max(beside) + LIKE_MS:
                rtts[at] = rest
                probes.corrected += 1
    if probes.whole or probes.protocol != ICMP:
        return
    known = set(numbers)
    doubtful = [at for at, number in enumerate(numbers) if SECOND_MS <= rtts[at] < 2 * SECOND_MS and not known & {number - 1, number + 1}]
    for at in reversed(doubtful):
        del numbers[at], rtts[at]
        probes.series[:] = [start - (start > at) for start in probes.series]
    probes.doubtful = len(doubtful)


def _row(line: str) -> tuple[int, float | None, str | None] | None:
    """Number, round trip (None: lost) and protocol (None: it does not say) of a reply."""
    rtt = _RTT.search(line)
    if rtt:
        number = _NUMBER.search(line)
        if number:
            return int(number[1]), float(rtt[1]), _protocol(line)
        return None
    row = _FPING.match(line)
    return (int(row[2]), None if row[3] is None else float(row[3]), ICMP) if row else None


def _protocol(line: str) -> str | None:
    if "icmp_seq" in line or "bytes from" in line:
        return ICMP
    return TCP_SYN if "flags=" in line or "sport=" in line else None


class _Reader:
    def __init__(self) -> None:
        self.probes = Probes()
        self.is_hping = False
        self._highest: int | None = None
        self._offset = 0
        self._from = ""
        self._took_ms = self._took_steps = 0
        self._stamped: tuple[int, float] | None = None
        self._steps_ms = array("d")

    def timed_ms(self) -> float | None:
        found = self._took_ms / self._took_steps if self._took_steps else median(self._steps_ms) if self._steps_ms else 0.0
        return round(found, 3) or None

    def add(self, line: str) -> None:
        row = _row(line)
        if row:
            self._reply(line, *row)
        elif not self._framing(line) and line.strip():
            self.probes.skipped += 1
            self.probes.first_skipped = self.probes.first_skipped or line

    def _reply(self, line: str, number: int, rtt: float | None, protocol: str | None) -> None:
        probes = self.probes
        probes.protocol = probes.protocol or protocol
        self.is_hping = self.is_hping or "rtt=" in line
        if not self._from or self._from not in line:
            self._answered(line)
        if "DUP!" in line:
            return
        if rtt is None:
            probes.lost += 1
            return
        if len(probes.numbers) >= ROWS_LIMIT:
            probes.omitted += 1
            return
        probes.numbers.append(self._unwrapped(number))
        probes.rtts.append(rtt)
        if stamp := _STAMP.match(line):
            self._stamp(probes.numbers[-1], float(stamp[1]) * 1000 - rtt)

    def _answered(self, line: str) -> None:
        """By whom; most lines have the words of the one before."""
        found = _FROM.search(line) or _FPING.match(line)
        self._from = line[found.start() : found.end(1) + 1] if found else ""
        if found:
            self._address(found[1])

    def _address(self, address: str) -> None:
        if len(self.probes.addresses) < ADDRESSES_LIMIT:
            self.probes.addresses[address] = None

    def _stamp(self, number: int, sent_ms: float) -> None:
        """A reply is stamped when it comes."""
        if self._stamped and number > self._stamped[0] and sent_ms > self._stamped[1]:
            self._steps_ms.append((sent_ms - self._stamped[1]) / (number - self._stamped[0]))
        self._stamped = number, sent_ms

    def _unwrapped(self, number: int) -> int:
        highest = self._highest
        found = number + self._offset
        if highest is None:
            found = self._begin(number)
        elif found < highest - REORDERED and highest % WRAP >= WRAP - REORDERED and number < REORDERED:
            self._offset += WRAP
            found += WRAP
        elif found < highest - REORDERED:
            found = self._begin(number)
        elif self._offset and found > highest + WRAP // 2:
            found -= WRAP  # sent before the wrap, answered after it
        self._highest = max(self._highest or 0, found)
        return found

    def _begin(self, number: int) -> int:
        """A new series at the row to come."""
        self._highest, self._offset = None, 0
        self.probes.series.append(len(self.probes.numbers))
        return number

    def _framing(self, line: str) -> bool:
        probes = self.probes
        if header := _HEADER.match(line):
            probes.name = probes.name or header[1]
            if header[2]:
                self._address(header[2])
            self._highest = None
            return True
        if found := _SENT.search(line):
            probes.sent = (probes.sent or 0) + int(found[1])
            probes.received = (probes.received or 0) + int(found[2])
            if took := _TOOK.search(line, found.end()):
                # ping counts until the last probe was sent
                self._took_ms += int(took[1])
                self._took_steps += max(0, int(found[1]) - 1)
            self._highest = None
            return True
        if found := _LONGEST.search(line):
            probes.longest_ms = max(probes.longest_ms or 0.0, float(found[1]))
            return True
        if "hping statistic" in line or "ping statistics" in line:
            return True
        if interval.is_command(line):
            probes.interval_ms = interval.of_command(line) or probes.interval_ms
            if probes.protocol is None and "hping" in line:
                probes.protocol = (
                    ICMP if re.search(r"\s(?:--icmp|-1)\b", line) else TCP_SYN if re.search(r"\s(?:-S|--syn)\b", line) else None
                )
            self._highest = None
            return True
        return False
