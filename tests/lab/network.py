"""The fabric: a router namespace with one bridge a rack, the hosts' links, and the controller's uplink."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from . import namespaces, topology
from .topology import Host, Subnet, Topology

FABRIC = "fabric"
IFA_F_NODAD = 0x02


def raise_fabric(lab: Topology) -> None:
    """Create the fabric with its gateways, and give the controller (the namespace we are in) a way into it."""
    name = lab.netns(FABRIC)
    namespaces.create(name)
    with namespaces.inside(name):
        write_sysctl("ipv4/ip_forward", "1")
        write_sysctl("ipv6/conf/all/forwarding", "1")
    with namespaces.links(name) as fabric:
        set_up(fabric, "lo")
        for subnet in lab.subnets[1:]:
            fabric.link("add", ifname=subnet.name, kind="bridge", br_forward_delay=0)
            set_up(fabric, subnet.name)
            _gateway(fabric, lab.slot, subnet, subnet.name)
        _uplink(lab, fabric)


def _uplink(lab: Topology, fabric: IPRoute) -> None:
    control = lab.subnets[0]
    near = topology.slot_prefix(lab.slot)
    with IPRoute(groups=0) as here:
        here.link("add", ifname=near, kind="veth", peer={"ifname": control.name, "net_ns_fd": namespaces.path(lab.netns(FABRIC))})
        set_up(fabric, control.name)
        _gateway(fabric, lab.slot, control, control.name)
        index = set_up(here, near)
        here.addr("add", index=index, address=controller_address(lab), prefixlen=24)
        gateway, _gateway6 = topology.gateway(lab.slot, control)
        here.route("add", dst=str(lab.network), gateway=gateway, oif=index)


def controller_address(lab: Topology) -> str:
    return str(lab.network.network_address + 2)


def raise_host(lab: Topology, fabric: IPRoute, host: Host) -> None:
    """A namespace with eth0 in its rack, an IPv4 and an IPv6 address and default routes."""
    name = lab.netns(host.name)
    namespaces.create(name)
    peer = peer_name(host)
    fabric.link("add", ifname=peer, kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespaces.path(name)})
    fabric.link("set", index=index_of(fabric, peer), master=index_of(fabric, host.subnet), state="up")
    subnet = next(subnet for subnet in lab.subnets if subnet.name == host.subnet)
    gateway, gateway6 = topology.gateway(lab.slot, subnet)
    with namespaces.links(name) as inside:
        set_up(inside, "lo")
        index = set_up(inside, "eth0")
        inside.addr("add", index=index, address=host.address, prefixlen=24)
        inside.addr("add", index=index, address=host.address6, prefixlen=64, flags=IFA_F_NODAD)
        inside.route("add", dst="default", gateway=gateway)
        inside.route("add", dst="default", gateway=gateway6, family=10)


def peer_name(host: Host) -> str:
    """The fabric's end of the host's link."""
    return f"h{host.index}"


def _gateway(fabric: IPRoute, slot: int, subnet: Subnet, link: str) -> None:
    address, address6 = topology.gateway(slot, subnet)
    index = index_of(fabric, link)
    fabric.addr("add", index=index, address=address, prefixlen=24)
    fabric.addr("add", index=index, address=address6, prefixlen=64, flags=IFA_F_NODAD)


def index_of(where: IPRoute, link: str) -> int:
    return where.link_lookup(ifname=link)[0]


def set_up(where: IPRoute, link: str) -> int:
    """Bring a link up; returns its index."""
    index = index_of(where, link)
    where.link("set", index=index, state="up")
    return index


def write_sysctl(name: str, value: str) -> None:
    """A setting of the network namespace we are in, such as `ipv4/ip_forward`."""
    Path("/proc/sys/net", name).write_text(value)


def remove_uplink(slot: int) -> None:
    """Remove the controller's link; its address and route go with it."""
    with IPRoute(groups=0) as here, contextlib.suppress(NetlinkError):
        for index in here.link_lookup(ifname=topology.slot_prefix(slot)):
            here.link("del", index=index)


def routed_slots() -> set[int]:
    """Slots of which some address is already routed on this machine, by a lab or by anyone else."""
    with IPRoute(groups=0) as here:
        routes = [(route.get_attr("RTA_DST"), route["dst_len"]) for route in here.get_routes(family=2, table=254)]
    return {slot for slot in range(topology.SLOTS) if any(_overlaps(slot, dst, length) for dst, length in routes if dst)}


def _overlaps(slot: int, address: str, length: int) -> bool:
    return topology.slot_network(slot).overlaps(topology.ipaddress.ip_network(f"{address}/{length}", strict=False))
