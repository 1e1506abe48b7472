"""A hop through user space between two lab hosts: a path of about the length that a network of switches has, without a card.

Run with the two namespaces and the two addresses, it says "up" once packets pass, and passes them on until it is killed.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import sys

from tests.lab import namespaces, network

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LINK = "hop"
LONGEST = 2048


def end_of(netns: str, address: str) -> int:
    """The user space end of a link in that namespace."""
    with namespaces.inside(netns):
        end = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", LINK.encode(), IFF_TUN | IFF_NO_PI))
    with namespaces.links(netns) as links:
        index = network.set_up(links, LINK)
        links.addr("add", index=index, address=address, prefixlen=30)
    return end


def main(source: str, target: str, near: str, far: str) -> int:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    ends = end_of(source, near), end_of(target, far)
    passing = selectors.DefaultSelector()
    for one, other in (ends, ends[::-1]):
        passing.register(one, selectors.EVENT_READ, other)
    print("up", flush=True)
    while True:
        for ready, _ in passing.select():
            os.write(ready.data, os.read(ready.fd, LONGEST))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
