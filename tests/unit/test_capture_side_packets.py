"""Times of probes out of packet captures: any byte order, any link type, any rubbish; and a real tcpdump on loopback."""

import ipaddress
import os
import random
import socket
import struct
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import wire
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, capture, packets, tap

TOKEN = 0xCAFEF00D
AT = 1574380800123456789
ICMP = {"id": 7, "source": "a", "protocol": "icmp", "family": 4, "port": None, "source_address": "192.0.2.1", "source_port": None}
ICMP6 = dict(ICMP, id=8, family=6, source_address="2001:db8::1")
SYN = {"id": 9, "source": "a", "protocol": "tcp_syn", "family": 4, "port": 22, "source_address": "192.0.2.1", "source_port": 40001}
SYN6 = dict(SYN, id=10, family=6, source_address="2001:db8::1")
FLOWS = [dict(flow, interval_ms=10) for flow in (ICMP, ICMP6, SYN, SYN6)]


def echo(number, family=4, flow=7, token=TOKEN):
    return bytes(wire.EchoRequest(family, 1, token, flow).stamp(number, AT))


def syn(number, flow=9, source="192.0.2.1", local=40001, remote=22):
    ends = [(ipaddress.ip_address(address).packed, port) for address, port in ((source, local), (source, remote))]
    return bytes(wire.Syn(ends[0], ends[1], wire.first_sequence(TOKEN, flow)).stamp(number))


def ip(body, protocol, source="192.0.2.1"):
    source = ipaddress.ip_address(source)
    target = ipaddress.ip_address("192.0.2.2" if source.version == 4 else "2001:db8::2")
    if source.version == 4:
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + source.packed + target.packed + body
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source.packed + target.packed + body


def kind(packet):
    return 0x0800 if packet[0] >> 4 == 4 else 0x86DD


LINKS = {
    "ethernet": (1, lambda packet: bytes(12) + struct.pack("!H", kind(packet)) + packet),
    "vlan": (1, lambda packet: bytes(12) + struct.pack("!HHH", 0x8100, 5, kind(packet)) + packet),
    "two vlans": (1, lambda packet: bytes(12) + struct.pack("!HHHHH", 0x88A8, 5, 0x8100, 6, kind(packet)) + packet),
    "sll": (113, lambda packet: bytes(14) + struct.pack("!H", kind(packet)) + packet),
    "sll2": (276, lambda packet: struct.pack("!H", kind(packet)) + bytes(18) + packet),
    "raw": (101, lambda packet: packet),
}


