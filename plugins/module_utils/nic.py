# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive queues of this host's interfaces: how many, which hash picks one, and which CPUs serve it.

Enough to say which queue a flow reaches (Toeplitz key, indirection table), or to say why that can't be known.
"""

import os
import re
import socket
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import ethtool, netlink
from ansible_collections.fleet.stall.plugins.module_utils.counters import interrupts
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import (
    Unavailable,
    cpus_of_list,
    cpus_of_mask,
    number_or_none,
    text,
    text_or_none,
)

SYS_NET = "/sys/class/net"
MOST_INTERFACES = 12
MOST_QUEUES = 256
RX_IRQ = re.compile(r"(?:tx-?rx|rx-?tx|rx|input|fp|comp|mlx4|mana_q)[-_.]?(\d+)", re.IGNORECASE)


def read() -> Dict[str, Any]:
    """{interfaces [INTERFACE, ..], omitted n, addresses_reason|null}; those with a default route first, then those with an address.

    INTERFACE {name, addresses, default_route, lower [interfaces below a bond, bridge or VLAN], driver|null, operstate, speed_mbps|null,
    threaded bool|null, rx_queues|null, channels {rx, tx, other, combined}|null,
    queues [{queue, irq|null, irq_name|null, cpus [..], rps_cpus [..]}], rss {available, reason, function, key, indirection, fields}}
    """
    reason = None
    try:
        addresses = netlink.addresses()
    except OSError as error:
        addresses, reason = {}, f"addresses of the interfaces: {error}"
    routes = default_routes(text_or_none("/proc/net/route") or "", text_or_none("/proc/net/ipv6_route") or "")
    existing = [name for _, name in socket.if_nameindex()]
    wanted = with_lower(select(existing, addresses, routes))
    found = _interfaces(wanted[:MOST_INTERFACES], addresses, routes)
    return {"interfaces": found, "omitted": max(0, len(wanted) - MOST_INTERFACES), "addresses_reason": reason}


def named(names: List[str]) -> List[Dict[str, Any]]:
    """[INTERFACE, ..] of these and of what they are made of, as far as they exist; without addresses and routes."""
    return _interfaces(with_lower([name for name in names if name in [existing for _, existing in socket.if_nameindex()]]), {}, [])


def _interfaces(names: List[str], addresses: Dict[str, List[str]], routes: List[str]) -> List[Dict[str, Any]]:
    lines = _interrupt_names()
    return [_interface(name, addresses.get(name, []), name in routes, lines) for name in names]


def default_routes(ipv4: str, ipv6: str) -> List[str]:
    """Interfaces that a default route leaves by, from /proc/net/route and /proc/net/ipv6_route."""
    found = []
    for line in ipv4.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == "00000000" and words[7] == "00000000":
            found.append(words[0])
    for line in ipv6.splitlines():
        words = line.split()
        if len(words) == 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            found.append(words[9])
    return sorted(set(found))


def select(existing: List[str], addresses: Dict[str, List[str]], routes: List[str]) -> List[str]:
    """The interfaces worth a look: with a default route, then with an address that is more than link-local."""
    bearing = [name for name in existing if any(not address.lower().startswith("fe80:") for address in addresses.get(name, []))]
    return [name for name in existing if name in routes] + [name for name in bearing if name not in routes]


def with_lower(names: List[str]) -> List[str]:
    """The interfaces, each followed by those that it is made of, to the bottom."""
    found: List[str] = []
    todo = list(names)
    while todo:
        name = todo.pop(0)
        if name not in found:
            found.append(name)
            todo = _lower(name) + todo
    return found


def receiving(channels: Optional[Dict[str, int]]) -> int:
    """Receive queues in use of a driver's channels; sysfs lists those that it could use. 0 where unknown."""
    return channels["rx"] + channels["combined"] if channels else 0


def queue_of_irq(name: str) -> Optional[int]:
    """The receive queue that an interrupt's name tells of: 3 for "eth0-TxRx-3", "mlx5_comp3@pci:.." or "virtio0-input.3"; else None."""
    found = RX_IRQ.search(name)
    return int(found.group(1)) if found else None


