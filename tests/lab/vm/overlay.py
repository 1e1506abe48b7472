"""The article's network between the machines: IPIP tunnels as calico lays them, pods behind a bridge, NodePorts by DNAT. Pure data."""

from __future__ import annotations

from pathlib import Path

from .. import services
from ..overlay import node_port_rules, pod_address
from ..topology import Host, Topology
from .archive import Entry, link, program, text

PROGRAM = "usr/local/lib/lab/services.py"
WANTED = "etc/systemd/system/multi-user.target.wants"

# The tunnel device takes the address that a packet's route goes by for the other end of the tunnel
SCRIPT = """\
#!/bin/sh
set -e
modprobe ipip
sysctl -q -w net.ipv4.ip_forward=1
ip link set tunl0 up
ip addr add {own_network}.0/32 dev tunl0
ip link add cni0 type bridge forward_delay 0
ip link set cni0 up
ip addr add {own_network}.1/24 dev cni0
{routes}
{pod}iptables-restore </etc/lab-node-ports
"""
ROUTE = "ip route add {network}.0/24 via {address} dev tunl0 onlink"
POD = """\
ip netns add pod
ip link add pod type veth peer name eth0 netns pod
ip link set pod master cni0 up
ip -n pod link set lo up
ip -n pod link set eth0 up
ip -n pod addr add {address}/24 dev eth0
ip -n pod route add default via {gateway}
"""
OVERLAY_UNIT = """\
[Unit]
Description=Overlay of the lab's nodes
After=systemd-networkd.service
Wants=systemd-networkd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-overlay

[Install]
WantedBy=multi-user.target
"""
POD_UNIT = f"""\
[Unit]
Description=The pod behind the lab's NodePorts
After=lab-overlay.service
Requires=lab-overlay.service

[Service]
ExecStart=/usr/sbin/ip netns exec pod /usr/bin/python3 /{PROGRAM}

[Install]
WantedBy=multi-user.target
"""


def of(lab: Topology, host: Host) -> dict[str, Entry]:
    pod_node = lab.host(lab.pod_node)
    files = {
        "usr/local/sbin/lab-overlay": program(script(lab, host, with_pod=host == pod_node)),
        "etc/lab-node-ports": text(node_port_rules(pod_address(pod_node), services.NODE_PORTS)),
        "etc/systemd/system/lab-overlay.service": text(OVERLAY_UNIT),
        f"{WANTED}/lab-overlay.service": link("/etc/systemd/system/lab-overlay.service"),
    }
    if host == pod_node:
        files[PROGRAM] = Entry(Path(services.__file__).read_bytes())
        files["etc/systemd/system/lab-pod.service"] = text(POD_UNIT)
        files[f"{WANTED}/lab-pod.service"] = link("/etc/systemd/system/lab-pod.service")
    return files


def script(lab: Topology, host: Host, with_pod: bool) -> str:
    others = [other for other in lab.nodes if other != host]
    routes = [ROUTE.format(network=_network(other), address=other.address) for other in others]
    pod = POD.format(address=pod_address(host), gateway=host.overlay_address) if with_pod else ""
    return SCRIPT.format(own_network=_network(host), routes="\n".join(routes), pod=pod)


def _network(node: Host) -> str:
    return node.overlay_address.rpartition(".")[0]
