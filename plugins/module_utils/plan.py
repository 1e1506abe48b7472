# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a plan sound, and when its window is by the clock of this host."""

import hashlib
import math
import re
from typing import Any, Dict, Iterable, List

from ansible_collections.fleet.stall.plugins.module_utils import pacing

SCHEMA_VERSION = 1
PROTOCOLS = ("icmp", "tcp_syn", "tcp_connect", "tcp_kept", "http_new", "http_kept")
WINDOW_IN_INTERVALS = 10
LONGEST_WINDOW_S = 86400.0
# As many as have a row each in a result of 100 kB.
MOST_FLOWS = 3000


def problems(plan: Dict[str, Any]) -> List[str]:
    """Everything wrong with an observe plan, as sentences that name the value and the remedy; an empty list for a sound plan."""
    found = head_problems(plan)
    for name in ("threshold_ms", "reply_timeout_ms", "budget_pps"):
        if not _is_number(plan.get(name)) or plan[name] <= 0:
            found.append(f"plan.{name} is {plan.get(name)!r}: give a number above 0")
    found += natural_problems(plan, ("token", "event_limit"))
    flows = plan.get("flows")
    if not isinstance(flows, list):
        return [*found, f"plan.flows is {flows!r}: give a list (an empty one to read the counters only)"]
    if len(flows) > MOST_FLOWS:
        found.append(f"plan.flows holds {len(flows)} flows, at most {MOST_FLOWS} are probed from one host: lower the sources per target")
    for flow in flows:
        found += _flow_problems(flow)
    return found or _window_problems(plan)


def head_problems(plan: Dict[str, Any]) -> List[str]:
    """What is wrong with the part that all kinds of plan have in common: version, names and times."""
    found = []
    if plan.get("schema_version") != SCHEMA_VERSION:
        found.append(
            f"plan.schema_version is {plan.get('schema_version')!r}, this module knows {SCHEMA_VERSION}: "
            "use one version of the collection for planning and for observing"
        )
    for name in ("run", "host"):
        if not isinstance(plan.get(name), str) or not plan.get(name):
            found.append(f"plan.{name} is {plan.get(name)!r}: give a non-empty string")
    for name in ("starts_at", "ends_at", "dispatched_at"):
        if not _is_number(plan.get(name)):
            found.append(f"plan.{name} is {plan.get(name)!r}: give epoch seconds")
    return found


def natural_problems(plan: Dict[str, Any], names: Iterable[str]) -> List[str]:
    """A sentence for each of these that is no integer of 0 or more."""
    wrong = [name for name in names if not isinstance(plan.get(name), int) or isinstance(plan[name], bool) or plan[name] < 0]
    return [f"plan.{name} is {plan.get(name)!r}: give an integer of 0 or more" for name in wrong]


def _flow_problems(flow: Any) -> List[str]:
    if not isinstance(flow, dict) or not isinstance(flow.get("id"), int):
        return [f"flow {flow!r:.80} has no integer id: take the flows as the plan action made them"]
    name = f"flow {flow['id']} (to {flow.get('target')!r:.80})"
    found = []
    if flow.get("protocol") not in PROTOCOLS:
        found.append(f"{name}: protocol {flow.get('protocol')!r:.40} is unknown: use one of {', '.join(PROTOCOLS)}")
    if not isinstance(flow.get("address"), str) or not flow.get("address"):
        found.append(f"{name}: address is {flow.get('address')!r:.80}: give an IP address or a name that resolves")
    if not _is_number(flow.get("interval_ms")) or flow["interval_ms"] < 1:
        found.append(f"{name}: interval_ms is {flow.get('interval_ms')!r:.40}: give 1 ms or more")
    return found


def _window_problems(plan: Dict[str, Any]) -> List[str]:
    window_s = plan["ends_at"] - plan["starts_at"]
    if not 0 < window_s <= LONGEST_WINDOW_S:
        return [f"the window is {window_s:g} s long: give more than 0 s and at most {LONGEST_WINDOW_S:g} s"]
    slowest_ms = max([flow["interval_ms"] for flow in plan["flows"]] or [0])
    shortest_s = WINDOW_IN_INTERVALS * slowest_ms / 1000.0
    # A hair of slack: the two ends are floats of ten digits before the point.
    if window_s + 1e-6 < shortest_s:
        return [
            f"the window of {window_s:g} s is shorter than {WINDOW_IN_INTERVALS} intervals of {slowest_ms:g} ms: "
            f"make it {shortest_s:g} s or longer, or probe more often"
        ]
    return []


def in_local_time(plan: Dict[str, Any], now: float) -> Dict[str, Any]:
    """The plan with its times by this host's clock, which shows `now` (epoch seconds), and with `skew_s`: how far that clock is off.

    Whoever reads the plan later on this host finds it dispatched now, by this very clock, and has nothing left to convert.
    """
    window = pacing.agree(plan["starts_at"], plan["ends_at"], plan["dispatched_at"], now)
    return dict(plan, starts_at=window.starts_at, ends_at=window.ends_at, dispatched_at=now, skew_s=window.skew_s)


def job_name(run: str, host: str) -> str:
    """The name of the directory of one run on one host: safe as a file name whatever the two strings hold."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", run).strip("._")[:60]
    return f"{readable}.{_digest(run, host)}"


def _digest(run: str, host: str) -> str:
    return hashlib.sha256(f"{run}\0{host}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
