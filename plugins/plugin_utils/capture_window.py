# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window of a capture: what its hosts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.module_utils.capture.connections import REQUESTS
from ansible_collections.fleet.stall.plugins.plugin_utils import control, endpoints, packet_delta, rows
from ansible_collections.fleet.stall.plugins.plugin_utils.application import Asked
from ansible_collections.fleet.stall.plugins.plugin_utils.endpoints import canonical
from ansible_collections.fleet.stall.plugins.plugin_utils.findings import Judged
from ansible_collections.fleet.stall.plugins.plugin_utils.network import kind
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Stall, join
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained

# Nobody had the receiving CPU for long enough to explain a stall, but it was not free either
KEPT = ("several", "handler", "stolen")


class Window:
    """The capture window: what all of its hosts share, and what it tells of each."""

    def __init__(
        self,
        manifest: Mapping,
        evidence: Mapping[str, Mapping],
        judged: Judged,
        catalogue: Any,
        before: Any,
        captures: Mapping[str, Mapping],
        blamed: Mapping[str, Sequence[str]],
    ) -> None:
        """:param blamed: host -> components that the first window blames"""
        self.captures, self.blamed = captures, blamed
        self.manifest, self.evidence, self.judged, self.catalogue, self.before = manifest, evidence, judged, catalogue, before
        self.control: control.Control | None = None

    def stalls(self, host: str) -> list[Stall]:
        """Those that speak against the host; what several of its services had at once is one.

        Of services that the first window blames few flows are left, which alone may blame none: what two of them saw counts as well.
        """
        if host not in self.manifest["hosts"]:
            return []
        share = self.judged.shares.of[host]
        found = rows.stalls_of(host, share, self.judged.fleet)
        services = {component for component in self.blamed.get(host, ()) if kind(component) == "app"}
        services |= {blamed.component for blamed in share.blamed if blamed.kind == "app"}
        if not services:
            return found
        sure = {view for stall in found for view in stall.events}
        flows = self.judged.fleet.network.flows
        more = {view for stall in share.unexplained for view in stall.events if services & set(flows[view.flow].components)}
        joined = join(sorted(sure | more, key=lambda view: (view.start_ns, view.end_ns, view.flow)))
        return [stall for stall in joined if len({view.flow for view in stall.events}) > 1 or not sure.isdisjoint(stall.events)]

    def is_probed(self, host: str) -> bool:
        """Whether anything would have shown a stall of the host."""
        return host in self.judged.fleet.tallies and bool(self.judged.fleet.tallies[host].answered)

    def packets(self, host: str, role: str, explained: Sequence[Explained]) -> tuple[dict[str, Any] | None, list[str]]:
        """What the taps on both ends of its flows tell of a suspect, and what was missing for it."""
        if role != "suspect" or not self.manifest["run"]["parameters"].get("capture_packets"):
            return None, []
        stalls = [(one.stall, one.blocker is not None or one.note in KEPT) for one in explained]
        return packet_delta.delta(host, stalls, self.manifest["flows"], self.captures, self.judged.offsets)

    def side(self, row: Mapping[str, Any]) -> str | None:
        """On whose side its stalls are: by the first window, by this one if the first saw none (a rare stall, a host asked for by name)."""
        host = row["host"]
        if row["blame"]["side"] or host not in self.manifest["hosts"]:
            return row["blame"]["side"]
        return rows.row(host, self.judged.shares.of[host], self.judged.fleet)["blame"]["side"]

    def since_ns(self) -> int | None:
        """When the first prober began, in the common base."""
        starts = {host: (result.get("clock") or {}).get("started_ns") for host, result in self.judged.measured.items()}
        return min((start - self.judged.offsets.get(host, 0) for host, start in starts.items() if isinstance(start, int)), default=None)

    def probed(self, offset: int) -> tuple[int, int]:
        """From when to when probes were sent, on a clock that is ahead of the base by `offset`."""
        ends = {host: (result.get("clock") or {}).get("ended_ns") for host, result in self.judged.measured.items()}
        last = max((end - self.judged.offsets.get(host, 0) for host, end in ends.items() if isinstance(end, int)), default=2**62)
        return (self.since_ns() or 0) + offset, last + offset

    def is_tied(self, host: str) -> bool:
        """Whether a probe ties the host's clock to another's."""
        flows = {str(flow["id"]): flow for flow in self.manifest["flows"]}
        for other, result in self.judged.measured.items():
            ends = [flow for flow_id in result.get("clock_samples") or {} if (flow := flows.get(str(flow_id)))]
            if (
                any(host in (flow["source"], flow["target"]) and flow["source"] != flow["target"] for flow in ends)
                and host in self.judged.measured
            ):
                return True
            if other == host and ends:
                return True
        return False

    def asks_service(self, stall: Stall) -> bool:
        """Whether nothing but requests stalled, which a process answers; the kernel answers all other probes."""
        protocols = {flow["id"]: flow["protocol"] for flow in self.manifest["flows"]}
        return all(protocols.get(event.flow) in REQUESTS for event in stall.events)

    def asked(self, stalls: Sequence[Stall]) -> Asked:
        """What the stalled flows and their services listen on, and from where they ask."""
        ids = {event.flow for stall in stalls for event in stall.events}
        flows = [flow for flow in self.manifest["flows"] if flow["id"] in ids]
        names = {flow.get("service") for flow in flows if flow.get("service")}
        services = [service for service in self.manifest["run"]["parameters"].get("services") or [] if service["name"] in names]
        ports = [flow.get("port") for flow in flows] + [service.get(key) for service in services for key in ("port", "node_port")]
        clients = {address for flow in flows for text in self._addresses(flow) if (address := canonical(text))}
        behind = {end for service in services for text in service.get("endpoints") or [] if (end := endpoints.parse(text))}
        return Asked({port for port in ports if isinstance(port, int)}, clients, frozenset(behind))

    def _addresses(self, flow: Mapping[str, Any]) -> list[Any]:
        """Where a flow comes from: as its source measured it, else all that the source is known by."""
        rows_of_source = (self.evidence.get(flow["source"]) or {}).get("flows") or []
        measured = [row["local_address"] for row in rows_of_source if row["id"] == flow["id"] and row.get("local_address")]
        source = self.manifest["hosts"].get(flow["source"]) or {}
        return measured or [source.get(key) for key in ("address", "address6", "overlay_address")]
