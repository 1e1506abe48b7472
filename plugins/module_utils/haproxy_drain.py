# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the servers of a host out of an HAProxy, and give back only those.

What is taken is noted first, beside the HAProxy that it is taken from. The note lasts until the next boot; HAProxy's own state no longer.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from typing import Any, Callable, Iterator, List, Sequence

from ansible_collections.fleet.stall.plugins.module_utils import haproxy, statedir
from ansible_collections.fleet.stall.plugins.module_utils.haproxy import HaproxyError, Server, Socket

# Apart from the directory of the observers, which is swept
NOTES = ".drain"
LOCK = "lock"


class Drain:
    """:param directory: of the notes; the host is named by what the playbook calls it"""

    def __init__(self, runtime: Socket, directory: str, host: str, find: Callable[[Sequence[Server]], List[Server]], least: int) -> None:
        digest = hashlib.sha256(f"{runtime.address}\n{host}".encode()).hexdigest()[:16]
        self._runtime, self._directory, self._find, self._least = runtime, directory, find, least
        self._path = os.path.join(directory, digest + ".json")
        self._about = {"host": host, "socket": runtime.address}

    def look(self) -> List[Server]:
        """The servers of the host. Raises HaproxyError where its backends can't do without them."""
        servers = self._runtime.servers()
        found = self._find(servers)
        lacking = haproxy.short(servers, found, self._least)
        if lacking:
            backend, left = min(lacking.items())
            raise HaproxyError(
                f"backend {backend} would be left with {left} servers in use, and stall_haproxy_least is {self._least}. "
                "Remedy: bring others up first."
            )
        return found

    def take(self) -> List[str]:
        """Names of the servers that are taken now. Raises HaproxyError, statedir.Refusal, OSError."""
        with self._alone():
            wanted = [server.name for server in self.look() if not server.out]
            if wanted:
                self._note(sorted(set(wanted) | set(self.taken())))
            for name in wanted:
                self._runtime.set(name, "drain")
        return wanted

    def give_back(self) -> List[str]:
        """Names of the servers that are given back: those that were taken. Raises HaproxyError, OSError."""
        taken = self.taken()
        if not taken:
            return []
        known = {server.name: server for server in self._runtime.servers()}
        for name in taken:
            if name in known and known[name].out:
                self._runtime.set(name, "ready")
        os.unlink(self._path)
        return taken

    def wait(
        self, timeout_s: float, retry_s: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = time.sleep
    ) -> None:
        """Wait until the servers are out of use and have no session left. Raises HaproxyError."""
        deadline = clock() + timeout_s
        while True:
            servers = self._find(self._runtime.servers())
            used = [server.name for server in servers if not server.out]
            if used:
                raise HaproxyError(f"{', '.join(used)} is in use: somebody has set it to ready, or HAProxy was restarted")
            busy = [f"{server.name} ({server.sessions})" for server in servers if server.sessions]
            if not busy:
                return
            if clock() >= deadline:
                raise HaproxyError(f"sessions are left after {timeout_s:g} s: {', '.join(busy)}")
            sleep(min(retry_s, max(0.0, deadline - clock())))

    def taken(self) -> List[str]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return list(json.load(file)["servers"])
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise HaproxyError(f"{self._path} can't be read ({error}): look which servers are drained, and remove it") from None

    def _note(self, servers: List[str]) -> None:
        statedir.write_whole(self._path, json.dumps(dict(self._about, servers=servers)).encode())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hosts that are drained at once shall not each count on the other."""
        statedir.prepare(self._directory)
        with open(os.path.join(self._directory, LOCK), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