def pcap(frames, link=1, order="<", nano=False):
    """A capture file of (time in ns, frame)."""
    data = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 96, link)
    for at_ns, frame in frames:
        fraction = at_ns % 10**9 // (1 if nano else 1000)
        data += struct.pack(order + "IIII", at_ns // 10**9, fraction, len(frame), len(frame) + 100) + frame
    return data


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_every_kind_of_file(name, order, nano):
    link, framed = LINKS[name]
    frames = [
        (AT, framed(ip(echo(3), 1))),
        (AT + 1000, framed(ip(echo(4, 6, flow=8), 58, "2001:db8::1"))),
        (AT + 2000, framed(ip(syn(70000), 6))),
        (AT + 3000, framed(ip(syn(2, 10, "2001:db8::1"), 6, "2001:db8::1"))),
    ]
    at = AT if nano else AT - AT % 1000
    assert packets.rows_of(pcap(frames, link, order, nano), FLOWS, TOKEN) == [
        {"flow": 7, "number": 3, "at_ns": at},
        {"flow": 8, "number": 4, "at_ns": at + 1000},
        {"flow": 9, "number": 70000, "at_ns": at + 2000},
        {"flow": 10, "number": 2, "at_ns": at + 3000},
    ]


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(ip(echo(3, token=1), 1), id="of another run"),
        pytest.param(ip(echo(3, flow=99), 1), id="of a flow not in the plan"),
        pytest.param(ip(bytes([0]) + echo(3)[1:], 1), id="an echo reply"),
        pytest.param(ip(echo(3)[:8] + b"abcdefgh" * 3, 1), id="a ping of someone else"),
        pytest.param(ip(syn(3, local=40002), 6), id="another source port"),
        pytest.param(ip(syn(3, remote=23), 6), id="another port"),
        pytest.param(ip(syn(3), 6, "192.0.2.9"), id="another source"),
        pytest.param(ip(syn(3)[:13] + b"\x12" + syn(3)[14:], 6), id="a SYN-ACK"),
        pytest.param(ip(echo(3), 17), id="another protocol"),
        pytest.param(ip(echo(3), 1)[:30], id="cut short"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_is_none_of_ours(packet):
    assert packets.rows_of(pcap([(AT, packet)], link=101), FLOWS, TOKEN) == []


def test_of_several_sightings_the_first_counts():
    frames = [(AT + 5000, ip(echo(3), 1)), (AT, ip(echo(3), 1)), (AT + 9000, ip(echo(3), 1))]
    assert packets.rows_of(pcap(frames, 101, nano=True), FLOWS, TOKEN) == [{"flow": 7, "number": 3, "at_ns": AT}]


def test_without_source_and_token_a_flow_is_known_by_what_is_left():
    """Any source of that port; but without the token a SYN has no number."""
    flows = [dict(SYN, source_address=None, source_port=None), ICMP]
    data = pcap([(AT, ip(syn(3, local=5), 6, "192.0.2.77")), (AT + 1, ip(echo(4), 1))], 101, nano=True)
    assert [row["flow"] for row in packets.rows_of(data, flows, TOKEN)] == [9, 7]
    assert [row["flow"] for row in packets.rows_of(data, flows, None)] == [7]


@given(st.binary(max_size=300), st.sampled_from(sorted(packets.MAGICS)), st.sampled_from(sorted(packets.LINKS)))
def test_hostile_files_are_read_without_an_error(data, magic, link):
    order = packets.MAGICS[magic][0]
    packets.rows_of(data, FLOWS, TOKEN)
    packets.rows_of(magic + data, FLOWS, TOKEN)
    packets.rows_of(pcap([(AT, data)], link, order), FLOWS, TOKEN)
    list(packets.records(pcap([], link, order) + data))


@given(st.sampled_from(sorted(LINKS)), st.integers(0, 200), st.integers(0, 2**32))
def test_truncated_and_damaged_files_are_read_without_an_error(name, cut, seed):
    link, framed = LINKS[name]
    data = bytearray(pcap([(AT, framed(ip(echo(3), 1))), (AT, framed(ip(syn(4), 6)))], link))
    draw = random.Random(seed)
    for _ in range(4):
        data[draw.randrange(len(data))] = draw.randrange(256)
    packets.rows_of(bytes(data[: len(data) - cut]), FLOWS, TOKEN)


@pytest.mark.parametrize(
    ("flow", "error"),
    [
        (dict(SYN, source_address="192.0.2.1 or port 22"), ValueError),
        (dict(SYN, source_address="$(reboot)"), ValueError),
        (dict(SYN, port="22 or tcp"), ValueError),
        (dict(SYN, source_port="1; x"), ValueError),
        (dict(ICMP, family="4x"), ValueError),
    ],
)
def test_nothing_gets_into_the_filter_unparsed(flow, error):
    with pytest.raises(error):
        packets.expression([flow], TOKEN)


def test_flows_without_numbers_need_no_capture(tmp_path):
    assert packets.expression([dict(SYN, protocol="http_new")], TOKEN) == ""
    stage = packets.Stage([dict(SYN, protocol="http_new", interval_ms=10)], 5, 1 << 20, str(tmp_path), TOKEN)
    assert stage.start() is False
    assert stage.reason
    assert stage.finish() is None


needs_tcpdump = pytest.mark.skipif(not packets.capability()["available"], reason=str(packets.capability()["reason"]))


@needs_tcpdump
@pytest.mark.parametrize(
    "flows",
    [
        FLOWS,
        [ICMP],
        [SYN6],
        [dict(SYN, source_address=None, source_port=None)],
        [dict(SYN, id=port, source_port=port, source_address=f"192.0.2.{port % 250 + 1}") for port in range(20000, 20500)],
    ],
)
@pytest.mark.parametrize("link", ["EN10MB", "LINUX_SLL", "LINUX_SLL2", "RAW"])
def test_libpcap_takes_the_filter(flows, link):
    argv = [bounded.find("tcpdump"), "-y", link, "-d", packets.expression(flows, TOKEN)]
    if subprocess.run([*argv[:-2], "-d", "ip"], capture_output=True).returncode:
        argv[1:3] = []  # no device of that kind to compile for
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def traffic():
    """Send echo requests and SYNs of ours on loopback, among others that are not."""
    opened = []

    def send(number):
        if not opened:
            opened.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
            opened.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
        opened[0].sendto(echo(number), ("127.0.0.1", 0))
        opened[0].sendto(echo(number, token=1), ("127.0.0.1", 0))
        opened[1].sendto(syn(number, source="127.0.0.1", remote=9), ("127.0.0.1", 0))

    yield send
    for sock in opened:
        sock.close()


LOCAL = [dict(flow, interval_ms=10) for flow in (dict(ICMP, source_address="127.0.0.1"), dict(SYN, source_address="127.0.0.1", port=9))]


def listening(stage):
    until = time.monotonic() + 10
    while not (os.path.exists(stage.output) and os.path.getsize(stage.output)) and time.monotonic() < until:
        assert stage.poll()
        time.sleep(0.01)


@needs_tcpdump
def test_probes_on_loopback(tmp_path, traffic):
    stage = packets.Stage(LOCAL, 20, 1 << 20, str(tmp_path), TOKEN)
    assert stage.start(), stage.reason
    listening(stage)
    started = time.time_ns()
    for number in range(20):
        traffic(number)
    ended = time.time_ns()
    until = time.monotonic() + 10
    while os.path.getsize(stage.output) < 24 + 40 * 70 and stage.poll() and time.monotonic() < until:
        time.sleep(0.01)
    rows = stage.finish()
    assert sorted((row["flow"], row["number"]) for row in rows) == [(flow, number) for flow in (7, 9) for number in range(20)]
    assert all(started - 10**6 <= row["at_ns"] <= ended + 10**8 for row in rows)
    assert list(tmp_path.iterdir()) == []


@needs_tcpdump
def test_the_number_and_the_size_are_bounded(tmp_path, traffic):
    stage = packets.Stage(LOCAL, 20, 4000, str(tmp_path), TOKEN)
    assert stage.start(), stage.reason
    listening(stage)
    for number in range(200):
        traffic(number)
    until = time.monotonic() + 10
    while stage.poll() and time.monotonic() < until:
        time.sleep(0.01)
    assert not stage.poll()
    assert os.path.getsize(stage.output) <= 4000
    assert 10 <= len(stage.finish()) <= 40


def test_a_tap_that_has_no_tcpdump_says_so_and_looks_at_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "find", lambda name: None)
    now = time.time()
    plan = {"run": "r", "host": "h", "token": TOKEN, "starts_at": now, "ends_at": now + 0.2, "threshold_ms": 10, "skew_s": 0.0}
    plan.update(addresses=[], flows=[], packets=FLOWS, stack_hz=999, strace_s=0, strace_bytes=0, bytes_limit=1 << 20, slow_call_ms=10)
    found = capture.capture(plan, lambda: False, str(tmp_path / "work"), tap.Tap)
    assert (found["status"], found["packets"], set(found["capabilities"])) == ("measured", None, {"packets"}), found["reason"]
    assert found["capabilities"]["packets"]["reason"].startswith("tcpdump is not installed")
    assert set(packets.columns([])) == set() and found["cost"]["bytes_written"] == 0


@pytest.mark.parametrize(
    ("said", "missed"),
    [("", 0), ("0 packets dropped by kernel", 0), ("1 packet dropped by kernel", 1), ("37 packets dropped by kernel", 37)],
)
def test_what_tcpdump_was_too_late_for_is_known(tmp_path, said, missed):
    class Ended:
        def finish(self):
            pass

        def complaint(self):
            return said

        def discard(self):
            pass

    stage = packets.Stage(FLOWS, 1.0, 1 << 20, str(tmp_path), TOKEN)
    stage._tool, stage.reason = Ended(), None
    (tmp_path / "probes.pcap").write_bytes(pcap([(AT, LINKS["ethernet"][1](ip(echo(3), 1)))]))
    assert len(stage.finish()) == 1 and stage.missed == missed
