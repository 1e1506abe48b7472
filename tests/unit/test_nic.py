"""Receive queues: what is asked of the kernel, and what its answers mean."""

import socket
import struct

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import ethtool, netlink, nic


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("eth0-TxRx-3", 3),
        ("i40e-ens1f0-TxRx-11", 11),
        ("ens5-Tx-Rx-0", 0),
        ("eth0-rx-2", 2),
        ("eth0-rxtx-5", 5),
        ("eth0-tx-2", None),
        ("mlx5_comp7@pci:0000:01:00.0", 7),
        ("mlx5_async0@pci:0000:01:00.0", None),
        ("mlx4-4@0000:05:00.0", 4),
        ("virtio0-input.1", 1),
        ("virtio0-output.1", None),
        ("bnxt_en-eth0-TxRx-6", 6),
        ("mana_q3@pci:7870:00:00.0", 3),
        ("eth0", None),
    ],
)
def test_queue_that_an_interrupt_serves(name, queue):
    assert nic.queue_of_irq(name) == queue


ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
bond0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ANY = "0" * 32
ROUTE6 = f"""\
{ANY} 00 {ANY} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth2
{ANY} 00 {ANY} 00 {ANY} ffffffff 00000001 00000000 00200200       lo
"""


def test_default_routes():
    assert nic.default_routes(ROUTE, ROUTE6) == ["bond0", "eth2"]


def test_interfaces_worth_a_look():
    addresses = {"lo": ["127.0.0.1"], "cali1": ["fe80::1"], "eth1": ["192.0.2.1"], "bond0": ["198.51.100.1"]}
    assert nic.select(["lo", "eth0", "eth1", "bond0", "cali1"], addresses, ["bond0"]) == ["bond0", "lo", "eth1"]


def test_receive_queues_in_use():
    assert nic.receiving({"rx": 2, "tx": 4, "other": 1, "combined": 6}) == 8
    assert nic.receiving(None) == 0


def test_hash_table_and_key():
    answer = ethtool.RXFH.pack(ethtool.GRSSH, 0, 4, 3, 1, 0) + struct.pack("=4I", 0, 1, 0, 1) + b"\x6d\x5a\x56"
    assert ethtool.parse_rxfh(answer) == {"function": "toeplitz", "key": "6d5a56", "indirection": [0, 1, 0, 1]}


def test_hidden_key_is_no_key():
    answer = ethtool.RXFH.pack(ethtool.GRSSH, 0, 1, 3, 2, 0) + struct.pack("=I", 0) + b"\0\0\0"
    assert ethtool.parse_rxfh(answer) == {"function": "xor", "key": None, "indirection": [0]}


def _attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def test_own_address_of_a_point_to_point_interface():
    peer, own = (socket.inet_aton(address) for address in ("192.0.2.2", "192.0.2.1"))
    payload = (
        netlink.IFADDRMSG.pack(socket.AF_INET, 32, 0, 0, 7) + _attribute(netlink.IFA_ADDRESS, peer) + _attribute(netlink.IFA_LOCAL, own)
    )
    assert netlink.parse_address(payload) == (7, "192.0.2.1")


@pytest.mark.parametrize(
    ("family", "attributes"),
    [(45, [(netlink.IFA_LOCAL, b"\x08")]), (socket.AF_INET, []), (socket.AF_INET6, [(6, b"\0" * 16)])],
    ids=["MCTP", "without an address", "cache info alone"],
)
def test_an_address_that_is_none_of_ours_costs_no_other(family, attributes):
    payload = netlink.IFADDRMSG.pack(family, 8, 0, 0, 7) + b"".join(_attribute(*attribute) for attribute in attributes)
    assert netlink.parse_address(payload) is None


class Kernel:
    """A netlink socket that answers with these datagrams."""

    def __init__(self, *datagrams):
        self.datagrams = list(datagrams)

    def __call__(self, *_kind):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        pass

    def settimeout(self, seconds):
        pass

    def sendto(self, data, address):
        pass

    def recv(self, size):
        return self.datagrams.pop(0)


def _message(kind, payload=b""):
    return netlink.HEADER.pack(netlink.HEADER.size + len(payload), kind, 2, 1, 0) + payload


def test_a_dump_that_breaks_off_says_so_at_its_end(monkeypatch):
    kernel = Kernel(_message(20, b"abcd"), _message(netlink.DONE, struct.pack("=i", -1)))
    monkeypatch.setattr(netlink.socket, "socket", kernel)
    with pytest.raises(PermissionError):
        list(netlink.dump(netlink.NETFILTER, 7, b""))
    kernel.datagrams = [_message(20, b"abcd"), _message(netlink.DONE, struct.pack("=i", 0))]
    assert list(netlink.dump(netlink.NETFILTER, 7, b"")) == [(20, b"abcd")]


def test_messages_of_a_cut_off_datagram():
    whole = netlink.HEADER.pack(20, 20, 0, 0, 0) + b"abcd"
    assert list(netlink.messages(whole * 2)) == [(20, b"abcd")] * 2
    assert list(netlink.messages(whole + b"\0" * 16)) == [(20, b"abcd")]


def test_loopback_of_this_machine():
    assert "127.0.0.1" in netlink.addresses()["lo"]
    loopback = [interface for interface in nic.read()["interfaces"] if interface["name"] == "lo"][0]
    assert loopback["rss"]["available"] is False
    assert loopback["rss"]["reason"]
