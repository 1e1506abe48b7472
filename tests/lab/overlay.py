"""The overlay, laid out as flannel does: per node a VXLAN device with static neighbours and a bridge for its pods."""

from __future__ import annotations

from pyroute2 import IPRoute

from . import namespaces, network
from .topology import Host, Topology

VXLAN_ID = 42
VXLAN_PORT = 4789
DEVICE = "vxlan0"
BRIDGE = "cni0"
POD = "pod"


def raise_overlay(lab: Topology) -> None:
    for node in lab.nodes:
        _raise_node(lab, node)


def _raise_node(lab: Topology, node: Host) -> None:
    name = lab.netns(node.name)
    with namespaces.inside(name):
        network.write_sysctl("ipv4/ip_forward", "1")
    with namespaces.links(name) as inside:
        eth0 = network.index_of(inside, "eth0")
        inside.link(
            "add", ifname=DEVICE, kind="vxlan", vxlan_id=VXLAN_ID, vxlan_port=VXLAN_PORT, vxlan_link=eth0,
            vxlan_local=node.address, vxlan_learning=False, address=_mac(node),
        )  # fmt: skip
        device = network.set_up(inside, DEVICE)
        inside.addr("add", index=device, address=_device_address(node), prefixlen=32)
        inside.link("add", ifname=BRIDGE, kind="bridge", br_forward_delay=0)
        bridge = network.set_up(inside, BRIDGE)
        inside.addr("add", index=bridge, address=node.overlay_address, prefixlen=24)
        for other in lab.nodes:
            if other != node:
                _reach(inside, device, other)


def _reach(inside: IPRoute, device: int, other: Host) -> None:
    inside.fdb("add", ifindex=device, lladdr=_mac(other), dst=other.address)
    inside.neigh("add", ifindex=device, dst=_device_address(other), lladdr=_mac(other), state="permanent")
    network_of_other = f"10.244.{other.overlay_number}.0/24"
    inside.route("add", dst=network_of_other, gateway=_device_address(other), oif=device, flags=["onlink"])


def raise_pod(lab: Topology, node: Host) -> None:
    """A namespace with eth0 on the node's bridge."""
    name = lab.netns(POD)
    namespaces.create(name)
    with namespaces.links(lab.netns(node.name)) as outer:
        outer.link("add", ifname="pod", kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespaces.path(name)})
        outer.link("set", index=network.index_of(outer, "pod"), master=network.index_of(outer, BRIDGE), state="up")
    with namespaces.links(name) as inside:
        network.set_up(inside, "lo")
        inside.addr("add", index=network.set_up(inside, "eth0"), address=pod_address(node), prefixlen=24)
        inside.route("add", dst="default", gateway=node.overlay_address)


def expose(lab: Topology, node: Host, ports: dict[int, int]) -> None:
    """NodePorts on every kube node. `ports`: node port -> port of the pod."""
    rules = node_port_rules(pod_address(node), ports)
    for host in lab.nodes:
        namespaces.run(lab.netns(host.name), ["iptables-restore"], rules)


def node_port_rules(pod: str, ports: dict[int, int]) -> str:
    """What kube-proxy's iptables mode does, for iptables-restore."""
    dnat = "-A PREROUTING -p tcp --dport {} -m addrtype --dst-type LOCAL -j DNAT --to-destination {}:{}"
    forward = [dnat.format(node_port, pod, port) for node_port, port in ports.items()]
    return "\n".join(["*nat", *forward, f"-A POSTROUTING -d {pod} -m conntrack --ctstate DNAT -j MASQUERADE", "COMMIT", ""])


def pod_address(node: Host) -> str:
    return f"10.244.{node.overlay_number}.10"


def _device_address(node: Host) -> str:
    return f"10.244.{node.overlay_number}.0"


def _mac(node: Host) -> str:
    return f"02:42:0a:f4:{node.overlay_number:02x}:00"
