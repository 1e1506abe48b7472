"""Which receive queue a packet reaches, by Microsoft's published examples, and how much of a card the probes reached."""

from __future__ import annotations

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils.queues import Card, card_of, coverage, rss_input, toeplitz

# "Verifying the RSS hash calculation", Microsoft
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


@pytest.mark.parametrize(
    ("source", "port", "destination", "to_port", "addresses", "with_ports"),
    [
        ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
        ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
        ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
        ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
        ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
        ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
        ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
        ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4B61E985, 0x02D1FEEF),
    ],
)
def test_published_hashes(source, port, destination, to_port, addresses, with_ports):
    assert toeplitz(KEY, rss_input(source, destination)) == addresses
    assert toeplitz(KEY, rss_input(source, destination, port, to_port)) == with_ports


def test_key_too_short_and_mixed_families_are_refused():
    with pytest.raises(ValueError, match="too short"):
        toeplitz(KEY[:10], bytes(12))
    with pytest.raises(ValueError, match="two address families"):
        rss_input("10.0.0.1", "fd00::1")


def card(**changes) -> Card:
    rss = {
        "available": True,
        "function": "toeplitz",
        "key": KEY.hex(),
        "indirection": [0, 1, 2, 3] * 32,
        "fields": {"tcp4": ["src_ip", "dst_ip", "src_port", "dst_port"]},
    }
    return Card({"rx_queues": 4, "queues": [], "rss": {**rss, **changes}})


def test_queue_is_the_slot_of_the_hash():
    assert card().queue("66.9.149.187", "161.142.100.80", 2794, 1766) == 0x51CCC178 % 128 % 4
    assert card().queue("66.9.149.187", "161.142.100.80", None, None) == 0x323E8FC2 % 128 % 4
    addresses_only = card(fields={"tcp4": ["src_ip", "dst_ip"]})
    assert addresses_only.queue("66.9.149.187", "161.142.100.80", 2794, 1766) == 0x323E8FC2 % 128 % 4


@pytest.mark.parametrize("hidden", [{"key": None}, {"function": "xor"}, {"available": False}, {"fields": {}}])
def test_queue_is_unknown_where_the_card_does_not_tell(hidden):
    assert card(**hidden).queue("66.9.149.187", "161.142.100.80", 2794, 1766) is None


def test_steering_makes_the_cpus_the_queues_and_hides_which():
    steered = Card({"rx_queues": 1, "queues": [{"queue": 0, "rps_cpus": [0, 1, 2, 3]}], "rss": {}})
    assert steered.total == 4
    assert steered.queue("10.0.0.1", "10.0.0.2", None, None) is None


def test_coverage_says_how_it_is_known():
    assert coverage(Card({"rx_queues": 1}), [0, 0], 5) == {"rx_queues_total": 1, "rx_queues_covered": 1, "queues_how": "single"}
    assert coverage(card(), [3, 1, 3], 9) == {"rx_queues_total": 4, "rx_queues_covered": 2, "queues_how": "computed"}
    assert coverage(Card({"rx_queues": 4}), [], 3) == {"rx_queues_total": 4, "rx_queues_covered": 2.3, "queues_how": "expected"}
    assert coverage(Card(None), [], 3) == {"rx_queues_total": None, "rx_queues_covered": None, "queues_how": "unknown"}


def test_card_is_that_of_the_address_and_below_a_vlan_but_not_below_a_bond():
    def result(*interfaces):
        return {"counters": {"nic": {"available": True, "reason": None, "start": {"interfaces": list(interfaces)}}}}

    plain = {"name": "eth0", "addresses": ["10.0.0.1/24"], "lower": [], "rx_queues": 8}
    vlan = {"name": "eth0.7", "addresses": ["10.0.7.1"], "lower": ["eth0"], "rx_queues": 1}
    bond = {"name": "bond0", "addresses": ["10.0.9.1"], "lower": ["eth0", "eth1"], "rx_queues": 16}
    assert card_of(result(plain), ["node.example", "10.0.0.1"]).total == 8
    assert card_of(result(plain, vlan), ["10.0.7.1"]).total == 8
    assert card_of(result(plain, bond), ["10.0.9.1"]).total is None
    assert card_of(None, ["10.0.0.1"]).total is None
    assert card_of({"counters": {"nic": {"available": False, "reason": "no"}}}, ["10.0.0.1"]).total is None
