# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which receive queue a packet reaches, from what the host shows of its network card, and how many queues the probes reached.

Receive side scaling as specified by Microsoft ("RSS hashing types", "Verifying the RSS hash calculation") and implemented by
NICs under Linux: the Toeplitz hash of addresses and, for TCP, ports picks a slot of the indirection table, which holds the
queue. ICMP has no ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping


def toeplitz(key: bytes, data: bytes) -> int:
    """The 32-bit Toeplitz hash of ``data``: for each set bit, the 32 bits of the key that begin at its place, added without carry."""
    if len(key) < len(data) + 4:
        raise ValueError(f"an RSS key of {len(key)} bytes is too short for {len(data)} bytes of input")
    bits, length = int.from_bytes(key, "big"), len(key) * 8
    found = 0
    for place in range(len(data) * 8):
        if data[place // 8] & (0x80 >> place % 8):
            found ^= bits >> (length - 32 - place)
    return found & 0xFFFFFFFF


def rss_input(source: str, destination: str, source_port: int | None = None, destination_port: int | None = None) -> bytes:
    """What the card hashes of a packet: addresses, then ports unless they are None.

    :raises ValueError: not a literal address, or two families
    """
    ends = [ipaddress.ip_address(source), ipaddress.ip_address(destination)]
    if ends[0].version != ends[1].version:
        raise ValueError(f"{source} and {destination} are of two address families")
    data = ends[0].packed + ends[1].packed
    if source_port is None or destination_port is None:
        return data
    return data + source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")


class Card:
    """The receive queues of the interface that bears one address of a host. ``total`` is None where the count is unknown, as is
    ``sending``, the number of its transmit queues.

    With receive packet steering (RPS) the CPUs it spreads to are what can stall: they count as the queues, and which one a flow
    reaches is unknown.
    """

    def __init__(self, interface: Mapping | None) -> None:
        interface = interface or {}
        rss = interface.get("rss") or {}
        steered = {cpu for queue in interface.get("queues") or [] for cpu in queue.get("rps_cpus") or []}
        self.total: int | None = len(steered) or interface.get("rx_queues") or None
        channels = interface.get("channels") or {}
        self.sending: int | None = (channels.get("tx") or 0) + (channels.get("combined") or 0) or None
        known = rss.get("available") and rss.get("function") == "toeplitz" and rss.get("key") and rss.get("indirection") and not steered
        self.key = bytes.fromhex(rss["key"]) if known else b""
        self.indirection: list[int] = list(rss["indirection"]) if known else []
        fields = rss.get("fields") or {}
        self.ports_hashed = {family: _hashes_ports(fields.get(f"tcp{family}")) for family in (4, 6)}
        if self.indirection:
            self.total = len(set(self.indirection))

    def queue(self, source: str, destination: str, source_port: int | None, destination_port: int | None) -> int | None:
        """The queue a packet to this card reaches; None where that can't be known. A port of None: not TCP."""
        if self.total == 1:
            return 0
        if not self.indirection:
            return None
        tcp = source_port is not None and destination_port is not None
        try:
            family = ipaddress.ip_address(destination).version
            hashed = self.ports_hashed[family]
            if tcp and hashed is None:
                return None
            data = rss_input(source, destination, *((source_port, destination_port) if tcp and hashed else (None, None)))
            return self.indirection[toeplitz(self.key, data) % len(self.indirection)]
        except ValueError:
            return None


def _hashes_ports(fields: Iterable[str] | None) -> bool | None:
    """Whether TCP ports are part of the hash, from ethtool's field list; None where the driver does not say."""
    return None if fields is None else bool({"src_port", "dst_port"} & set(fields))


def card_of(result: Mapping | None, addresses: Iterable[str | None]) -> Card:
    """The card that receives packets to the first of these addresses that an interface bears, from a host's evidence; one that
    knows nothing where the evidence does not tell."""
    reader = ((result or {}).get("counters") or {}).get("nic") or {}
    interfaces = (reader.get("start") or {}).get("interfaces") or [] if reader.get("available") else []
    by_name = {interface["name"]: interface for interface in interfaces}
    bearer = {str(address).split("/")[0]: interface for interface in reversed(interfaces) for address in interface.get("addresses") or []}
    found = next((bearer[address] for address in addresses if address in bearer), None)
    lower = (found or {}).get("lower") or []
    # Which leg of a bond takes a packet is the switch's choice
    return Card(found) if not lower else Card(by_name.get(lower[0]) if len(lower) == 1 else None)


def coverage(card: Card, reached: Iterable[int], kinds: int) -> dict:
    """How many receive queues the probes reached.

    :param reached: queues that flows are known to reach
    :param kinds: flows that are hashed differently (a pair's ICMP flows count once)
    :return: ``{rx_queues_total, rx_queues_covered, queues_how}``; how: ``single`` (there is but one), ``computed`` (from the card's
        own hash), ``expected`` (the mean for that many flows hashed evenly, a fraction), ``unknown`` (both are None)
    """
    total = card.total
    if not total:
        return {"rx_queues_total": None, "rx_queues_covered": None, "queues_how": "unknown"}
    if total == 1:
        return {"rx_queues_total": 1, "rx_queues_covered": min(1, kinds), "queues_how": "single"}
    if card.indirection:
        return {"rx_queues_total": total, "rx_queues_covered": len(set(reached)), "queues_how": "computed"}
    return {"rx_queues_total": total, "rx_queues_covered": round(total * (1 - (1 - 1 / total) ** kinds), 1), "queues_how": "expected"}
