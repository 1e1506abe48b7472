# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flows of single packets: ICMP echo, and TCP SYN answered by SYN-ACK or RST.

Each flow has a connected socket of its own with a filter in the kernel. Kernel timestamps make it unimportant when the
prober gets round to reading, so nothing wakes up for a reply: it is read at a later wake-up.
"""

import os
import socket
from array import array
from typing import Any, Dict, Optional

from ansible_collections.fleet.stall.plugins.module_utils import sockets, wire
from ansible_collections.fleet.stall.plugins.module_utils.pacing import wall_ns
from ansible_collections.fleet.stall.plugins.module_utils.probes.flow import Flow, Shared

REPLY_SIZE = 160  # the longest IPv4 header and what we look at
LOCAL_QUEUEING_NS = 500000
# A target is probed from a few sources; whoever sends more than that sends what is not in the plan.
SAMPLED_FLOWS = 1024
READS_AT_ONCE = 4096


class Datagram(Flow):
    def __init__(self, spec: Dict[str, Any], shared: Shared) -> None:
        super().__init__(spec, shared)
        self._afters = array("q", [0]) * self.size
        self._stamped = False
        self._first_key = self._tx_seen = 0
        self.sock: Any = None
        self.offset = 0  # of the ICMP or TCP header; -1: after the IPv4 header

    def _ready(self, sock: socket.socket) -> None:
        """Timestamps and room."""
        self.sock = sock
        self.local_address = sock.getsockname()[0]
        sockets.widen(sock, self.size * 2048)
        row = self.shared.capabilities
        self._stamped = self._number_stamps("tx_timestamps")
        refused = None if self._stamped else sockets.stamp_received(sock)
        row["rx_timestamps"] = sockets.capability(not refused, None if refused else "SO_TIMESTAMPNS", refused)

    def _number_stamps(self, capability: str) -> bool:
        refused = sockets.stamp_both(self.sock)
        self.shared.capabilities[capability] = sockets.capability(not refused, None if refused else "SO_TIMESTAMPING, software", refused)
        self._first_key = self._tx_seen = self.next
        self.no_delay = None if refused else 0
        return not refused

    def packet(self, number: int, now_ns: int) -> bytearray:
        raise NotImplementedError

    def number_of(self, data: bytes, offset: int) -> Optional[int]:
        """The number of the probe that the packet answers; None for others."""
        raise NotImplementedError

    def fire(self) -> None:
        before = wall_ns()
        try:
            self.sock.send(self.packet(self.next, before))
        except OSError as error:
            self.error("send: " + sockets.reason_of(error))
            if self._stamped:  # whether the kernel has numbered that packet differs between kernels
                self._take_stamps()
                self._number_stamps("tx_timestamps")
            return
        self._afters[self.next & self.mask] = wall_ns()
        self.begin(before)

    def harvest(self, now_ns: int) -> None:
        if self.head == self.next:
            return
        if self._stamped:
            self._take_stamps()
        receive, offset = self.sock.recvmsg, self.offset
        waiting, reads = self.next - self.head, 4 * self.size
        while waiting and reads:
            reads -= 1
            try:
                data, ancillary = receive(REPLY_SIZE, sockets.ANCILLARY_SIZE)[:2]
            except BlockingIOError:
                break
            except OSError as error:
                self.error("receive: " + sockets.reason_of(error))
                break
            number = self.number_of(data, (data[0] & 15) * 4 if offset < 0 else offset)
            if number is not None and self.answer(number, sockets.stamp_of(ancillary) or wall_ns()):
                waiting -= 1
        self.settle(now_ns)

    def _take_stamps(self) -> None:
        """Put the kernel's time of sending where ours was.

        A probe that left after send() had returned waited in a local queue: that wait is shown, and counts as delay.
        """
        sends, mask = self.sends, self.mask
        while self._tx_seen < self.next:
            stamp = sockets.next_sent(self.sock)
            if stamp is None:
                return
            number, left_ns = stamp[0] + self._first_key, stamp[1]
            if stamp[0] < 0 or number >= self.next:
                continue  # another message, or numbered before _number_stamps
            self._tx_seen = number + 1
            if number < self.head or not left_ns:
                continue
            after = self._afters[number & mask]
            sends[number & mask] = min(left_ns, after)
            if left_ns - after > LOCAL_QUEUEING_NS:
                self.tx_delays[number] = left_ns - after

    def report(self) -> Dict[str, Any]:
        if self._stamped and self.sent and not self._tx_seen:
            self.shared.capabilities["tx_timestamps"] = sockets.capability(False, None, "the driver of the way out gives none")
        return super().report()

    def discard(self) -> None:
        """Throw away what is waiting to be read."""
        for flags in (socket.MSG_ERRQUEUE, 0):
            try:
                while True:
                    self.sock.recvmsg(0, 0, flags)
            except OSError:
                pass

    def void(self, text: str) -> None:
        self.discard()
        super().void(text)

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()


class IcmpEcho(Datagram):
    """ICMP echo on a raw socket, or on a ping socket where raw ones are not allowed."""

    def open(self) -> None:
        target = sockets.destination(self.family, self.spec["address"])
        ident = (os.getpid() + self.id) & 0xFFFF
        self._request = wire.EchoRequest(self.family, ident, self.shared.token, self.id)
        self._kind = wire.ECHO_REPLY[self.family]
        protocol = socket.IPPROTO_ICMP if self.family == 4 else socket.IPPROTO_ICMPV6
        try:
            sock = sockets.raw(self.family, protocol, target)
        except PermissionError as error:
            sock = self._ping(target, error)
        else:
            self.offset = -1 if self.family == 4 else 0
            sockets.attach_filter(sock, wire.echo_reply_filter(self.family, ident, self.shared.token))
            self.shared.capabilities["raw_icmp"] = sockets.capability(True, "SOCK_RAW")
        self._ready(sock)

    def _ping(self, target: Any, refused: OSError) -> socket.socket:
        reason = "SOCK_RAW: " + sockets.reason_of(refused)
        try:
            sock = sockets.ping(self.family, target)
        except PermissionError as error:
            reason += f"; ping socket: {sockets.reason_of(error)} (net.ipv4.ping_group_range)"
            self.shared.capabilities["raw_icmp"] = sockets.capability(False, None, reason)
            raise
        self.shared.capabilities["raw_icmp"] = sockets.capability(False, "ping socket", reason)
        return sock

    def packet(self, number: int, now_ns: int) -> bytearray:
        return self._request.stamp(number, now_ns)

    def number_of(self, data: bytes, offset: int) -> Optional[int]:
        echo = wire.parse_echo(data, offset)
        if echo is None or echo.kind != self._kind or echo.token != self.shared.token or echo.flow_id != self.id:
            return None
        return echo.number


class TcpSyn(Datagram):
    """TCP SYN on a raw socket. The reserved source port is the flow's receive queue at the target."""

    def open(self) -> None:
        target = sockets.destination(self.family, self.spec["address"])
        port = int(self.spec["port"])
        sock = sockets.raw(self.family, socket.IPPROTO_TCP, target)
        try:
            local = sock.getsockname()
            self._reserved, refused = sockets.reserve_port(self.family, local, self.spec.get("source_port"))
            if refused:
                self.shared.warnings.append(f"flow {self.id}: {refused}")
            self.local_port = self._reserved.getsockname()[1]
            if self.family == 6:  # the kernel then fills in the checksum
                sock.setsockopt(socket.IPPROTO_IPV6, sockets.IPPROTO_IPV6_CHECKSUM, 16)
            self.offset = -1 if self.family == 4 else 0
            sockets.attach_filter(sock, wire.tcp_filter(self.family, port, self.local_port))
        except OSError:
            sock.close()
            raise
        ends = [(sockets.packed(self.family, address), port) for address, port in ((local[0], self.local_port), (target[0], port))]
        self._refusal = False
        self._syn = wire.Syn(ends[0], ends[1], wire.first_sequence(self.shared.token, self.id))
        self.shared.capabilities["raw_tcp"] = sockets.capability(True, "SOCK_RAW")
        self._ready(sock)

    def packet(self, number: int, now_ns: int) -> bytearray:
        return self._syn.stamp(number)

    def number_of(self, data: bytes, offset: int) -> Optional[int]:
        low = self._syn.answered(data, offset)
        if low is None:
            return None
        self._refusal = wire.is_refusal(data, offset)
        behind = (self.next - low) & 0xFFFFFFFF  # the numbers on the wire wrap
        return self.next - behind if 0 < behind <= self.next else None

    def answer(self, number: int, reply_ns: int) -> bool:
        first = super().answer(number, reply_ns)
        self.refused += first and self._refusal
        return first

    def close(self) -> None:
        super().close()
        if self.sock is not None:
            self._reserved.close()


