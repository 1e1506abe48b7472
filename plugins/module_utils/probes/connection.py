# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flows over connections of the kernel's own: TCP connect, and request/response on a kept connection.

Requests on a kept connection are one at a time: few services pipeline. A request that is due while one is under way is
not sent; the one under way covers its time in the stall events ([send, reply] holds the whole stall), and the histogram
is filled in (Flow._fill_in).
"""

import errno
import select
import socket
import struct
from typing import Any, Callable, Dict, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.pacing import monotonic_ns, wall_ns
from ansible_collections.fleet.stall.plugins.module_utils.probes.flow import Flow, Shared
from ansible_collections.fleet.stall.plugins.module_utils.probes.responses import BadResponse, LineResponse

FIRST_BACKOFF_NS = 100000000
LONGEST_BACKOFF_NS = 2000000000
READ_SIZE = 65536
# So that a service that never stops sending does not hold up the other flows; what is left is read at the next wake-up.
READS_AT_ONCE = 64
CLOSED_BY_PEER = "connection closed by the service"


class Channel:
    """One non-blocking connection; `ready` is called when it is connected, readable or broken."""

    def __init__(self, flow: Flow, target: Any, source_port: Optional[int], ready: Callable[[int], None]) -> None:
        self._shared = flow.shared
        self.sock = socket.socket(sockets.FAMILIES[flow.family], socket.SOCK_STREAM)
        self.watched = False
        try:
            self.sock.setblocking(False)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source_port:
                self._bind(flow, source_port)
            refused = sockets.stamp_received(self.sock)
            self._shared.capabilities["stream_rx_timestamps"] = sockets.capability(
                not refused, None if refused else "SO_TIMESTAMPNS", refused
            )
            code = self.sock.connect_ex(target)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
            flow.local_address, flow.local_port = self.sock.getsockname()[:2]
        except OSError:
            self.sock.close()
            raise
        self._shared.watch(self.sock.fileno(), select.EPOLLOUT, ready)
        self.watched = True

    def _bind(self, flow: Flow, source_port: int) -> None:
        try:
            sockets.bind(self.sock, ("0.0.0.0",) if flow.family == 4 else ("::",), source_port)
        except OSError as error:
            flow.error(f"source port {source_port}: {sockets.reason_of(error)}, another one was used")

    def failure(self) -> int:
        """The errno that connecting ended with; 0 when connected."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def watch_input(self, ready: Callable[[int], None]) -> None:
        self.unwatch()
        self._shared.watch(self.sock.fileno(), select.EPOLLIN, ready)
        self.watched = True

    def unwatch(self) -> None:
        if self.watched:
            self._shared.unwatch(self.sock.fileno())
            self.watched = False

    def read(self) -> Optional[Tuple[bytes, int]]:
        """(bytes, kernel's time of receiving or 0); empty bytes at the end of the stream, None when there is nothing yet."""
        try:
            data, ancillary = self.sock.recvmsg(READ_SIZE, sockets.ANCILLARY_SIZE)[:2]
        except BlockingIOError:
            return None
        return data, sockets.stamp_of(ancillary)

    def close(self, reset: bool = False) -> None:
        self.unwatch()
        if reset:  # leaves no TIME_WAIT, so that the source port can be used again
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Connection(Flow):
    """What flows over connections share."""

    lost_run = 1

    def open(self) -> None:
        self.target = sockets.destination(self.family, self.spec["address"], int(self.spec["port"]))

    def harvest(self, now_ns: int) -> None:
        self.settle(now_ns)


class TcpConnect(Connection):
    """Connect and hang up, where raw sockets are not allowed. RST counts as a reply. The times are ours, not the kernel's."""

    closed_loop = True

    def open(self) -> None:
        super().open()
        self._channel: Optional[Channel] = None

    def fire(self) -> None:
        if self._channel is not None:
            if not self.idle():
                return
            self._hang_up()
        self._number = self.begin(wall_ns())
        try:
            self._channel = Channel(self, self.target, self.spec.get("source_port"), self._done)
        except OSError as error:
            self._ended(error.errno or 0)

    def _done(self, _mask: int) -> None:
        if self._channel is not None:
            self._ended(self._channel.failure())
            self._hang_up()

    def _ended(self, code: int) -> None:
        if code in (0, errno.ECONNREFUSED):
            first = self.answer(self._number, wall_ns())
            self.refused += first and code == errno.ECONNREFUSED
        else:
            self.fail(self._number, "connect: " + sockets.reason_of(OSError(code, "")))

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close(reset=True)
            self._channel = None

    def close(self) -> None:
        self._hang_up()


