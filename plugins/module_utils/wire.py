# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets as bytes: ICMP echo with our payload, TCP SYN, and the classic BPF that keeps all else out.

Raw IPv4 sockets deliver (and filter) from the IP header on, raw IPv6 and ping sockets from the ICMP or TCP header on.
BPF: linux/Documentation/networking/filter.rst; socket filters see the packet as the socket would.
"""

import struct
from typing import List, NamedTuple, Optional, Tuple

MAGIC = 0x5374616C  # "Stal"
ECHO = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
CLOCK_EVERY = 16  # one echo request in so many carries the time of sending

_ECHO = struct.Struct("!BBHHHIIIIQ")  # type code checksum id sequence | magic token flow number sent_ns
_TCP = struct.Struct("!HHIIBBHHH")  # ports, sequence, acknowledgement, offset, flags, window, checksum, urgent
_HALF = struct.Struct("!H")
_WORD = struct.Struct("!I")
ECHO_SIZE = _ECHO.size

SYN, RST, ACK = 0x02, 0x04, 0x10


def checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class EchoRequest:
    """One flow's echo request, rewritten in place for each probe."""

    def __init__(self, family: int, ident: int, token: int, flow_id: int) -> None:
        self.packet = bytearray(_ECHO.pack(ECHO[family], 0, 0, ident, 0, MAGIC, token, flow_id, 0, 0))
        self._sum = ~checksum(bytes(self.packet)) & 0xFFFF
        self._pack = struct.Struct("!HHH").pack_into  # checksum, id, sequence
        self._ident = ident
        self._tail = struct.Struct("!IQ").pack_into

    def stamp(self, number: int, sent_ns: int) -> bytearray:
        """The packet of probe `number`; the time goes along with one in CLOCK_EVERY, 0 with the others."""
        low = number & 0xFFFF
        total = self._sum + 2 * low + (number >> 16 & 0xFFFF)
        if number % CLOCK_EVERY:
            sent_ns = 0
        else:
            total += (sent_ns >> 48) + (sent_ns >> 32 & 0xFFFF) + (sent_ns >> 16 & 0xFFFF) + (sent_ns & 0xFFFF)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        self._pack(self.packet, 2, ~total & 0xFFFF, self._ident, low)
        self._tail(self.packet, 20, number & 0xFFFFFFFF, sent_ns)
        return self.packet


class Echo(NamedTuple):
    """What an echo request or reply of ours says."""

    kind: int
    token: int
    flow_id: int
    number: int
    sent_ns: int


def parse_echo(data: bytes, offset: int) -> Optional[Echo]:
    """None for what is not ours or too short."""
    if len(data) < offset + ECHO_SIZE:
        return None
    kind, _code, _sum, _id, _seq, magic, token, flow_id, number, sent_ns = _ECHO.unpack_from(data, offset)
    return Echo(kind, token, flow_id, number, sent_ns) if magic == MAGIC else None


def first_sequence(token: int, flow_id: int) -> int:
    """The sequence number of probe 0 of a flow: what a packet trace needs to number the others."""
    return (token ^ (flow_id * 2654435761)) & 0xFFFFFFFF


class Syn:
    """One flow's SYN, rewritten in place. Sequence numbers go up by one a probe, so that a SYN that finds the one
    before half open is in its window and is answered too (RFC 793: with RST)."""

    def __init__(self, source: Tuple[bytes, int], target: Tuple[bytes, int], first: int) -> None:
        self.first = first & 0xFFFFFFFF
        self.packet = bytearray(_TCP.pack(source[1], target[1], 0, 0, 5 << 4, SYN, 64240, 0, 0))
        pseudo = source[0] + target[0] + struct.pack("!II", len(self.packet), 6)
        self._sum = ~checksum(pseudo + bytes(self.packet)) & 0xFFFF

    def stamp(self, number: int) -> bytearray:
        sequence = (self.first + number) & 0xFFFFFFFF
        total = self._sum + (sequence >> 16) + (sequence & 0xFFFF)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        _WORD.pack_into(self.packet, 4, sequence)
        _HALF.pack_into(self.packet, 16, ~total & 0xFFFF)
        return self.packet

    def answered(self, data: bytes, offset: int) -> Optional[int]:
        """The low 32 bits of the number of the probe that this SYN-ACK or RST answers; None if it is neither."""
        if len(data) < offset + 14:
            return None
        flags = data[offset + 13]
        if not flags & ACK or not flags & (SYN | RST):
            return None
        return (_WORD.unpack_from(data, offset + 8)[0] - 1 - self.first) & 0xFFFFFFFF


def is_refusal(data: bytes, offset: int) -> bool:
    """Whether what Syn.answered takes for an answer is an RST."""
    return bool(data[offset + 13] & RST)


# classic BPF: (code, jump if true, jump if false, k)
Instruction = Tuple[int, int, int, int]

_LDX_IP_HEADER = (0xB1, 0, 0, 0)  # X = 4 * (P[0] & 15)
_LDX_ZERO = (0x01, 0, 0, 0)  # X = 0
_LDB, _LDH, _LDW = 0x50, 0x48, 0x40  # A = P[X + k]
_JEQ, _JSET, _AND, _RET = 0x15, 0x45, 0x54, 0x06
_ACCEPT, _DROP = (_RET, 0, 0, 0xFFFF), (_RET, 0, 0, 0)


def _start(family: int) -> Instruction:
    return _LDX_IP_HEADER if family == 4 else _LDX_ZERO


def _require(load: int, offset: int, value: int) -> List[Instruction]:
    return [(load, 0, 0, offset), (_JEQ, 1, 0, value), _DROP]


def echo_reply_filter(family: int, ident: int, token: int) -> List[Instruction]:
    """Echo replies with this id, our magic and this run's token."""
    program = [_start(family)]
    for load, offset, value in ((_LDB, 0, ECHO_REPLY[family]), (_LDH, 4, ident), (_LDW, 8, MAGIC), (_LDW, 12, token)):
        program += _require(load, offset, value)
    return program + [_ACCEPT]


def clock_filter(family: int, token: int) -> List[Instruction]:
    """Echo requests of this run that carry the time of sending."""
    program = [_start(family)]
    for load, offset, value in ((_LDB, 0, ECHO[family]), (_LDW, 8, MAGIC), (_LDW, 12, token)):
        program += _require(load, offset, value)
    return program + [(_LDW, 0, 0, 24), (_JEQ, 0, 1, 0), _DROP, _ACCEPT]


def tcp_filter(family: int, port: int, local_port: int) -> List[Instruction]:
    """SYN-ACKs and RSTs from `port` to `local_port`."""
    program = [_start(family)] + _require(_LDH, 0, port) + _require(_LDH, 2, local_port)
    flags = [(_LDB, 0, 0, 13), (_JSET, 2, 0, RST), (_AND, 0, 0, SYN | ACK), (_JEQ, 0, 1, SYN | ACK), _ACCEPT, _DROP]
    return program + flags
