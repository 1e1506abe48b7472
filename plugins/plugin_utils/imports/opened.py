# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of a file from anywhere, plain or packed by gzip, in bounded memory and time: what unpacks to much more is cut."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_GZIP = b"\x1f\x8b"


class Capped(io.RawIOBase):
    """``limit`` bytes of a stream from its beginning. ``broken``: whether it is packed, and ends before its end or is damaged."""

    def __init__(self, stream: io.BufferedReader, limit: int) -> None:
        stream.seek(0)
        packed = stream.read(len(_GZIP)) == _GZIP
        self._stream: gzip.GzipFile | io.BufferedReader = gzip.GzipFile(fileobj=stream) if packed else stream
        stream.seek(0)
        self._left = limit
        self.broken = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self._read(min(len(buffer), self._left))
        self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def has_more(self) -> bool:
        """Whether bytes are left beyond the limit."""
        return self._left == 0 and bool(self._read(1))

    def _read(self, size: int) -> bytes:
        if not size or self.broken:
            return b""
        try:
            return self._stream.read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.broken = True
            return b""


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file as it is; no link is followed and no pipe waited for. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        yield stream


def head(stream: io.BufferedReader, size: int, within: int, comments: int) -> bytes:
    """The first ``size`` bytes without all but so many lines of comments, for which it looks at ``within`` bytes."""
    kept, found, seen = [], 0, 0
    lines = io.BufferedReader(Capped(stream, within))
    while found < size and (line := lines.readline(size)):
        seen += line.startswith(b"#")
        if seen <= comments or not line.startswith(b"#"):
            kept.append(line)
            found += len(line)
    return b"".join(kept)