class Kept(Connection):
    """Request and response, one at a time, on one connection; connects again with a growing pause."""

    closed_loop = True

    def __init__(self, spec: Dict[str, Any], shared: Shared, request: bytes, response: Callable[[bytes], Any]) -> None:
        super().__init__(spec, shared)
        self._request = request
        self._new_response = response
        self._channel: Optional[Channel] = None
        self._connected = False
        self._waiting: Optional[int] = None
        self._response: Any = None
        self._backoff = FIRST_BACKOFF_NS
        self._retry_at = self._give_up_at = 0

    def open(self) -> None:
        super().open()
        self._connect()

    def fire(self) -> None:
        self._read()
        now = monotonic_ns()
        if self._channel is None:
            if now >= self._retry_at:
                self._connect()
            self.unsent += 1
        elif not self._connected:
            if now >= self._give_up_at:
                self._drop("connect: " + sockets.reason_of(OSError(errno.ETIMEDOUT, "")))
            self.unsent += 1
        elif self._waiting is None:
            self._send()

    def harvest(self, now_ns: int) -> None:
        self._read()
        self.settle(now_ns)
        if self._waiting is not None and self._waiting < self.head:
            self._waiting = None
            self._drop("no response within the timeout, connecting again")

    def _connect(self) -> None:
        self._retry_at = monotonic_ns() + self._backoff
        self._backoff = min(2 * self._backoff, LONGEST_BACKOFF_NS)
        self._give_up_at = monotonic_ns() + self.shared.timeout_ns
        try:
            self._channel = Channel(self, self.target, self.spec.get("source_port"), self._ready)
        except OSError as error:
            self.error("connect: " + sockets.reason_of(error))

    def _ready(self, _mask: int) -> None:
        if self._channel is None or self._connected:
            self._read()
            return
        code = self._channel.failure()
        if code:
            self._drop("connect: " + sockets.reason_of(OSError(code, "")))
        else:
            self._connected = True
            self._channel.watch_input(self._ready)

    def _send(self) -> None:
        assert self._channel is not None
        self._response = self._new_response(self._request)
        self._waiting = self.begin(wall_ns())
        try:
            if self._channel.sock.send(self._request) < len(self._request):
                raise OSError(errno.ENOBUFS, "")
        except OSError as error:
            self._drop("send: " + sockets.reason_of(error))

    def _read(self) -> None:
        for _read in range(READS_AT_ONCE):
            if self._channel is None or not self._connected:
                return
            try:
                got = self._channel.read()
                if got is None:
                    return
                self._take(*got)
            except OSError as error:
                self._drop("receive: " + sockets.reason_of(error))
            except BadResponse as error:
                self._drop(str(error))

    def _take(self, data: bytes, stamp: int) -> None:
        if self._waiting is None:
            if not data:
                self._drop(CLOSED_BY_PEER)
            return  # the rest of an earlier response
        complete = self._response.feed(data) if data else self._response.end_of_stream()
        if complete:
            self._complete(stamp)
        elif not data:
            self._drop(CLOSED_BY_PEER)

    def _complete(self, stamp: int) -> None:
        assert self._channel is not None and self._waiting is not None
        self.answer(self._waiting, stamp or wall_ns())
        self._waiting = None
        self._backoff = FIRST_BACKOFF_NS
        if self._response.failure:
            self.error(self._response.failure)
        if not self._response.keep_alive:
            self._drop(CLOSED_BY_PEER)
        elif stamp:
            self._channel.unwatch()  # the kernel has the time: no need to wake up for it

    def _drop(self, text: str) -> None:
        if self._waiting is None:
            self.error(text)
        else:
            self.fail(self._waiting, text)
        self.close()

    def close(self) -> None:
        self._waiting = None
        self._connected = False
        if self._channel is not None:
            self._channel.close(reset=True)
            self._channel = None


def tcp_kept(spec: Dict[str, Any], shared: Shared) -> Flow:
    request = (spec.get("request") or "").encode("utf-8")
    if not request:
        raise ValueError("a tcp_kept flow needs a request to send")
    return Kept(spec, shared, request, LineResponse)