def _interface(name: str, addresses: List[str], default_route: bool, irq_names: Dict[str, str]) -> Dict[str, Any]:
    base = f"{SYS_NET}/{name}"
    queues, channels = _count_queues(base), _or_none(ethtool.channels, name)
    threaded = number_or_none(f"{base}/threaded")
    return {
        "name": name,
        "addresses": addresses,
        "default_route": default_route,
        "lower": _lower(name),
        "driver": _or_none(ethtool.driver, name),
        "operstate": text_or_none(f"{base}/operstate"),
        "speed_mbps": _speed(base),
        "threaded": None if threaded is None else bool(threaded),
        "rx_queues": receiving(channels) or queues,
        "channels": channels,
        "queues": _queues(name, receiving(channels) or queues or 0, irq_names),
        "rss": _rss(name),
    }


def _queues(name: str, count: int, irq_names: Dict[str, str]) -> List[Dict[str, Any]]:
    irqs = _irqs_of_queues(_device_irqs(name, irq_names), count)
    found = []
    for queue in range(min(count, MOST_QUEUES)):
        irq, irq_name = irqs.get(queue, (None, None))
        mask = text_or_none(f"{SYS_NET}/{name}/queues/rx-{queue}/rps_cpus")
        found.append(
            {
                "queue": queue,
                "irq": irq,
                "irq_name": irq_name,
                "cpus": _affinity(irq) if irq else [],
                "rps_cpus": cpus_of_mask(mask) if mask else [],
            }
        )
    return found


def _irqs_of_queues(irqs: Dict[str, str], queues: int) -> Dict[int, Tuple[str, str]]:
    found: Dict[int, Tuple[str, str]] = {}
    for irq, name in irqs.items():
        queue = queue_of_irq(name)
        if queue is not None:
            found.setdefault(queue, (irq, name))
    if not found and queues == 1 and len(irqs) == 1:
        found[0] = next(iter(irqs.items()))
    return found


def _affinity(irq: str) -> List[int]:
    """The CPUs that an interrupt really goes to where the kernel says so (4.15), else those that it may go to."""
    for name in ("effective_affinity_list", "smp_affinity_list"):
        cpus = text_or_none(f"/proc/irq/{irq}/{name}")
        if cpus:
            return cpus_of_list(cpus)
    return []


def _device_irqs(name: str, irq_names: Dict[str, str]) -> Dict[str, str]:
    """{irq: name} of the interface: by its device's MSI list, else by the interrupts that bear the interface's name."""
    # A virtio device's vectors belong to the PCI device above it.
    for folder in (f"{SYS_NET}/{name}/device/msi_irqs", f"{SYS_NET}/{name}/device/../msi_irqs"):
        try:
            numbers = sorted(os.listdir(folder), key=int)
        except (OSError, ValueError):
            continue
        return {irq: irq_names[irq] for irq in numbers if irq in irq_names}
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])")
    return {irq: label for irq, label in irq_names.items() if word.search(label)}


def _interrupt_names() -> Dict[str, str]:
    try:
        return interrupts.names(text(interrupts.PATH, interrupts.LIMIT))
    except Unavailable:
        return {}


def _rss(name: str) -> Dict[str, Any]:
    try:
        found = ethtool.rss(name)
    except OSError as error:
        return {"available": False, "reason": f"{name}: the driver does not show its hash: {error.strerror}"}
    if not found["indirection"]:
        return dict(found, available=False, reason=f"{name}: the driver has no table of queues")
    return dict(found, available=True, reason=None)


def _or_none(question: Any, name: str) -> Any:
    try:
        return question(name)
    except OSError:
        return None


def _count_queues(base: str) -> Optional[int]:
    try:
        return sum(1 for entry in os.listdir(f"{base}/queues") if entry.startswith("rx-"))
    except OSError:
        return None


def _lower(name: str) -> List[str]:
    try:
        return sorted(entry[len("lower_") :] for entry in os.listdir(f"{SYS_NET}/{name}") if entry.startswith("lower_"))
    except OSError:
        return []


def _speed(base: str) -> Optional[int]:
    speed = number_or_none(f"{base}/speed")
    return speed if speed is not None and speed > 0 else None
