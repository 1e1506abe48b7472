# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of each host and what came back: sent, answered, lost; loss is kept apart from delay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

ADDRESS_LAYERS = ("node", "outside")
# A pair loses notably if it loses this share and this many
NOTABLE_LOSS, NOTABLE_LOST = 0.01, 3
# Of a port that is served, a SYN that finds the one before half open is refused: every second one at most
MOSTLY_REFUSED = 0.9


@dataclass(slots=True)
class Tally:
    """Probes to one host. ``answered`` and ``silent``: flows with and without any answer, ``refused``: see ``is_refused``; as in the
    manifest."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    answered: list[dict] = field(default_factory=list)
    silent: list[dict] = field(default_factory=list)
    refused: list[dict] = field(default_factory=list)
    observed_s: float = 0.0

    def silent_ways(self) -> list[str]:
        """Layers and protocols of which not one flow was answered."""
        return sorted(_ways(self.silent) - _ways(self.answered))

    def refusal(self) -> str | None:
        """Which NodePorts nobody got through, if any were refused."""
        ports = sorted({flow["port"] for flow in self.refused} - {flow["port"] for flow in self.answered if flow["layer"] == "nodeport"})
        if not ports:
            return None
        which = f"port {ports[0]} is" if len(ports) == 1 else f"ports {and_more([str(port) for port in ports], 3)} are"
        return f"{which} refused, as where nothing is served at that address (stall_services, stall_node_group)"

    def silent_sources(self) -> list[str]:
        """Hosts that never got an answer from the host's own address."""
        return sorted(_sources(self.silent) - _sources(self.answered))


def is_refused(flow: Mapping, counts: Mapping) -> bool:
    """Whether a NodePort's flow tells nothing of NAT: a port that is not served there is refused by the node's own kernel.

    :param flow: as in the manifest
    :param counts: its row in observe.json, which may be of before refusals were counted
    """
    refused = counts.get("refused") or 0
    return flow["layer"] == "nodeport" and refused > 0 and refused >= MOSTLY_REFUSED * counts["received"]


def _ways(flows: Iterable[Mapping]) -> set[str]:
    return {f"{flow['layer']} by {flow['protocol']}" for flow in flows}


def _sources(flows: Iterable[Mapping]) -> set[str]:
    return {flow["source"] for flow in flows if flow["layer"] in ADDRESS_LAYERS}


def tallies(manifest: Mapping, measured: Mapping[str, Mapping]) -> dict[str, Tally]:
    """By host, what the others measured of it.

    :param measured: host -> result of those whose status is measured
    """
    flows = {flow["id"]: flow for flow in manifest["flows"]}
    found: dict[str, Tally] = {host: Tally() for host in manifest["hosts"]}
    for result in measured.values():
        # A source that nobody answers says nothing of the others
        is_mute = not any(counts["received"] for counts in result.get("flows") or [])
        for counts in result.get("flows") or []:
            flow = flows.get(counts["id"])
            if flow is None:
                continue
            tally = found[flow["target"]]
            tally.sent += counts["sent"]
            tally.received += counts["received"]
            tally.lost += counts["lost"]
            if is_refused(flow, counts):
                tally.refused.append(flow)
            elif counts["received"]:
                tally.answered.append(flow)
                tally.observed_s = max(tally.observed_s, (result.get("clock") or {}).get("observed_s") or 0.0)
            elif counts["sent"] and not is_mute:
                tally.silent.append(flow)
    return found


def lossy(manifest: Mapping, measured: Mapping[str, Mapping]) -> dict[str, dict[str, float]]:
    """Hosts that lose packets notably: host -> layer (``address`` for node and outside) -> share lost with those it loses with.

    A lossy pair speaks against both of its hosts; the one with most such pairs is named, if they are half of its pairs or more,
    and its pairs are set aside, so that no host is named for what another one loses.
    """
    pairs = _pairs(manifest, measured)
    found: dict[str, dict[str, float]] = defaultdict(dict)
    # What a host loses at its own address it loses on all layers
    for layer in sorted(pairs, key=lambda layer: (layer != "address", layer)):
        left = {ends: counts for ends, counts in pairs[layer].items() if layer == "address" or not ends & found.keys()}
        while named := _most_lossy(left):
            for host in named:
                notable = [counts for ends, counts in left.items() if host in ends and _is_notable(counts)]
                found[host][layer] = sum(lost for _, lost in notable) / sum(sent for sent, _ in notable)
            left = {ends: counts for ends, counts in left.items() if not ends & set(named)}
    return dict(found)


def _pairs(manifest: Mapping, measured: Mapping[str, Mapping]) -> dict[str, dict[frozenset[str], tuple[int, int]]]:
    """Layer -> pair of hosts -> (sent, lost), of flows that were answered at all; what was lost in a stall is the stall's."""
    flows = {flow["id"]: flow for flow in manifest["flows"]}
    found: dict[str, dict[frozenset[str], tuple[int, int]]] = defaultdict(dict)
    for result in measured.values():
        for counts in result.get("flows") or []:
            flow = flows.get(counts["id"])
            if flow and counts["received"] and not is_refused(flow, counts):
                layer = "address" if flow["layer"] in ADDRESS_LAYERS else flow["layer"]
                ends = frozenset((flow["source"], flow["target"]))
                sent, lost = found[layer].get(ends, (0, 0))
                apart = counts["lost"] - sum(event["lost"] for event in counts.get("events") or [])
                found[layer][ends] = (sent + counts["sent"], lost + max(0, apart))
    return found


def _is_notable(counts: tuple[int, int]) -> bool:
    return counts[1] >= max(NOTABLE_LOST, NOTABLE_LOSS * counts[0])


def _most_lossy(pairs: Mapping[frozenset[str], tuple[int, int]]) -> list[str]:
    """The host (equals: the hosts) with most notably lossy pairs, of those where they are half of their pairs or more."""
    of_host: dict[str, list[bool]] = defaultdict(list)
    for ends, counts in pairs.items():
        for host in ends:
            of_host[host].append(_is_notable(counts))
    scores = {
        host: (sum(notable), sum(notable) / len(notable))
        for host, notable in of_host.items()
        if any(notable) and 2 * sum(notable) >= len(notable)
    }
    best = max(scores.values(), default=None)
    return sorted(host for host, score in scores.items() if score == best)


def histograms(manifest: Mapping, measured: Mapping[str, Mapping]) -> dict[str, list[Mapping[str, int]]]:
    """By target, the round-trip histograms of its node and outside flows."""
    wanted = {flow["id"]: flow["target"] for flow in manifest["flows"] if flow["layer"] in ADDRESS_LAYERS}
    found: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for result in measured.values():
        for counts in result.get("flows") or []:
            if counts["id"] in wanted and counts["received"]:
                found[wanted[counts["id"]]].append(counts.get("histogram") or {})
    return found


def hash_kinds(flows: Iterable[Mapping]) -> int:
    """How many of these flows a receive queue hash can tell apart: ICMP flows of a pair look alike to it, overlay flows may."""
    return len({(f["source"], f["family"], f["id"] if f["protocol"] != "icmp" else None) for f in flows if f["layer"] != "overlay"})
