# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPVS: how many services and destinations, and whether their rates are estimated (by a timer on one CPU before 6.2)."""

import re
from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import LIMIT, number_or_none, text

PATH = "/proc/net/ip_vs"


def parse(content: str) -> Dict[str, int]:
    """{services, destinations}: lines such as "TCP  C0A80001:0050 rr" and "  -> C0A80002:0050 Masq 1 0 0"."""
    return {
        "services": len(re.findall(r"^(?:TCP|UDP|SCTP|FWM)\s", content, re.MULTILINE)),
        "destinations": len(re.findall(r"^\s+-> [0-9A-Fa-f\[]", content, re.MULTILINE)),
    }


def read() -> Dict[str, Any]:
    """{services, destinations, complete, run_estimation|null}; null where the kernel (before 5.16) always estimates."""
    content = text(PATH)
    found: Dict[str, Any] = parse(content)
    found["complete"] = len(content) < LIMIT
    found["run_estimation"] = number_or_none("/proc/sys/net/ipv4/vs/run_estimation")
    return found
