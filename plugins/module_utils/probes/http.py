# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP flows: on a kept connection, and on a new connection for each request, at a constant rate whatever comes back."""

from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils import sockets
from ansible_collections.fleet.stall.plugins.module_utils.pacing import wall_ns
from ansible_collections.fleet.stall.plugins.module_utils.probes.connection import CLOSED_BY_PEER, Channel, Connection, Kept
from ansible_collections.fleet.stall.plugins.module_utils.probes.flow import Flow, Shared
from ansible_collections.fleet.stall.plugins.module_utils.probes.responses import BadResponse, HttpResponse


def http_request(spec: Dict[str, Any], keep_alive: bool) -> bytes:
    """GET of the flow's path. ValueError for a path that would be more than a path."""
    path = spec.get("path") or "/"
    if not path.startswith("/") or any(ord(char) <= 32 or ord(char) >= 127 for char in path):
        raise ValueError(f"the path {path!r} can't stand in an HTTP request")
    host = "[{}]".format(spec["address"]) if int(spec.get("family") or 4) == 6 else spec["address"]
    lines = [f"GET {path} HTTP/1.1", "Host: {}:{}".format(host, spec["port"]), "User-Agent: fleet.stall", "Accept: */*"]
    if not keep_alive:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def http_kept(spec: Dict[str, Any], shared: Shared) -> Flow:
    return Kept(spec, shared, http_request(spec, keep_alive=True), HttpResponse)


class Exchange:
    """One request on a connection of its own."""

    def __init__(self, flow: "HttpNew") -> None:
        self._flow = flow
        self._response = HttpResponse()
        self._connected = False
        self._last_stamp = 0
        self.number = flow.begin(wall_ns())
        self.channel = Channel(flow, flow.target, None, self._ready)

    def _ready(self, _mask: int) -> None:
        try:
            if not self._connected:
                self._request()
            else:
                self._read()
        except OSError as error:
            self._end("{}: {}".format("receive" if self._connected else "connect", sockets.reason_of(error)))
        except BadResponse as error:
            self._end(str(error))

    def _request(self) -> None:
        code = self.channel.failure()
        if code:
            raise OSError(code, "")
        self.channel.sock.send(self._flow.request)
        self._connected = True
        self.channel.watch_input(self._ready)

    def _read(self) -> None:
        got = self.channel.read()
        if got is None:
            return
        data, stamp = got
        self._last_stamp = stamp or (wall_ns() if data else self._last_stamp)
        if self._response.feed(data) if data else self._response.end_of_stream():
            self._flow.answer(self.number, self._last_stamp or wall_ns())
            self._end(self._response.failure)
        elif not data:
            self._end(CLOSED_BY_PEER)

    def _end(self, failure: Optional[str]) -> None:
        self.channel.close()
        self._flow.ended(self, failure)


class HttpNew(Connection):
    """A new connection for each request, at a constant rate. One that fails alone is loss, not a stall."""

    lost_run = 2

    def __init__(self, spec: Dict[str, Any], shared: Shared) -> None:
        super().__init__(spec, shared)
        self.request = http_request(spec, keep_alive=False)
        self._exchanges: List[Exchange] = []

    def fire(self) -> None:
        try:
            self._exchanges.append(Exchange(self))
        except OSError as error:
            self.fail(self.next - 1, "connect: " + sockets.reason_of(error))

    def ended(self, exchange: Exchange, failure: Optional[str]) -> None:
        self._exchanges.remove(exchange)
        if failure and self._pending(exchange.number):
            self.fail(exchange.number, failure)
        elif failure:
            self.error(failure)

    def _pending(self, number: int) -> bool:
        return number >= self.head and self.replies[number & self.mask] == 0

    def harvest(self, now_ns: int) -> None:
        self.settle(now_ns)
        for exchange in self._exchanges[:]:
            if exchange.number < self.head or now_ns - self.sends[exchange.number & self.mask] > self.shared.timeout_ns:
                exchange.channel.close(reset=True)
                self._exchanges.remove(exchange)

    def close(self) -> None:
        for exchange in self._exchanges:
            exchange.channel.close(reset=True)
        self._exchanges = []
