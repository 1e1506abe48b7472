# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pressure stall information, /proc/pressure/* (kernel 4.20 and later)."""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

RESOURCES = ("cpu", "io", "memory", "irq")


def parse(content: str) -> Dict[str, Dict[str, float]]:
    """{some: {avg10, avg60, avg300 (percent), total (us)}, full: {..}}"""
    found = {}
    for line in content.splitlines():
        kind, *pairs = line.split()
        found[kind] = {name: float(value) if "." in value else int(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    return found


def read() -> Dict[str, Any]:
    """{cpu: {some, full}, io: .., memory: .., irq: ..}, as far as the kernel has them."""
    found, reason = {}, ""
    for resource in RESOURCES:
        try:
            found[resource] = parse(text(f"/proc/pressure/{resource}"))
        except Unavailable as error:
            reason = reason or str(error)
    if not found:
        raise Unavailable(reason)
    return found
