# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of foreign logs: which file is what, told by its content, and each read by its own reader, in bounded memory."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.profile import sample
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import about as about_file
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import hping, packetlog, profiles, straces, timing
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.opened import Capped, head, opened
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

FILES_LIMIT = 1000
BYTES_LIMIT = 1 << 29
HEAD_BYTES = 1 << 16
HEAD_LINES = 500
# perf script --header says much of a large host before its first sample
HEADER_BYTES = 1 << 22
COMMENT_LINES = 100
# Prompts and what else stands in a log of a terminal is left out without a word; where more of it is, rows may be lost
NOT_UNDERSTOOD = 0.05
PROBES, PACKETS, SCRIPT, STACKS, STRACE, FACTS = "probes", "packets", "perf_script", "stacks", "strace", "facts"
# What a line may be taken for by chance has to be a good part of the file
_LEAST_SHARE = {PACKETS: 0.3, STACKS: 0.3}
_RECOGNISED: dict[str, Callable[[Iterable[str]], int]] = {
    PROBES: lambda lines: sum(map(hping.recognises, lines)),
    STRACE: lambda lines: sum(map(straces.recognises, lines)),
    SCRIPT: lambda lines: sum(map(profiles.recognises_script, lines)),
    STACKS: lambda lines: sum(map(profiles.recognises_folded, lines)),
    PACKETS: packetlog.count,
    FACTS: lambda lines: sum(map(timing.recognises, lines)),
}
KINDS = tuple(_RECOGNISED)
_PACKED = {b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh9": "bzip2", b"PK\x03\x04": "zip"}
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,32}[mK]")
_OF_THREAD = re.compile(r"\.(\d{1,10})\Z", re.ASCII)


