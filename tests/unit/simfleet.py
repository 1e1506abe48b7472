"""A fleet on paper: hosts, faults by component, and the evidence that probes of it would bring in, exact to the probe.

A probe that meets a fault is answered when the fault ends. Everything else answers after a constant round trip.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils import mesh

MS = 1_000_000
EPOCH_S = 1_800_000_000
RTT_US = 400

PARAMETERS = {
    "window_s": 30,
    "interval_ms": 10,
    "tcp_interval_ms": 10,
    "service_interval_ms": 20,
    "http_new_interval_ms": 100,
    "threshold_ms": 10,
    "reply_timeout_ms": 2000,
    "sources_per_target": 3,
    "service_sources": 1,
    "source_ports": 4,
    "layers": ["node", "outside", "overlay", "nodeport", "http"],
    "protocols": ["icmp", "tcp_syn"],
    "families": [4],
    "outside_group": "outside",
    "node_group": "kube_nodes",
    "domains": {"datacenter": "dc_*", "rack": "rack_*"},
    "budget_host_pps": 3000,
    "budget_target_pps": 3000,
    "services": [
        {
            "name": "web",
            "protocol": "http",
            "node_port": 30080,
            "path": "/",
            "request": "",
            "backend": "node-b1-1",
            "target": None,
            "port": None,
        },
        {
            "name": "line",
            "protocol": "tcp",
            "node_port": 30081,
            "path": "/",
            "request": "ping\n",
            "backend": "node-b1-1",
            "target": None,
            "port": None,
        },
    ],
    "seed": "fleet.stall",
    "keep_raw": False,
    "counters": True,
    "event_limit": 200,
}
# What the lab of network namespaces uses, to spare its two CPUs
SPARSE = {
    "window_s": 20,
    "interval_ms": 20,
    "tcp_interval_ms": 50,
    "service_interval_ms": 50,
    "http_new_interval_ms": 200,
    "source_ports": 1,
}
GRADES = {"grades": {"critical": 20, "major": 2}}


def described(name: str, groups: list[str], number: int, **more) -> dict:
    node = "outside" not in groups
    return {
        "slug": name,
        "groups": groups,
        "address": f"198.18.{number // 250}.{number % 250 + 1}",
        "overlay_address": f"10.244.{number}.1" if node else None,
        "tcp_port": 22,
        **more,
    }


def lab_hosts(**changes: dict) -> dict[str, dict]:
    """Two datacenters, two racks each, two nodes a rack, one host outside."""
    hosts = {}
    for datacenter in "ab":
        for rack in "12":
            for node in "12":
                name = f"node-{datacenter}{rack}-{node}"
                hosts[name] = described(name, ["kube_nodes", f"dc_{datacenter}", f"rack_{datacenter}{rack}"], len(hosts))
    hosts["outside-1"] = described("outside-1", ["outside"], len(hosts))
    for name, change in changes.items():
        hosts[name.replace("_", "-")].update(change)
    return hosts


def many_hosts(count: int, racks: int = 20) -> dict[str, dict]:
    hosts = {f"n{i:04}": described(f"n{i:04}", ["kube_nodes", f"dc_{i % 3}", f"rack_{i % 3}_{i % racks}"], i) for i in range(count)}
    hosts.update({f"outside-{i}": described(f"outside-{i}", ["outside"], count + i) for i in range(max(1, count // 100))})
    return hosts


@dataclass
class Fault:
    """``stalls``: (start, length) in seconds of the window; ``hits``: the flows that meet it."""

    stalls: list[tuple[float, float]]
    hits: Callable[[dict], bool]


def fault(component: str, stalls: list[tuple[float, float]], part: Callable[[dict], bool] = lambda flow: True) -> Fault:
    return Fault(stalls, lambda flow: component in flow["components"] and part(flow))


def stalls(seed: str, window_s: float, length_s: tuple[float, float], gap_s: tuple[float, float]) -> list[tuple[float, float]]:
    """A series of stalls as the lab's injectors make it."""
    rng = random.Random(seed)
    found, at = [], rng.uniform(*gap_s)
    while at + length_s[1] < window_s - 0.05:
        length = rng.uniform(*length_s)
        found.append((at, length))
        at += length + rng.uniform(*gap_s)
    return found


