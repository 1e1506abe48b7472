"""What the embedded fleet looks like: pure data, no system call.

A lab owns one slot of the benchmarking network 198.18.0.0/15 (RFC 2544), so that labs beside each other never
share an address. Each rack is a subnet of its own; the fabric routes between them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

NETWORK = ipaddress.ip_network("198.18.0.0/15")
SLOT_PREFIX = 20
SLOTS = 2 ** (SLOT_PREFIX - NETWORK.prefixlen)
RACKS = {"rack_a1": "dc_a", "rack_a2": "dc_a", "rack_b1": "dc_b", "rack_b2": "dc_b"}
NODES_A_RACK = 2
HOSTS_A_RACK_MAX = 240
OUTSIDE = "outside"
CONTROL = "control"
POD_NODE = "node-b1-1"
VM_RACKS = {"rack_a1": "dc_a", "rack_a2": "dc_a", "rack_b1": "dc_b"}
VM_POD_NODE = "vm-b1-1"


@dataclass(frozen=True)
class Subnet:
    """One rack (or the outside, or the controller's uplink): `index` is its place in the slot."""

    name: str
    index: int


@dataclass(frozen=True)
class Host:
    name: str
    index: int
    subnet: str
    groups: tuple[str, ...]
    address: str
    address6: str
    overlay_number: int = 0

    @property
    def overlay_address(self) -> str:
        """The address of the node's own bridge in the overlay; empty for a host that is no node."""
        return f"10.244.{self.overlay_number}.1" if self.overlay_number else ""


@dataclass(frozen=True)
class Topology:
    slot: int
    subnets: tuple[Subnet, ...]
    hosts: tuple[Host, ...]
    virtual: bool = False

    @property
    def network(self) -> ipaddress.IPv4Network:
        return slot_network(self.slot)

    @property
    def nodes(self) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.overlay_number)

    @property
    def pod_node(self) -> str:
        """The node whose pod answers all NodePorts."""
        return VM_POD_NODE if self.virtual else POD_NODE

    def host(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise ValueError(f"no host {name} in this lab; there are {', '.join(host.name for host in self.hosts)}")

    def netns(self, name: str) -> str:
        """Name of the network namespace of a host, of the fabric or of the pod."""
        return f"{slot_prefix(self.slot)}-{name}"


def slot_prefix(slot: int) -> str:
    """What the names of everything of that slot start with."""
    return f"fsl{slot}"


def slot_network(slot: int) -> ipaddress.IPv4Network:
    if not 0 <= slot < SLOTS:
        raise ValueError(f"slot {slot} is not in 0..{SLOTS - 1}")
    size = NETWORK.num_addresses // SLOTS
    return ipaddress.IPv4Network((int(NETWORK.network_address) + slot * size, SLOT_PREFIX))


def gateway(slot: int, subnet: Subnet) -> tuple[str, str]:
    """IPv4 and IPv6 address of the fabric in that subnet."""
    return _addresses(slot, subnet.index, 1)


def fleet(slot: int) -> Topology:
    """Two datacenters, two racks each, two kube nodes a rack, and one host outside."""
    subnets = _subnets([*RACKS, OUTSIDE])
    hosts: list[Host] = []
    for rack in subnets[1 : 1 + len(RACKS)]:
        letters = rack.name.removeprefix("rack_")
        for place in range(1, NODES_A_RACK + 1):
            number = len(hosts) + 1
            groups = ("kube_nodes", RACKS[rack.name], rack.name)
            hosts.append(_host(slot, f"node-{letters}-{place}", number, rack, place, groups, overlay_number=number))
    hosts.append(_host(slot, "outside-1", len(hosts) + 1, subnets[-1], 1, (OUTSIDE,)))
    return Topology(slot, tuple(subnets), tuple(hosts))


def machines(slot: int) -> Topology:
    """Three machines of their own in two datacenters, a rack each, all of them kube nodes."""
    subnets = _subnets(list(VM_RACKS))
    hosts = []
    for number, rack in enumerate(subnets[1:], start=1):
        groups = ("kube_nodes", VM_RACKS[rack.name], rack.name)
        name = f"vm-{rack.name.removeprefix('rack_')}-1"
        hosts.append(_host(slot, name, number, rack, 1, groups, overlay_number=number))
    return Topology(slot, tuple(subnets), tuple(hosts), virtual=True)


def flat(slot: int, count: int) -> Topology:
    """`count` plain hosts spread evenly over the racks; for benchmarks."""
    most = HOSTS_A_RACK_MAX * len(RACKS)
    if not 1 <= count <= most:
        raise ValueError(f"--hosts {count}: a flat lab has 1 to {most} hosts")
    subnets = _subnets(list(RACKS))
    racks = subnets[1:]
    hosts = []
    for number in range(count):
        rack = racks[number % len(racks)]
        groups = (RACKS[rack.name], rack.name)
        hosts.append(_host(slot, f"host-{number + 1:03d}", number + 1, rack, number // len(racks) + 1, groups))
    return Topology(slot, tuple(subnets), tuple(hosts))


def _subnets(names: list[str]) -> list[Subnet]:
    return [Subnet(name, index) for index, name in enumerate([CONTROL, *names])]


def _host(slot: int, name: str, index: int, subnet: Subnet, place: int, groups: tuple[str, ...], overlay_number: int = 0) -> Host:
    address, address6 = _addresses(slot, subnet.index, place + 9)
    return Host(name, index, subnet.name, groups, address, address6, overlay_number)


def _addresses(slot: int, subnet: int, number: int) -> tuple[str, str]:
    address = slot_network(slot).network_address + subnet * 256 + number
    return str(address), f"fd00:198:18:{slot:x}{subnet:02x}::{number:x}"