class LogsError(Exception):
    """The directory can't be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Log:
    """``content``: what its reader gives: Probes, PacketLog, Profile, Strace or Facts. ``facts``: what its header says of the host."""

    name: str
    kind: str
    content: Any
    said: about_file.File
    facts: timing.Facts


@dataclass(slots=True)
class Logs:
    """``warnings``: what was not used, or not all of it."""

    directory: str
    about: about_file.About
    logs: list[Log] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Log]:
        return [log for log in self.logs if log.kind in kinds]


def read(directory: str | Path, slow_call_ms: float) -> Logs:
    """Every file of the directory; what is no log is named in the warnings. Raises LogsError."""
    base = Path(os.path.expanduser(directory))
    try:
        names = sorted(entry.name for entry in os.scandir(base))
    except OSError as error:
        raise LogsError(
            f"stall_logs is '{printable(directory)}': {error.strerror}. Name the directory that holds the logs (it is {base.absolute()})."
        ) from error
    found = Logs(base.absolute().name, _about(base, names))
    found.warnings += found.about.wrong
    shown = [name for name in names if not name.startswith(".") and name not in about_file.NAMES]
    if len(shown) > FILES_LIMIT:
        found.warnings.append(f"{len(shown)} files are in the directory: the first {FILES_LIMIT} by name were read")
    unknown: list[str] = []
    for name in shown[:FILES_LIMIT]:
        _one(base / name, found, unknown, slow_call_ms)
    if unknown:
        found.warnings.append(f"not used: {and_more(unknown, 8)}")
    gone = [name for name in found.about.files if name not in names]
    if gone:
        found.warnings.append(f"about.yml speaks of files that are not there: {and_more(gone, 5)}")
    if not found.logs:
        raise LogsError(
            f"stall_logs is '{printable(directory)}': nothing in it is understood ({and_more(unknown, 5) or 'it is empty'}). "
            "Understood is the output of hping3, ping, fping, perf script, strace -T, a packet log (pid, tid, comm, number), time, uname."
        )
    return found


def _about(base: Path, names: list[str]) -> about_file.About:
    name = next((name for name in about_file.NAMES if name in names), None)
    if name is None or not _is_file(base / name):
        return about_file.About()
    return about_file.read(base / name, KINDS)


def _one(path: Path, found: Logs, unknown: list[str], slow_call_ms: float) -> None:
    said = found.about.of(path.name)
    try:
        if not _is_file(path):
            unknown.append(f"{printable(path.name, 80)} (no plain file)")
            return
        with opened(path) as stream:
            kind, why = (said.what, "") if said.what else recognise(head(stream, HEAD_BYTES, HEADER_BYTES, COMMENT_LINES))
            if kind is None:
                unknown.append(f"{printable(path.name, 80)} ({why})")
                return
            capped = Capped(stream, BYTES_LIMIT)
            lines = _Lines(capped)
            facts = timing.Facts()
            rows = timing.noting_header(lines, facts) if kind == SCRIPT else lines
            content = _read(kind, path.name.removesuffix(".gz"), rows, found.about, said, slow_call_ms)
            if capped.has_more():
                found.warnings.append(f"{printable(path.name, 80)}: only the first {BYTES_LIMIT >> 20} MB were read")
            if capped.broken:
                found.warnings.append(f"{printable(path.name, 80)}: it is packed and broken, and was read up to there")
    except OSError as error:
        unknown.append(f"{printable(path.name, 80)} ({error.strerror})")
        return
    found.logs.append(Log(path.name, kind, content, said, facts))
    found.warnings += [f"{printable(path.name, 80)}: {what}" for what in _not_used(content, lines.seen)]


def _not_used(content: Any, lines: int) -> Iterator[str]:
    """Of a log that was read, what is not in its content."""
    skipped = min(getattr(content, "skipped", 0), lines)
    if skipped > NOT_UNDERSTOOD * lines:
        first = getattr(content, "first_skipped", "")
        yield f"{skipped} of {lines} lines were not understood" + (f", the first: {printable(first, 80)}" if first else "")
    if omitted := getattr(content, "omitted", 0):
        yield f"{omitted} rows more than are kept were left out"
    if totals := getattr(content, "totals", ""):
        yield f"{totals}, so that what ran before what is not known, and nobody is looked for in it: give the output of perf script"


def recognise(first: bytes) -> tuple[str | None, str]:
    """What a file is by its first bytes; None with the reason."""
    if not first.strip():
        return None, "empty"
    if first.startswith(b"PERFILE2"):
        return None, "a recording of perf record: give the output of perf script"
    if packed := next((by for magic, by in _PACKED.items() if first.startswith(magic)), None):
        return None, f"packed by {packed}: unpack it, or pack it by gzip"
    if b"\0" in first:
        return None, "binary"
    lines = [_clean(line) for line in first.decode("utf-8", "replace").splitlines()[:HEAD_LINES]]
    lines = [line[:4096] for line in lines if line.strip()]
    counts = {kind: rows(lines) for kind, rows in _RECOGNISED.items()}
    fit = {kind: count for kind, count in counts.items() if count and count >= _LEAST_SHARE.get(kind, 0) * len(lines)}
    if not fit:
        return None, "no log that is understood"
    return max(fit, key=lambda kind: fit[kind]), ""


def _read(kind: str, name: str, lines: Iterable[str], about: about_file.About, said: about_file.File, slow_call_ms: float) -> Any:
    if kind == PROBES:
        return hping.read(lines)
    if kind == PACKETS:
        return packetlog.read(lines)
    if kind == SCRIPT:
        return profiles.read_script(lines, about.stack_hz)
    if kind == STACKS:
        return profiles.read_folded(lines, about.stack_hz)
    if kind == STRACE:
        of_thread = _OF_THREAD.search(name)
        return straces.read(lines, slow_call_ms, int(of_thread[1]) if of_thread else said.pid)
    return timing.read(lines, name)


def _is_file(path: Path) -> bool:
    """No pipe that would never end, no link out of the directory."""
    return stat.S_ISREG(os.lstat(path).st_mode)


class _Lines:
    """The lines of a file. ``seen``: how many of them so far, without empty ones."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._stream = io.BufferedReader(raw, HEAD_BYTES)
        self.seen = 0

    def __iter__(self) -> Iterator[str]:
        for line in sample.lines(self._stream):
            self.seen += bool(line.strip())
            yield _clean(line)


def _clean(line: str) -> str:
    """Without the colours of grep, and with plain spaces where a page that it was copied from had others."""
    line = line.replace("\xa0", " ")
    return _COLOUR.sub("", line) if "\x1b" in line else line
