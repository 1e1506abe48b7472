# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded reads of small kernel files, and why one can't be read."""

from typing import List, Optional

LIMIT = 4 << 20
CHUNK = 1 << 16


class Unavailable(Exception):
    """What can't be measured on this host; the message is the reason that the result shows."""


def text(path: str, limit: int = LIMIT) -> str:
    """The first `limit` bytes of a file. Raises Unavailable with the path and the kernel's reason."""
    chunks = []
    try:
        with open(path, "rb", buffering=0) as file:
            while limit > 0:
                # Piecemeal: for a file of /proc/sys the kernel allocates as much as is asked for.
                chunk = file.read(min(limit, CHUNK))
                if not chunk:
                    break
                chunks.append(chunk)
                limit -= len(chunk)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from None
    return b"".join(chunks).decode("utf-8", "replace")


def text_or_none(path: str, limit: int = LIMIT) -> Optional[str]:
    """As `text`, stripped; None where the file can't be read or is empty."""
    try:
        return text(path, limit).strip() or None
    except Unavailable:
        return None


def number_or_none(path: str) -> Optional[int]:
    """The integer that a file holds, else None."""
    found = text_or_none(path)
    try:
        return int(found) if found else None
    except ValueError:
        return None


def cpus_of_list(cpus: str) -> List[int]:
    """CPU numbers of the kernel's list format: "0-3,8" is [0, 1, 2, 3, 8]."""
    found: List[int] = []
    for part in cpus.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.extend(range(int(first), int(last or first) + 1))
    return found


def cpus_of_mask(mask: str) -> List[int]:
    """CPU numbers of the kernel's mask format: comma-separated hexadecimal words of 32 bits, "00000001,00000003" is [0, 1, 32]."""
    bits = int(mask.strip().replace(",", "") or "0", 16)
    return [cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1]


def online_cpus() -> List[int]:
    return cpus_of_list(text("/sys/devices/system/cpu/online"))
