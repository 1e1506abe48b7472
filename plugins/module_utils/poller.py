# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for connections that have something to say, to the microsecond."""

import select
from typing import Callable, Dict


class Poller:
    """epoll within select(2): the one tells which, the other sleeps to the microsecond."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: Dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def unwatch(self, fd: int) -> None:
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def sleep(self, nanoseconds: int) -> None:
        """Sleep; what becomes ready is handled and ends the sleep."""
        if select.select([self._epoll], [], [], max(0, nanoseconds) / 1e9)[0]:
            for fd, mask in self._epoll.poll(0):
                handler = self._handlers.get(fd)
                if handler:
                    handler(mask)

    def close(self) -> None:
        self._epoll.close()
