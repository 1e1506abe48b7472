# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/softirqs: how often each softirq vector ran, per CPU."""

from typing import Any, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

PATH = "/proc/softirqs"


def parse(content: str) -> Dict[str, Any]:
    """{cpus: [int, ..], vectors: {NET_RX: [count per CPU, in the order of cpus], ..}}"""
    lines = content.splitlines()
    cpus = _cpus(lines[0]) if lines else []
    if not cpus:
        raise Unavailable(f"{PATH}: no header of CPUs")
    vectors = {}
    for line in lines[1:]:
        name, _, counts = line.partition(":")
        vectors[name.strip()] = [int(word) for word in counts.split()[: len(cpus)]]
    return {"cpus": cpus, "vectors": vectors}


def _cpus(header: str) -> List[int]:
    return [int(word[3:]) for word in header.split() if word.startswith("CPU") and word[3:].isdecimal()]


def read() -> Dict[str, Any]:
    return parse(text(PATH))


def sample(start: Dict[str, Any]) -> Dict[str, int]:
    """NET_RX runs so far, per CPU."""
    now = read()
    return {str(cpu): count for cpu, count in zip(now["cpus"], now["vectors"].get("NET_RX", []))}
