# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a response is complete: HTTP/1.1 (RFC 7230, 3.3.3) and plain request/response protocols. Bodies are counted, not kept."""

import re
from typing import Any

HEAD_LIMIT = 65536
LINE_LIMIT = 8192
# More digits than a length can have are none; Unicode has digits that int() does not take.
STATUS = re.compile(r"[1-9][0-9][0-9](?![0-9])")
LENGTH = re.compile(r"[0-9]{1,18}\Z")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")


class BadResponse(Exception):
    """Not a response of this protocol."""


class LineResponse:
    """Over at the line end if the request was a line, else with the first bytes."""

    keep_alive = True
    failure = None

    def __init__(self, request: bytes) -> None:
        self._is_line = request.endswith(b"\n")

    def feed(self, data: bytes) -> bool:
        return not self._is_line or data.endswith(b"\n")

    def end_of_stream(self) -> bool:
        return False


class HttpResponse:
    """Feed bytes until `feed` is true, or the end of the stream completes it."""

    def __init__(self, _request: bytes = b"") -> None:
        self.keep_alive = True
        self.failure: Any = None
        self._head = b""
        self._body: Any = None

    def feed(self, data: bytes) -> bool:
        if self._body is None:
            self._head += data
            while self._body is None:
                head, end, data = self._head.partition(b"\r\n\r\n")
                if not end:
                    if len(self._head) > HEAD_LIMIT:
                        raise BadResponse(f"the head of the HTTP response is longer than {HEAD_LIMIT} bytes")
                    return False
                self._read_head(head)
                # After a provisional answer (1xx) comes the next head.
                self._head = b"" if self._body else data
        return self._body.feed(data)

    def end_of_stream(self) -> bool:
        return isinstance(self._body, _UntilClose)

    def _read_head(self, head: bytes) -> None:
        first, _end, rest = head.decode("latin-1").partition("\r\n")
        version, _space, status = first.partition(" ")
        if not version.startswith("HTTP/1.") or not STATUS.match(status):
            raise BadResponse("the answer is not HTTP/1")
        if status.startswith("1"):
            return
        fields = {}
        for line in rest.split("\r\n"):
            name, _colon, value = line.partition(":")
            fields[name.strip().lower()] = value.strip().lower()
        self.keep_alive = fields.get("connection") != "close" and version != "HTTP/1.0"
        code = int(status[:3])
        if code >= 400:
            self.failure = f"HTTP status {code}"
        length = fields.get("content-length", "")
        if code in (204, 304):
            self._body = _Counted(0)
        elif fields.get("transfer-encoding", "identity") != "identity":
            self._body = _Chunked()
        elif LENGTH.match(length):
            self._body = _Counted(int(length))
        else:
            self.keep_alive = False
            self._body = _UntilClose()


class _Counted:
    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> bool:
        self._left -= len(data)
        return self._left <= 0


class _UntilClose:
    def feed(self, data: bytes) -> bool:
        return False


class _Chunked:
    """size CRLF data CRLF, ... 0 CRLF trailers CRLF"""

    def __init__(self) -> None:
        self._skip = 0  # rest of a chunk and its CRLF
        self._line = b""
        self._trailer = False

    def feed(self, data: bytes) -> bool:
        while data:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            line, end, data = data[skipped:].partition(b"\n")
            self._line += line
            if len(self._line) > LINE_LIMIT:
                raise BadResponse(f"a line between the chunks of the HTTP response is longer than {LINE_LIMIT} bytes")
            if not end:
                return False
            line, self._line = self._line.strip(), b""
            if self._trailer and not line:
                return True
            if not self._trailer:
                self._start_chunk(line)
        return False

    def _start_chunk(self, line: bytes) -> None:
        digits = line.split(b";")[0].strip()
        if not CHUNK_SIZE.match(digits):
            raise BadResponse("a chunk of the HTTP response has no size")
        size = int(digits, 16)
        if size:
            self._skip = size + 2
        else:
            self._trailer = True
