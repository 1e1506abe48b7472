"""What runs in the pod: an HTTP/1.1 service with kept connections and a TCP service that answers each line.

Run as a program: `python -m tests.lab.services`.
"""

from __future__ import annotations

import asyncio
import os

HTTP_PORT, LINE_PORT = 8080, 8081
NODE_PORTS = {30080: HTTP_PORT, 30081: LINE_PORT}
BODY = b"ok\n"


class HttpServer(asyncio.Protocol):
    """Answers any GET with a short body; keeps the connection unless asked to close it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self._answer(head.lower())

    def _answer(self, head: bytes) -> None:
        close = b"\r\nconnection: close" in head or head.endswith(b"http/1.0")
        connection = b"close" if close else b"keep-alive"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n" % (len(BODY), connection)
        self.transport.write(head + BODY)
        if close:
            self.transport.close()


class LineServer(asyncio.Protocol):
    """Sends every line back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        lines, newline, self.buffer = (self.buffer + data).rpartition(b"\n")
        if newline:
            self.transport.write(lines + newline)


async def serve() -> None:
    # all hosts of the lab share one CPU: that crowd must not look like a fault of the application
    os.nice(-20)
    loop = asyncio.get_running_loop()
    await loop.create_server(HttpServer, "0.0.0.0", HTTP_PORT)
    await loop.create_server(LineServer, "0.0.0.0", LINE_PORT)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
