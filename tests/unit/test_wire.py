"""Packets that are rewritten in place stay valid packets, and only ours are taken for ours."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import wire

words = st.integers(0, 2**32 - 1)
halves = st.integers(0, 2**16 - 1)
times = st.integers(0, 2**63 - 1)


@given(st.sampled_from([4, 6]), halves, words, words, st.lists(st.tuples(words, times), min_size=1))
def test_echo_requests(family, ident, token, flow_id, probes):
    request = wire.EchoRequest(family, ident, token, flow_id)
    for number, sent_ns in probes:
        packet = bytes(request.stamp(number, sent_ns))
        assert wire.checksum(packet) == 0
        assert struct.unpack_from("!HH", packet, 4) == (ident, number & 0xFFFF)
        sampled = 0 if number % wire.CLOCK_EVERY else sent_ns
        assert wire.parse_echo(b"x" * 20 + packet, 20) == (wire.ECHO[family], token, flow_id, number, sampled)


@given(words, st.lists(words, min_size=1))
def test_syns_and_their_answers(first, numbers):
    source, target = (bytes([10, 0, 0, 1]), 40001), (bytes([10, 0, 0, 2]), 22)
    syn = wire.Syn(source, target, first)
    for number in numbers:
        packet = bytes(syn.stamp(number))
        assert wire.checksum(source[0] + target[0] + struct.pack("!II", len(packet), 6) + packet) == 0
        sequence = struct.unpack_from("!I", packet, 4)[0]
        for flags, known in ((0x12, True), (0x14, True), (0x10, False), (0x02, False), (0x04, False)):
            answer = struct.pack("!HHIIBBHHH", 22, 40001, 7, (sequence + 1) & 0xFFFFFFFF, 5 << 4, flags, 0, 0, 0)
            assert syn.answered(b"y" * 24 + answer, 24) == (number if known else None)
            assert not known or wire.is_refusal(b"y" * 24 + answer, 24) is (flags == 0x14)


@given(st.binary(max_size=80), st.integers(0, 60))
def test_any_bytes_are_survived(data, offset):
    wire.parse_echo(data, offset)
    wire.Syn((b"1234", 1), (b"5678", 2), 0).answered(data, offset)


def accepts(program, packet):
    """The classic BPF machine, as far as our programs go. Reading beyond the packet drops it, as the kernel does."""
    a = x = at = 0
    while True:
        code, true, false, k = program[at]
        at += 1
        if code == 0x06:
            return k > 0
        if code == 0xB1:
            x = 4 * (packet[k] & 15)
        elif code == 0x01:
            x = k
        elif code in (0x50, 0x48, 0x40):
            size = {0x50: 1, 0x48: 2, 0x40: 4}[code]
            if x + k + size > len(packet):
                return False
            a = int.from_bytes(packet[x + k : x + k + size], "big")
        elif code == 0x54:
            a &= k
        else:
            at += true if (a == k if code == 0x15 else a & k) else false


def in_ip(data, options=0):
    return bytes([0x45 + options]) + b"\0" * (19 + 4 * options) + data


TOKEN = 0xDEADBEEF


def echo(kind, ident=7, token=TOKEN, sent=0, magic=wire.MAGIC):
    return struct.pack("!BBHHHIIIIQ", kind, 0, 0, ident, 1, magic, token, 3, 16, sent)


@pytest.mark.parametrize(
    ("packet", "ours"),
    [
        (echo(0), True),
        (echo(8), False),
        (echo(0, ident=8), False),
        (echo(0, token=1), False),
        (echo(0, magic=1), False),
        (echo(0)[:10], False),
    ],
)
def test_the_filter_of_replies(packet, ours):
    assert accepts(wire.echo_reply_filter(4, 7, TOKEN), in_ip(packet)) is ours
    assert accepts(wire.echo_reply_filter(4, 7, TOKEN), in_ip(packet, options=3)) is ours
    six = bytes([129 if packet[0] == 0 else 128]) + packet[1:]
    assert accepts(wire.echo_reply_filter(6, 7, TOKEN), six) is ours


@pytest.mark.parametrize(
    ("packet", "sampled"),
    [
        (echo(8, sent=1700000000 * 10**9), True),
        (echo(8, sent=0), False),
        (echo(0, sent=1 << 60), False),
        (echo(8, token=2, sent=1 << 60), False),
    ],
)
def test_the_filter_of_clock_samples(packet, sampled):
    assert accepts(wire.clock_filter(4, TOKEN), in_ip(packet)) is sampled


@pytest.mark.parametrize(
    ("ports", "flags", "ours"),
    [
        ((22, 40001), 0x12, True),
        ((22, 40001), 0x14, True),
        ((22, 40001), 0x04, True),
        ((22, 40001), 0x10, False),
        ((22, 40001), 0x02, False),
        ((22, 40002), 0x12, False),
        ((23, 40001), 0x12, False),
    ],
)
def test_the_filter_of_tcp(ports, flags, ours):
    segment = struct.pack("!HHIIBBHHH", ports[0], ports[1], 0, 0, 5 << 4, flags, 0, 0, 0)
    assert accepts(wire.tcp_filter(4, 22, 40001), in_ip(segment)) is ours
    assert accepts(wire.tcp_filter(6, 22, 40001), segment) is ours
