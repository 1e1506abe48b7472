"""A real HAProxy on the loopback, with servers that answer and clients that stay connected."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.fleet.stall.plugins.module_utils.haproxy import Server, Socket

PROGRAM = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
global
  stats socket {directory}/admin.sock level admin
  stats socket {directory}/user.sock level user
  maxconn 100
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend web
  bind 127.0.0.1:{port}
  default_backend web
backend web
  balance roundrobin
  server node-1 127.0.0.1:{server}
  server node-2 127.0.0.2:{server}
backend api
  server node-1 127.0.0.1:{server}
  server node-2 127.0.0.2:{server}
"""


class Haproxy:
    def __init__(self, directory: Path, port: int) -> None:
        self.socket, self.port = str(directory / "admin.sock"), port
        self.runtime = Socket(self.socket)

    def server(self, name: str) -> Server:
        return next(server for server in self.runtime.servers() if server.name == name)

    @property
    def out(self) -> set[str]:
        return {server.name for server in self.runtime.servers() if server.out}

    @contextlib.contextmanager
    def client(self, of: str) -> Iterator[None]:
        """A connection that HAProxy has given to that server, for as long as the block runs."""
        with contextlib.ExitStack() as stack:
            for _attempt in range(10):
                stack.enter_context(socket.create_connection(("127.0.0.1", self.port), 5))
                until = time.monotonic() + 2
                while time.monotonic() < until:
                    if self.server(of).sessions:
                        yield
                        return
                    time.sleep(0.02)
            raise AssertionError(f"no session went to {of}")


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Haproxy]:
    assert PROGRAM
    with _listening("127.0.0.1") as server, _listening("127.0.0.2", server):
        port = _free()
        configuration = directory / "haproxy.cfg"
        configuration.write_text(_CONFIGURATION.format(directory=directory, port=port, server=server))
        process = subprocess.Popen([PROGRAM, "-db", "-f", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while not (directory / "admin.sock").exists():
                assert process.poll() is None and time.monotonic() < until, "HAProxy did not start"
                time.sleep(0.02)
            yield Haproxy(directory, port)
        finally:
            process.terminate()
            process.wait(10)


class _Server(socketserver.ThreadingTCPServer):
    """Accepts, and closes when the other end does."""

    daemon_threads = True
    allow_reuse_address = True


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(1 << 10):
            pass


@contextlib.contextmanager
def _listening(address: str, port: int = 0) -> Iterator[int]:
    with _Server((address, port), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
