"""What makes a machine the one it is: the files that its second disk brings, as pure data."""

from __future__ import annotations

import uuid

from .. import topology
from ..topology import Host, Topology
from . import overlay
from .archive import Entry, text

NETWORK = """\
[Match]
Name=eth0

[Network]
Address={address}/24
Address={address6}/64
Gateway={gateway}
Gateway={gateway6}
IPv6AcceptRA=no
LinkLocalAddressing=no
IPv6DuplicateAddressDetection=0
"""


def of(lab: Topology, host: Host, host_key: str, authorized: str) -> dict[str, Entry]:
    """Name, addresses, keys. `host_key`: private key of its sshd; `authorized`: public key that root is reached with."""
    subnet = next(subnet for subnet in lab.subnets if subnet.name == host.subnet)
    gateway, gateway6 = topology.gateway(lab.slot, subnet)
    known = "".join(f"{other.address} {other.name}\n{other.address6} {other.name}\n" for other in lab.hosts)
    return {
        "etc/hostname": text(host.name + "\n"),
        "etc/hosts": text(f"127.0.0.1 localhost\n{known}"),
        "etc/machine-id": text(uuid.uuid4().hex + "\n"),
        "etc/ssh/ssh_host_ed25519_key": text(host_key, 0o600),
        "etc/systemd/network/eth0.network": text(NETWORK.format(**vars(host), gateway=gateway, gateway6=gateway6)),
        "root/.ssh/authorized_keys": text(authorized + "\n", 0o600),
        **overlay.of(lab, host),
    }
