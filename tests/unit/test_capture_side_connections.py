"""Connections that look bad without a probe: the kernel's answer, from any kernel, and real connections on loopback."""

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import connections
from ansible_collections.fleet.stall.plugins.module_utils.capture.connections import Connection
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable


def message(family=socket.AF_INET, local=("10.0.0.1", 443), peer=("10.0.0.2", 50000), unread=0, inode=77, info=None):
    """An inet_diag_msg with INET_DIAG_INFO."""
    ends = b"".join(socket.inet_pton(family, address).ljust(16, b"\0") for address, _port in (local, peer))
    head = struct.pack("=BBBB", family, 1, 0, 0) + struct.pack("!HH", local[1], peer[1]) + ends + bytes(12)
    head += struct.pack("=IIIII", 0, unread, 0, 1000, inode)
    return head + (b"" if info is None else struct.pack("=HH", 4 + len(info), 2) + info)


def tcp_info(size=240, **words):
    at = {"unacked": 24, "rtt": 68, "total_retrans": 100, "min_rtt": 148}
    info = bytearray(size)
    for name, value in words.items():
        struct.pack_into("=I", info, at[name], value)
    return bytes(info)


def connection(**changes):
    return Connection((bytes(4), 1), (bytes(4), 2), 7, 500, 400, 0, 0, 0)._replace(**changes)


def test_a_connection_of_the_kernel():
    found = connections.parse(message(unread=4096, info=tcp_info(unacked=3, rtt=153000, total_retrans=9, min_rtt=2500)))
    assert found == Connection((b"\x0a\0\0\1", 443), (b"\x0a\0\0\2", 50000), 77, 153000, 2500, 9, 4096, 3)
    assert connections.row_of(found, None) == {
        "local": "10.0.0.1:443",
        "peer": "10.0.0.2:50000",
        "pid": None,
        "comm": None,
        "rtt_ms": 153.0,
        "min_rtt_ms": 2.5,
        "retransmits": 9,
        "unread_bytes": 4096,
        "unacked": 3,
        "tells": False,
    }


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (tcp_info(104, rtt=200, total_retrans=1), (200, None, 1, 0)),  # 3.10: min_rtt came in 4.6
        (tcp_info(240, rtt=200, min_rtt=0xFFFFFFFF), (200, None, 0, 0)),
        (tcp_info(240), (None, None, 0, 0)),
        (b"", (None, None, None, None)),
        (None, (None, None, None, None)),
    ],
)
def test_what_a_kernel_does_not_tell_is_null(info, expected):
    found = connections.parse(message(info=info))
    assert (found.rtt_us, found.min_rtt_us, found.retransmits, found.unacked) == expected


@pytest.mark.parametrize(
    ("address", "spelled"), [("2001:db8::1", "[2001:db8::1]:443"), ("::ffff:192.0.2.7", "192.0.2.7:443"), ("::1", "[::1]:443")]
)
def test_addresses_of_ipv6_sockets(address, spelled):
    found = connections.parse(message(socket.AF_INET6, (address, 443), ("::2", 9)))
    assert connections.row_of(found, None)["local"] == spelled


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (connection(rtt_us=150000), connection(rtt_us=20000)),
        (connection(retransmits=20), connection(retransmits=1)),
        (connection(unread_bytes=1 << 20), connection(unread_bytes=1 << 10)),
        (connection(rtt_us=100000), connection(rtt_us=60, min_rtt_us=5)),  # 12 times, but of next to nothing
        (connection(rtt_us=100000), connection(rtt_us=None, retransmits=None)),
        (connection(unread_bytes=1 << 20), connection(rtt_us=8000)),
    ],
)
def test_which_is_worse(worse, better):
    assert connections.badness(worse) > connections.badness(better)


@given(st.binary(max_size=400))
def test_any_message_is_read_without_an_error(data):
    connections.parse(data)
    connections.parse(bytes([socket.AF_INET]) + data.ljust(80, b"\0"))


@pytest.fixture
def pair():
    """A connection on loopback, of both families."""
    made = []

    def connect(family, address):
        with socket.socket(family) as listening:
            listening.bind((address, 0))
            listening.listen(1)
            client = socket.create_connection(listening.getsockname()[:2])
            server = listening.accept()[0]
        made.extend([client, server])
        return client, server

    yield connect
    for sock in made:
        sock.close()


