# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of an HAProxy, read and set through its runtime socket (HAProxy's management.txt, 9.3)."""

import socket
from typing import Any, Dict, List, NamedTuple, Sequence

ANSWER_S = 10
ANSWER_BYTES = 64 << 20
# srv_admin_state: forced, inherited, configured, resolved maintenance; drain that was set, or inherited
MAINTENANCE, DRAIN = 0x01 | 0x02 | 0x04 | 0x20, 0x08 | 0x10
# srv_op_state
RUNNING = (1, 2)


class HaproxyError(Exception):
    """HAProxy could not be asked, or refused; the message names the remedy."""


class Server(NamedTuple):
    """`name` is backend/server. `out`: no new sessions go there, by somebody's wish. `usable`: they do."""

    backend: str
    name: str
    address: str
    out: bool
    usable: bool
    sessions: int


class Socket:
    """:param address: path of the stats socket, or host:port of one that listens on TCP"""

    def __init__(self, address: str) -> None:
        self.address = address

    def servers(self) -> List[Server]:
        """Raises HaproxyError."""
        return read(self.ask("show servers state"), self.ask("show stat -1 4 -1"))

    def set(self, server: str, state: str) -> None:
        """:param state: "drain" or "ready". Raises HaproxyError."""
        said = self.ask(f"set server {server} state {state}").strip()
        if said:
            remedy = "give the socket 'level admin' in the configuration of HAProxy" if "denied" in said else "look at it by hand"
            raise HaproxyError(f"{server} can't be set to {state}: {said.splitlines()[0]} Remedy: {remedy}.")

    def ask(self, command: str) -> str:
        """The answer to a command, which is one line. Raises HaproxyError."""
        try:
            with self._connect() as connection:
                connection.sendall(command.encode() + b"\n")
                answer = b""
                while True:
                    part = connection.recv(1 << 16)
                    if not part:
                        return answer.decode("utf-8", "replace")
                    answer += part
                    if len(answer) > ANSWER_BYTES:
                        raise HaproxyError(f"{self.address} gives no end of an answer: look whether it is HAProxy's")
        except (OSError, ValueError) as error:
            raise HaproxyError(
                f"the runtime socket {self.address} can't be asked ({error}). Remedy: set stall_haproxy_socket to the 'stats socket' of "
                "the running HAProxy, and stall_become to be allowed to use it."
            ) from None

    def _connect(self) -> socket.socket:
        if self.address.startswith("/"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(ANSWER_S)
            connection.connect(self.address)
            return connection
        host, _colon, port = self.address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), ANSWER_S)


def read(state: str, stat: str) -> List[Server]:
    """Servers from "show servers state" and "show stat". Raises HaproxyError."""
    sessions = {"{}/{}".format(row.get("pxname"), row.get("svname")): _number(row.get("scur")) for row in _table(stat, ",")}
    found = []
    for row in _table(state, " "):
        name = "{}/{}".format(row.get("be_name"), row.get("srv_name"))
        admin, operating = _number(row.get("srv_admin_state")), _number(row.get("srv_op_state"))
        is_out = bool(admin & (MAINTENANCE | DRAIN))
        usable = not is_out and operating in RUNNING and _number(row.get("srv_uweight")) > 0
        if name not in sessions:
            raise HaproxyError(f"{name} has no sessions in 'show stat': HAProxy was reloaded meanwhile, run it again")
        found.append(Server(row["be_name"], name, row.get("srv_addr", ""), is_out, usable, sessions[name]))
    if not found:
        raise HaproxyError("HAProxy has no servers")
    return found


def of_host(servers: Sequence[Server], named: Sequence[str], names: Sequence[str], addresses: Sequence[str]) -> List[Server]:
    """The servers that are a host: those that are named, else those that are called so or have its address. Raises HaproxyError."""
    if named:
        missing = sorted(set(named) - {server.name for server in servers})
        if missing:
            raise HaproxyError(f"HAProxy has no server {', '.join(missing)}: set stall_haproxy_servers to backend/server")
        return [server for server in servers if server.name in named]
    found = [server for server in servers if server.name.partition("/")[2] in names or server.address in addresses]
    if not found:
        raise HaproxyError(
            f"HAProxy has no server that is called {' or '.join(names)} or has an address of the host ({', '.join(addresses)}). "
            "Remedy: set stall_haproxy_servers."
        )
    return found


def short(servers: Sequence[Server], going: Sequence[Server], least: int) -> Dict[str, int]:
    """Backend -> servers that would be left in use, where that is fewer than `least`, when these go."""
    names = {server.name for server in going}
    left = {server.backend: 0 for server in going if not server.out}
    for server in servers:
        if server.backend in left and server.usable and server.name not in names:
            left[server.backend] += 1
    return {backend: count for backend, count in left.items() if count < least}


def _table(text: str, separator: str) -> List[Dict[str, Any]]:
    """Rows below the line that begins with "# "."""
    lines = text.splitlines()
    header = next((index for index, line in enumerate(lines) if line.startswith("# ")), None)
    if header is None:
        raise HaproxyError(f"HAProxy answers {text[:80]!r}: it is older than 1.8, or no HAProxy")
    columns = lines[header][2:].split(separator)
    return [dict(zip(columns, line.split(separator))) for line in lines[header + 1 :] if line.strip()]


def _number(text: Any) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0
