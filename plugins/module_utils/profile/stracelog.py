# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""System calls out of the text of strace, of any version and options.

Source: strace(1). Of a call that was cut in two ("unfinished ...", "resumed") both parts make one Call; where its beginning is not in
the log (filtered, or before the attach), what there is.
"""

import re
from typing import Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts

PENDING_LIMIT = 65536
TAIL = 64
EPOCH = 1e8  # seconds; what is less is the distance to the line before (-r)

# "[pid 12]" or, in a file of -o, "12"; then the time, in one of the forms of -t; then the instruction pointer of -i
PREFIX = re.compile(
    r"(?:\[pid\s{1,10}(?P<pid>\d{1,10})(?:<(?P<comm>[^>]{0,64})>)?\]\s{0,10}|(?P<tid>\d{1,10})(?:<(?P<name>[^>]{0,64})>)?\s{1,10})?"
    r"(?:(?P<hours>\d\d):(?P<minutes>\d\d):(?P<clock>\d\d(?:\.\d{1,9})?)\s{1,10}|(?P<stamp>\s{0,10}\d{1,12}\.\d{1,9})\s{1,10})?"
    r"(?:\(\+\s{0,10}\d{1,12}\.\d{1,9}\)\s{1,10})?(?:\[[0-9a-f?]{1,16}\]\s{1,4})?",
    re.ASCII,
)
BEGIN = re.compile(r"([a-zA-Z_]\w{0,63})\(")
RESUMED = re.compile(r"<\.\.\. ([a-zA-Z_]\w{0,63}) resumed>\s?")
UNFINISHED = re.compile(r"\s*<(?:unfinished \.\.\.|detached \.\.\.)>\s*$")
RESULT = re.compile(r"\)\s*= ")
SECONDS = re.compile(r"\s*<(\d{1,9}(?:\.\d{1,9})?)>\s*$")
FD = re.compile(r"(\d{1,10})(?:<(.{0,4096}?)>)?(?:,|$|\))")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"?')
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL)
LETTERS = {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f", "a": "\a", "b": "\b", "e": "\x1b"}
NO_CALL = ("---", "+++", "strace: ", ">")


class Call(NamedTuple):
    """One finished system call.

    `at_s`: its start by the log's clock: epoch (-ttt), seconds of the day (-t, -tt), seconds since the log's first line (-r).
    `result` as printed: "658", "-1 ENOENT (No such file or directory)", "?", "0 (Timeout)". `seconds` from -T. `fd`: the first
    argument, if it is a plain number or one with its path. `buffer`: the first quoted argument, its escapes undone. `path`: of -y, that
    of `fd`; `comm`: of -Y, who made it.
    """

    tid: Optional[int]
    at_s: Optional[float]
    name: str
    args: str
    result: Optional[str]
    seconds: Optional[float]
    fd: Optional[int]
    buffer: Optional[str]
    path: Optional[str] = None
    comm: Optional[str] = None


def parse(lines: Iterable[str], counts: Optional[Counts] = None, tid: Optional[int] = None) -> Iterator[Call]:
    """In the order in which calls end. `tid`: whose log it is, for the files of -ff. Never raises; other lines count as skipped.

    `sample.lines` gives the lines of a file in bounded memory.
    """
    counts = counts or Counts()
    pending: Dict[Optional[int], Tuple[Optional[float], str, str]] = {}
    clock = _Clock()
    for line in lines:
        prefix = PREFIX.match(line)
        assert prefix is not None  # all of it is optional
        number = prefix.group("pid") or prefix.group("tid")
        whose = int(number) if number else tid
        at_s = clock.at(prefix)
        text = line[prefix.end() :]
        comm = prefix.group("comm") or prefix.group("name")
        begin, resumed = BEGIN.match(text), RESUMED.match(text)
        if begin:
            name, rest = begin.group(1), text[begin.end() :]
            broken_off = UNFINISHED.search(rest, max(0, len(rest) - TAIL))
            if not broken_off:
                yield _finished(whose, at_s, name, rest)._replace(comm=comm)
            elif len(pending) < PENDING_LIMIT:
                pending[whose] = at_s, name, rest[: broken_off.start()]
            else:
                counts.skipped += 1
        elif resumed:
            name, rest = resumed.group(1), text[resumed.end() :]
            begun = pending.pop(whose, None)
            if begun is not None and begun[1] == name:
                yield _finished(whose, begun[0], name, _joined(begun[2], rest))._replace(comm=comm)
            else:
                yield _without_begin(_finished(whose, None, name, rest, whole=False)._replace(comm=comm), at_s)
        elif text.startswith("+++"):
            pending.pop(whose, None)
        elif not text.startswith(NO_CALL):
            counts.skipped += 1


def _without_begin(call: Call, ended_s: Optional[float]) -> Call:
    return call if ended_s is None or call.seconds is None else call._replace(at_s=ended_s - call.seconds)


class _Clock:
    """The times of a log. With -r each line says how long after the one before it comes."""

    def __init__(self) -> None:
        self._passed = 0.0

    def at(self, prefix: "re.Match[str]") -> Optional[float]:
        if prefix.group("clock"):
            return int(prefix.group("hours")) * 3600 + int(prefix.group("minutes")) * 60 + float(prefix.group("clock"))
        if not prefix.group("stamp"):
            return None
        stamp = float(prefix.group("stamp"))
        if stamp >= EPOCH:
            return stamp
        self._passed += stamp
        return self._passed


def _finished(tid: Optional[int], at_s: Optional[float], name: str, text: str, whole: bool = True) -> Call:
    """`text`: what follows the opening parenthesis, or of it what there is."""
    seconds = SECONDS.search(text, max(0, len(text) - TAIL))
    if seconds:
        text = text[: seconds.start()]
    args, result = _split(text)
    fd = FD.match(args) if whole else None
    return Call(
        tid,
        at_s,
        name,
        args,
        result,
        float(seconds.group(1)) if seconds else None,
        int(fd.group(1)) if fd else None,
        _buffer(args),
        fd.group(2) if fd else None,
    )


def _joined(begin: str, rest: str) -> str:
    begin, rest = begin.rstrip(), rest.lstrip()
    return begin + rest if rest.startswith(")") else begin + " " + rest


def _split(text: str) -> Tuple[str, Optional[str]]:
    """Arguments and result: at the last ") = ", since a buffer may hold that text, too."""
    last = None
    for found in RESULT.finditer(text):
        last = found
    if last is None:
        return text.rstrip(), None
    return text[: last.start()].rstrip(), text[last.end() :].strip() or None


def _buffer(args: str) -> Optional[str]:
    quoted = QUOTED.search(args)
    if quoted is None:
        return None
    parts, end = bytearray(), 0
    body = quoted.group(1)
    for escape in ESCAPE.finditer(body):
        parts += body[end : escape.start()].encode("utf-8", "replace")
        end = escape.end()
        hexadecimal, octal, letter = escape.groups()
        if letter is None:
            parts.append(int(hexadecimal, 16) if hexadecimal else int(octal, 8) & 255)
        else:
            parts += LETTERS.get(letter, letter).encode("utf-8", "replace")
    parts += body[end:].encode("utf-8", "replace")
    return parts.decode("utf-8", "replace")