def survey(limit=connections.MOST_SEEN, asked=()):
    try:
        return connections.survey(limit, asked)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_data_that_nobody_reads_is_seen_with_its_process(pair, family, address, monkeypatch):
    """Whatever else is connected here, however bad, and however many processes there are to look through."""
    monkeypatch.setattr(connections, "SCAN_S", 60.0)
    monkeypatch.setattr(connections, "MOST_SECONDS", 60.0)
    try:
        client, server = pair(family, address)
    except OSError as error:
        pytest.skip(f"no {address} here: {error}")
    client.sendall(b"x" * 100000)
    assert len(server.recv(20000, socket.MSG_PEEK | socket.MSG_WAITALL)) == 20000
    found = survey()
    spelled = "{}:{}" if family == socket.AF_INET else "[{}]:{}"
    mine = {row["local"]: row for row in found["rows"]}[spelled.format(*server.getsockname()[:2])]
    assert mine["peer"] == spelled.format(*client.getsockname()[:2])
    assert mine["unread_bytes"] > 10000
    assert mine["pid"] == os.getpid()
    with open("/proc/self/comm") as file:
        assert mine["comm"] == file.read().strip()
    other = {row["local"]: row for row in found["rows"]}[mine["peer"]]
    assert 0 < other["min_rtt_ms"] < 1000
    assert other["rtt_ms"] > 0
    assert other["unread_bytes"] == 0


def test_bounds_on_rows_and_on_what_is_looked_at(pair, monkeypatch):
    for _ in range(4):
        pair(socket.AF_INET, "127.0.0.1")
    found = survey(3)
    assert len(found["rows"]) == 3
    assert found["seen"] >= 8
    monkeypatch.setattr(connections, "MOST_SEEN", 5)
    found = survey()
    assert (found["seen"], found["complete"]) == (5, False)


CLIENT = b"\xc0\0\2\x09"


def seen(monkeypatch, *ends):
    """Rows of a survey of at most one connection, the worst; ends: (local port, client's last byte, unread bytes)."""
    found = [
        message(local=("192.0.2.1", port), peer=(f"192.0.2.{client}", 40000 + number), unread=unread, inode=0)
        for number, (port, client, unread) in enumerate(ends)
    ]
    answer = [(connections.SOCK_DIAG_BY_FAMILY, each) for each in found]
    monkeypatch.setattr(connections, "_must_not_load", lambda module: None)
    monkeypatch.setattr(connections.netlink, "dump", lambda kind, number, question, left: answer if question[0] == socket.AF_INET else [])
    rows = connections.survey(1, {(CLIENT, 80)})["rows"]
    ends = [(int(row["local"].rpartition(":")[2]), int(row["peer"].partition(":")[0].rpartition(".")[2])) for row in rows]
    assert [row["tells"] for row in rows] == [client == CLIENT[3] for _port, client in ends]
    return ends


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(443, 5, 9000), (80, 9, 0)], [(443, 5), (80, 9)]),
        ([(8080, 9, 0), (443, 5, 9000), (80, 9, 0)], [(443, 5), (80, 9), (8080, 9)]),
        ([(80, 9, 9000), (443, 5, 0)], [(80, 9)]),
        ([(443, 5, 9000), (80, 6, 0)], [(443, 5)]),
    ],
    ids=["though it fares well", "on another port after those", "once", "not of others"],
)
def test_connections_of_who_probes_are_always_told(monkeypatch, ends, expected):
    assert seen(monkeypatch, *ends) == expected


def test_those_are_bounded_the_ports_that_are_asked_first(monkeypatch):
    monkeypatch.setattr(connections, "MOST_OWN", 3)
    ends = [(443, 5, 9000)] + [(8080, 9, 0)] * 5 + [(80, 9, 0)] * 2
    assert seen(monkeypatch, *ends) == [(443, 5), (80, 9), (80, 9), (8080, 9)]


def test_who_asks_a_service_by_the_plan():
    flows = [
        {"protocol": protocol, "source_address": address, "port": port}
        for protocol, address, port in [
            ("http_kept", "192.0.2.9", 80),
            ("http_new", "::ffff:192.0.2.9", 81),
            ("tcp_kept", "2001:db8::1", 82),
            ("tcp_syn", "192.0.2.9", 22),
            ("icmp", "192.0.2.9", None),
            ("http_kept", None, 83),
        ]
    ]
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert connections.asked_by(flows) == {(CLIENT, 80), (CLIENT, 81), (six, 82)}


def test_a_module_is_not_loaded_for_it(monkeypatch):
    monkeypatch.setattr(connections.os.path, "exists", lambda path: True)
    monkeypatch.setattr(connections.os.path, "isdir", lambda path: False)
    monkeypatch.setattr(connections, "text_or_none", lambda path: "kernel/net/ipv4/inet_diag.ko\n")
    with pytest.raises(Unavailable, match="modprobe tcp_diag"):
        connections.survey()