@dataclass
class Fleet:
    """``silent``: flows to and from these hosts are not answered; ``refused``: share of a flow's answers that are
    RST; ``offsets_s``: by how much a host's clock is ahead."""

    hosts: dict[str, dict] = field(default_factory=lab_hosts)
    changes: dict = field(default_factory=dict)
    faults: Iterable[Fault] = ()
    silent: Callable[[dict], bool] = lambda flow: False
    refused: Callable[[dict], float] = lambda flow: 0.0
    loss: Callable[[dict], float] = lambda flow: 0.0
    offsets_s: dict[str, float] = field(default_factory=dict)
    cards: dict[str, dict] = field(default_factory=dict)
    blips: float = 0.0

    def manifest(self) -> dict:
        window = {**PARAMETERS, **self.changes}["window_s"]
        run = {"id": "run-1", "started_at": "2027-01-15T08:00:00Z", "starts_at": EPOCH_S, "ends_at": EPOCH_S + window, "versions": {}}
        return mesh.build(self.hosts, {**PARAMETERS, **self.changes}, run)

    def evidence(self, manifest: dict) -> dict[str, dict]:
        window = manifest["run"]["parameters"]["window_s"]
        by_source: dict[str, list[dict]] = {name: [] for name, host in manifest["hosts"].items() if host["in_limit"]}
        for flow in manifest["flows"]:
            by_source[flow["source"]].append(flow)
        return {name: self._result(name, flows, manifest, window) for name, flows in by_source.items()}

    def _result(self, name: str, flows: list[dict], manifest: dict, window: float) -> dict:
        offset = round(self.offsets_s.get(name, 0.0) * 1e9)
        base = EPOCH_S * 10**9 + offset
        samples = {
            str(flow["id"]): {"min_ns": 200_000 + offset - round(self.offsets_s.get(flow["source"], 0.0) * 1e9), "n": 100}
            for flow in manifest["flows"]
            if flow["target"] == name and flow["protocol"] == "icmp" and not self.silent(flow)
        }
        return {
            "schema_version": 1,
            "run": manifest["run"]["id"],
            "host": name,
            "status": "measured",
            "reason": None,
            "clock": {"started_ns": base, "ended_ns": base + round(window * 1e9), "observed_s": window, "skew_s": 0.0, "stepped": False},
            "versions": {},
            "capabilities": {},
            "flows": [self._flow(flow, manifest, window, offset) for flow in flows],
            "lateness": {"p50_us": 50, "p99_us": 300, "max_ms": 1.0, "late": []},
            "clock_samples": samples,
            "budget": {"limit_pps": 3000, "sent_pps": 100, "unsent": 0},
            "cost": {"cpu_s": 1.0, "rss_kb": 20000, "wall_s": window},
            "counters": {
                "nic": {
                    "available": True,
                    "reason": None,
                    "start": {"interfaces": [self._card(name, manifest)]},
                    "end": None,
                    "series": None,
                }
            },
            "warnings": [],
        }

    def _card(self, name: str, manifest: dict) -> dict:
        address = manifest["hosts"][name]["address"]
        return {"name": "eth0", "addresses": [address], "lower": [], "rx_queues": None, "queues": [], "rss": {}, **self.cards.get(name, {})}

    def _flow(self, flow: dict, manifest: dict, window: float, offset: int) -> dict:
        rng = random.Random(f"{flow['source']} {flow['target']} {flow['layer']} {flow['protocol']} {flow['source_port']}")
        sent = int(window * 1000 / flow["interval_ms"])
        if self.silent(flow):
            return counts(flow, sent, 0, {}, [], manifest)
        held = [stall for one in self.faults if one.hits(flow) for stall in one.stalls]
        if rng.random() < self.blips:
            held.append((rng.uniform(0, window - 0.1), rng.uniform(0.011, 0.016)))
        phase = rng.uniform(0, flow["interval_ms"]) / 1000
        threshold = manifest["run"]["parameters"]["threshold_ms"] / 1000
        events = [event for stall in merged(held) if (event := view(stall, phase, flow["interval_ms"] / 1000, threshold, offset))]
        delayed = sum(event["packets"] for event in events)
        lost = round(sent * self.loss(flow))
        histogram = {"260": sent - delayed - lost, "500": delayed} if delayed else {"260": sent - lost}
        return {**counts(flow, sent, sent - lost, histogram, events, manifest), "refused": round((sent - lost) * self.refused(flow))}


def merged(held: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for start, length in sorted(held):
        if found and start <= sum(found[-1]):
            found[-1] = (found[-1][0], max(sum(found[-1]), start + length) - found[-1][0])
        else:
            found.append((start, length))
    return found


def view(stall: tuple[float, float], phase: float, interval: float, threshold: float, offset: int) -> dict | None:
    """The event of a flow that sends at phase, phase + interval, ..: from its first probe in the stall to the drain."""
    start, length = stall
    end = start + length
    first = phase + interval * max(0, -(-(start - phase) // interval))
    if end - first < threshold:
        return None
    return {
        "start_ns": EPOCH_S * 10**9 + round(first * 1e9) + offset,
        "duration_ms": round((end - first) * 1000, 3),
        "packets": int((end - first - threshold) / interval) + 1,
        "lost": 0,
        "max_ms": round((end - first) * 1000, 3),
        "censored": False,
        "tx_delay_ms": None,
    }


def counts(flow: dict, sent: int, received: int, histogram: dict, events: list[dict], manifest: dict) -> dict:
    return {
        "id": flow["id"],
        "sent": sent,
        "received": received,
        "lost": sent - received,
        "unsent": 0,
        "refused": 0,
        "errors": {},
        "baseline_us": RTT_US if received else None,
        "local_address": manifest["hosts"][flow["source"]]["address"],
        "local_port": flow["source_port"] or (40000 + flow["id"] if flow["protocol"] in ("tcp_kept", "http_kept") else None),
        "histogram": histogram,
        "events": events,
        "events_total": len(events),
        "events_own_lateness": 0,
        "events_omitted": 0,
    }


def not_measured(stage: str, reason: str, remedy: str) -> dict:
    """What the action plugins write about a host that gave no result."""
    return {"status": "not_measured", "stage": stage, "reason": reason, "remedy": remedy}
