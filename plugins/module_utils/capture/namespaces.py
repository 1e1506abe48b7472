# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network namespaces of pods and containers: what is asked in one is answered for it alone (network_namespaces(7)).

A child of ours goes into them, one after the other, since a process that has changed its namespace does not find back by itself if it fails
half-way. It is asked for those with certain addresses: to list the connections of a namespace the kernel walks the table of them all.
"""

import contextlib
import os
import pickle
import select
import signal
import socket
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from ansible_collections.fleet.stall.plugins.module_utils import netlink, process

CLONE_NEWNET = 0x40000000
MOST_NAMESPACES = 500
SEARCH_S, VISIT_S = 0.5, 1.0


class Visited(NamedTuple):
    """`found`: what was found in all of them together; `reason`: why some were not looked at, None if all were."""

    found: List[Any]
    reason: Optional[str]


NONE = Visited([], None)


def visit(addresses: Set[bytes], look: Callable[[], List[Any]]) -> Visited:
    """What `look` finds in each network namespace, but our own, that has one of these addresses (packed). Waits two seconds at most."""
    try:
        import ctypes

        enter = ctypes.CDLL(None, use_errno=True).setns
    except (ImportError, AttributeError):
        return Visited([], "this Python has no ctypes, which it takes to go into the network namespaces of pods")
    pids, complete = others()
    if not pids:
        return NONE
    answer = _of_child(lambda: _within(pids, addresses, look, enter))
    if isinstance(answer, Visited):
        return answer if complete or answer.reason else answer._replace(reason="there was no time to find all network namespaces")
    return Visited([], "the network namespaces of pods were not looked at in time")


def others() -> Any:
    """(a process of each network namespace but our own, whether all of /proc was looked through)."""
    found: Dict[str, int] = {}
    until = time.monotonic() + SEARCH_S
    own = os.readlink("/proc/self/ns/net")
    for entry in os.listdir("/proc"):
        if time.monotonic() > until or len(found) > MOST_NAMESPACES:
            return _without(found, own), False
        if entry.isdecimal():
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                found.setdefault(os.readlink(f"/proc/{entry}/ns/net"), int(entry))
    return _without(found, own), True


def _without(found: Dict[str, int], own: str) -> List[int]:
    return [pid for name, pid in found.items() if name != own]


def _within(pids: List[int], addresses: Set[bytes], look: Callable[[], List[Any]], enter: Any) -> Visited:
    """In the child."""
    found: List[Any] = []
    refused = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/ns/net") as namespace:
                if enter(namespace.fileno(), CLONE_NEWNET):
                    refused += 1
                    continue
        except FileNotFoundError:
            continue  # ended, and its namespace with it
        except OSError:
            refused += 1
            continue
        with contextlib.suppress(OSError):
            if addresses & _addresses():
                found += look()
    return Visited(found, f"{refused} network namespaces can't be entered: capture as root (stall_become)" if refused else None)


def _addresses() -> Set[bytes]:
    """Those of this namespace, packed."""
    return {
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        for addresses in netlink.addresses().values()
        for address in addresses
    }


def _of_child(work: Callable[[], Any]) -> Any:
    """What a child makes of it, None if that takes too long or fails."""
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            process.die_with(parent)
            with os.fdopen(writing, "wb") as out:
                out.write(pickle.dumps(work()))
        finally:
            os._exit(0)
    os.close(writing)
    try:
        return _unpacked(_read_all(reading, time.monotonic() + VISIT_S))
    finally:
        os.close(reading)
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _read_all(reading: int, until: float) -> bytes:
    held = b""
    while select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            return held
        held += part
    return b""


def _unpacked(held: bytes) -> Any:
    return pickle.loads(held) if held else None