class ClockSamples:
    """Echo requests of this run that come in with the time of sending: by how much the two clocks differ, at most.

    One per family and host; how the controller gets to a common time base.
    """

    def __init__(self, family: int, token: int) -> None:
        protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
        self._family, self._token = family, token
        self._samples: Dict[int, Dict[str, int]] = {}
        self._sock = socket.socket(sockets.FAMILIES[family], socket.SOCK_RAW, protocol)
        self._sock.setblocking(False)
        sockets.attach_filter(self._sock, wire.clock_filter(family, token))
        sockets.stamp_received(self._sock)

    def harvest(self) -> None:
        for _read in range(READS_AT_ONCE):
            try:
                data, ancillary = self._sock.recvmsg(REPLY_SIZE, sockets.ANCILLARY_SIZE)[:2]
            except OSError:
                return
            echo = wire.parse_echo(data, (data[0] & 15) * 4 if self._family == 4 else 0)
            received = sockets.stamp_of(ancillary)
            if echo is None or echo.token != self._token or not received:
                continue
            apart = received - echo.sent_ns
            known = self._samples.get(echo.flow_id)
            if known:
                known["n"] += 1
                known["min_ns"] = min(known["min_ns"], apart)
            elif len(self._samples) < SAMPLED_FLOWS:
                self._samples[echo.flow_id] = {"min_ns": apart, "n": 1}

    def report(self) -> Dict[str, Dict[str, int]]:
        return {str(flow_id): sample for flow_id, sample in self._samples.items()}

    def close(self) -> None:
        self._sock.close()
