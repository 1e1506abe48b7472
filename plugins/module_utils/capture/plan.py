# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a capture plan sound."""

import ipaddress
import math
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.plan import PROTOCOLS, head_problems, natural_problems

SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 1.0, 3600.0
MOST_FLOWS = 500
MIB = 1 << 20
# Below, a stall passes between two samples; above, the profiler is the stall.
STACK_HZ = (49, 4999)
# Of what is free where the files lie, often a tmpfs of all services of the host: what each of several files may take.
FREE_SHARE = 4
NUMBERS = ("threshold_ms", "slow_call_ms")
SWITCHES = ("memory_stat", "connections", "only_packets")


def problems(plan: Dict[str, Any]) -> List[str]:
    """Everything wrong with a plan, as sentences that name the value and the remedy; an empty list for a sound plan."""
    found = head_problems(plan) + natural_problems(plan, ("token", "strace_bytes", "bytes_limit"))
    for name in NUMBERS:
        if not _positive(plan.get(name)):
            found.append(f"plan.{name} is {plan.get(name)!r}: give a number above 0")
    if not _positive(plan.get("strace_s")) and plan.get("strace_s") != 0:
        found.append(f"plan.strace_s is {plan.get('strace_s')!r}: give seconds, 0 for no strace")
    hz = plan.get("stack_hz")
    if not isinstance(hz, int) or not STACK_HZ[0] <= hz <= STACK_HZ[1]:
        found.append(f"plan.stack_hz is {hz!r}: give an integer from {STACK_HZ[0]} to {STACK_HZ[1]} (999 is usual)")
    for name in SWITCHES:
        if not isinstance(plan.get(name), bool):
            found.append(f"plan.{name} is {plan.get(name)!r}: give true or false")
    ends = plan.get("endpoints")
    if not isinstance(ends, list) or not all(map(_endpoint, ends)):
        found.append(f"plan.endpoints is {ends!r:.80}: give a list of [address, port] of services, [] for none")
    found += _flows_problems("flows", plan.get("flows"), "arrive at this host")
    found += _flows_problems("packets", plan.get("packets"), "tcpdump is to record, [] for none")
    return found or _window_problems(plan)


def within(plan: Dict[str, Any], free: int) -> Tuple[Dict[str, Any], Optional[str]]:
    """The plan with no more bytes than there is room for where `free` of them are left, and a sentence if the recordings got fewer."""
    room = free // FREE_SHARE
    fitting = dict(plan, **{name: min(plan[name], room) for name in ("bytes_limit", "strace_bytes")})
    if fitting["bytes_limit"] == plan["bytes_limit"]:
        return fitting, None
    return fitting, (
        f"only {free / MIB:.1f} MiB are free where the recordings are kept: "
        f"they may take {room / MIB:.1f} MiB, not {plan['bytes_limit'] / MIB:.1f}"
    )


def _flows_problems(name: str, flows: Any, which: str) -> List[str]:
    if not isinstance(flows, list):
        return [f"plan.{name} is {flows!r:.80}: give the list of flows that {which}"]
    if len(flows) > MOST_FLOWS:
        return [f"plan.{name} holds {len(flows)} flows, at most {MOST_FLOWS} are traced on one host: lower the sources per target"]
    return [sentence for flow in flows for sentence in _flow_problems(flow)]


def _flow_problems(flow: Any) -> List[str]:
    if not isinstance(flow, dict) or not isinstance(flow.get("id"), int):
        return [f"flow {flow!r:.80} has no integer id: take the flows as the plan action made them"]
    name = f"flow {flow['id']}"
    found = []
    if flow.get("protocol") not in PROTOCOLS:
        found.append(f"{name}: protocol {flow.get('protocol')!r:.40} is unknown: use one of {', '.join(PROTOCOLS)}")
    if flow.get("family") not in (4, 6):
        found.append(f"{name}: family is {flow.get('family')!r:.40}: give 4 or 6")
    if not _positive(flow.get("interval_ms")):
        found.append(f"{name}: interval_ms is {flow.get('interval_ms')!r:.40}: give a number above 0")
    if flow.get("protocol") != "icmp" and not _port(flow.get("port")):
        found.append(f"{name}: port is {flow.get('port')!r:.40}: give 1 to 65535")
    if flow.get("source_port") is not None and not _port(flow["source_port"]):
        found.append(f"{name}: source_port is {flow['source_port']!r:.40}: give 1 to 65535 or null")
    if flow.get("source_address") is not None and not _address(flow["source_address"]):
        found.append(f"{name}: source_address is {flow['source_address']!r:.80}: give an IP address or null")
    return found


def _window_problems(plan: Dict[str, Any]) -> List[str]:
    window_s = plan["ends_at"] - plan["starts_at"]
    if SHORTEST_WINDOW_S <= window_s <= LONGEST_WINDOW_S:
        return []
    return [f"the window is {window_s:g} s long: give {SHORTEST_WINDOW_S:g} s to {LONGEST_WINDOW_S:g} s"]


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _endpoint(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _address(value[0]) and _port(value[1])


def _port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _address(value: Any) -> bool:
    try:
        return bool(ipaddress.ip_address(value))
    except ValueError:
        return False
