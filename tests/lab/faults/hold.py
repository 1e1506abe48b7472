"""A forwarder in user space that now and then keeps all packets of one kind for a while, then lets them go in order.

The packets reach it through NFQUEUE; which ones decides the rule. Between two holds it passes each on at once.

Parameters: what (rack | nodeport | overlay), length_ms [low, high], gap_s [low, high].
"""

from __future__ import annotations

import select
import socket
import struct
import time

from . import injector
from .injector import Truth

QUEUE = 7
PRIORITY = 10
NETLINK_NETFILTER, NFNL_SUBSYS_QUEUE = 12, 3
MSG_VERDICT_BATCH, MSG_CONFIG = 3, 2
ATTR_CFG_CMD, ATTR_CFG_PARAMS, ATTR_CFG_MAXLEN, ATTR_CFG_MASK, ATTR_CFG_FLAGS, ATTR_VERDICT = 1, 2, 3, 4, 5, 2
CMD_BIND, COPY_META, FLAG_GSO, NF_ACCEPT = 1, 1, 4, 1
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 1, 4, 2
SO_RCVBUFFORCE = 33
PACKET_ID = struct.Struct(">I")
PACKET_ID_AT = 16 + 4 + 4  # after the netlink and nfnetlink headers: the packet header is the first attribute
PACKETS_MOST = 65536


def apply(raised, fault: dict) -> None:
    netns, table, chain, matches = _where(raised, fault)
    rules = [f"-A {chain} {match} -j NFQUEUE --queue-num {QUEUE} --queue-bypass" for match in matches]
    arguments = {"length_ms": fault["length_ms"], "gap_s": fault["gap_s"], "comm": "forwarder"}
    raised.inject(fault, "hold", arguments, netns=netns, cpus=raised.host_cpus, priority=PRIORITY)
    for family in ("iptables", "ip6tables"):
        raised.rules(netns, family, table, rules)


def _where(raised, fault: dict) -> tuple[str, str, str, list[str]]:
    """Namespace, table, chain and matches that send the fault's packets to the queue."""
    at = fault["at"]
    if fault["what"] == "rack":
        return "fabric", "filter", "FORWARD", [f"-i {at} ! -o {at}", f"! -i {at} -o {at}"]
    if fault["what"] == "nodeport":
        ports = ",".join(map(str, raised.node_ports))
        return at, "mangle", "PREROUTING", [f"-i eth0 -p tcp -m multiport --dports {ports}"]
    if fault["what"] == "overlay":
        return at, "mangle", "PREROUTING", [f"-i {raised.overlay_device}"]
    raise ValueError(f"hold: what: {fault['what']!r} is none of rack, nodeport, overlay")


class Queue:
    """The user space end of one netfilter queue of the network namespace we are in."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 * 2**20)
        self._configure(_attribute(ATTR_CFG_CMD, struct.pack(">BBH", CMD_BIND, 0, 0)))
        self._configure(_attribute(ATTR_CFG_PARAMS, struct.pack(">IB", 0, COPY_META)))
        self._configure(_attribute(ATTR_CFG_MAXLEN, PACKET_ID.pack(PACKETS_MOST)))
        self._configure(_attribute(ATTR_CFG_FLAGS, PACKET_ID.pack(FLAG_GSO)) + _attribute(ATTR_CFG_MASK, PACKET_ID.pack(FLAG_GSO)))
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def _configure(self, attributes: bytes) -> None:
        self._socket.send(self._message(MSG_CONFIG, attributes, NLM_F_ACK))
        answer = self._socket.recv(4096)
        kind, error = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
        if kind == NLMSG_ERROR and error:
            raise OSError(-error, f"netfilter queue {self._number} can't be set up")

    def _message(self, kind: int, attributes: bytes, flags: int = 0) -> bytes:
        body = struct.pack(">BBH", 0, 0, self._number) + attributes
        return struct.pack("=IHHII", 16 + len(body), NFNL_SUBSYS_QUEUE << 8 | kind, NLM_F_REQUEST | flags, 0, 0) + body

    def pass_on(self) -> None:
        """Let everything go that waits, in the order it came."""
        newest = None
        try:
            while True:
                (newest,) = PACKET_ID.unpack_from(self._socket.recv(4096), PACKET_ID_AT)
        except BlockingIOError:
            if newest is not None:
                verdict = _attribute(ATTR_VERDICT, struct.pack(">II", NF_ACCEPT, newest))
                self._socket.send(self._message(MSG_VERDICT_BATCH, verdict))

    def pass_on_until(self, monotonic: float) -> None:
        while (left := monotonic - time.monotonic()) > 0:
            if self._poll.poll(left * 1000):
                self.pass_on()


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def run(arguments: dict, truth: Truth) -> None:
    queue = Queue(QUEUE)
    injector.ready(arguments)
    while True:
        queue.pass_on_until(time.monotonic() + injector.between(arguments["gap_s"]))
        queue.pass_on()
        start = time.time_ns()
        time.sleep(injector.between(arguments["length_ms"]) / 1000)
        queue.pass_on()
        truth.write(start, time.time_ns())


if __name__ == "__main__":
    injector.main(run)
