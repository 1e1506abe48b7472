"""A hop between two lab hosts that holds each packet for 40 us: a path of 100 us, without a card.

Half a millisecond is the usual figure for a round trip within a datacenter, and what was measured 2021 within a zone of a cloud is often
less (Evan Jones, "Network Latencies in the Data Center"); 100 us is short for a network that is no cable.

It looks for packets in rings of memory (packet_mmap, Documentation/networking/packet_mmap.rst) and never sleeps, so that of what a
capture watches on this machine, system calls first of all, next to nothing is on the way: on a real path nothing would be.

Run in a network namespace of its own, with the namespaces of the two and their addresses, it says "up" once packets pass, and passes
them on until it is killed.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
import time

from pyroute2 import IPRoute

from tests.lab import namespaces, network

LINK = "hop"
HELD_NS = 40_000
ETH_P_ALL = 3
SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, PACKET_IGNORE_OUTGOING, TPACKET_V2 = 263, 5, 10, 23, 1
BLOCK, FRAME, FRAMES = 4096, 2048, 128
# Words of struct tpacket2_hdr
STATUS, CAPTURED, OFFSETS = 0, 2, 3
KERNEL, USER = 0, 1


class Ring:
    """What arrives on a link, in memory that the kernel writes to."""

    def __init__(self, link: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        request = b"".join(number.to_bytes(4, sys.byteorder) for number in (BLOCK, FRAMES * FRAME // BLOCK, FRAME, FRAMES))
        self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        self.socket.bind((link, ETH_P_ALL))
        self._bytes = memoryview(mmap.mmap(self.socket.fileno(), FRAMES * FRAME))
        self._words = self._bytes.cast("I")
        self._at = 0

    def take(self) -> bytes | None:
        """The next packet, None if there is none yet."""
        words, first = self._words, self._at * FRAME // 4
        if not words[first + STATUS] & USER:
            return None
        start = self._at * FRAME + (words[first + OFFSETS] & 0xFFFF if sys.byteorder == "little" else words[first + OFFSETS] >> 16)
        packet = bytes(self._bytes[start : start + words[first + CAPTURED]])
        words[first + STATUS] = KERNEL
        self._at = (self._at + 1) % FRAMES
        return packet


def end_of(netns: str, address: str, name: str) -> Ring:
    """Our end of a link into that namespace, where the other has the address."""
    with IPRoute(groups=0) as here:
        here.link("add", ifname=name, kind="veth", peer={"ifname": LINK, "net_ns_fd": namespaces.path(netns)})
        network.set_up(here, name)
    with namespaces.links(netns) as links:
        index = network.set_up(links, LINK)
        links.addr("add", index=index, address=address, prefixlen=30)
    return Ring(name)


def main(source: str, target: str, near: str, far: str) -> int:
    os.nice(-20)
    ends = end_of(source, near, "near"), end_of(target, far, "far")
    print("up", flush=True)
    now = time.monotonic_ns
    while True:
        for one, other in (ends, ends[::-1]):
            if packet := one.take():
                due = now() + HELD_NS
                while now() < due:
                    pass
                other.socket.send(packet)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
