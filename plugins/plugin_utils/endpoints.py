# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a service listens, behind any NAT: ``192.0.2.1:8080``, ``[2001:db8::1]:8080``."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Any


def canonical(text: Any) -> str | None:
    """An address as it is compared: without brackets and zone, IPv4 where it is that within IPv6; None for what is no address."""
    try:
        address = ip_address(str(text).strip("[]").partition("%")[0])
    except ValueError:
        return None
    return str((address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address)


def parse(text: Any) -> tuple[str, int] | None:
    """(canonical address, port) of an endpoint, None for what is none."""
    before, colon, port = str(text).rpartition(":")
    address = canonical(before)
    is_bare = ":" in before and not before.startswith("[")
    if not colon or address is None or is_bare or not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 65536:
        return None
    return address, int(port[:6])


def spelled(address: str, port: int) -> str:
    """The endpoint at an address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
