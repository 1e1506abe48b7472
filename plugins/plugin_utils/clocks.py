# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One time base for the fleet: how far each host's clock is from the others', from the probes themselves.

The least of "receive time there minus send time here" holds the one-way delay plus the difference of the two clocks; with both
directions the delay cancels (as in NTP, RFC 5905), with one direction half of the least round trip stands for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median

from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

# From here on a clock's error is worth a warning: it is far beyond what NTP leaves
NOTABLE_NS = 50_000_000


def offsets(manifest: Mapping, evidence: Mapping[str, Mapping]) -> tuple[dict[str, int], list[str]]:
    """Nanoseconds to subtract from each host's clock to get the common base, and warnings.

    The base is the median clock, so that one host with a wrong clock is corrected and not the fleet. Hosts are tied together along the most
    certain pairs; one that no sample ties to the others has offset 0 and is named in a warning.
    """
    measured = sorted(host for host, result in evidence.items() if result.get("status") == "measured")
    edges = _edges(manifest, evidence)
    groups = _spanning_trees(measured, edges)
    found: dict[str, int] = {}
    for group in groups:
        middle = round(median(group.values()))
        found.update({host: offset - middle for host, offset in group.items()})
    return found, _warnings(manifest, evidence, found, groups)


def _edges(manifest: Mapping, evidence: Mapping[str, Mapping]) -> list[tuple[int, str, str, int]]:
    """(uncertainty, a, b, b's clock minus a's), all in nanoseconds, a < b."""
    flows = {str(flow["id"]): flow for flow in manifest["flows"]}
    least: dict[tuple[str, str], int] = {}
    for host, result in evidence.items():
        for flow_id, sample in (result.get("clock_samples") or {}).items():
            flow = flows.get(str(flow_id))
            if flow and flow["target"] == host:
                pair = (flow["source"], host)
                least[pair] = min(least.get(pair, sample["min_ns"]), sample["min_ns"])
    baselines = _baselines(flows, evidence)
    edges = []
    for source, target in least:
        there, back = least[source, target], least.get((target, source))
        if back is not None:
            difference, uncertainty = (there - back) // 2, abs(there + back) // 2
        elif (source, target) in baselines:
            uncertainty = baselines[source, target] // 2
            difference = there - uncertainty
        else:
            continue
        if source < target:
            edges.append((uncertainty, source, target, difference))
        elif back is None:
            edges.append((uncertainty, target, source, -difference))
    return sorted(edges)


def _baselines(flows: Mapping[str, Mapping], evidence: Mapping[str, Mapping]) -> dict[tuple[str, str], int]:
    """Least round trip of each pair, in nanoseconds."""
    found: dict[tuple[str, str], int] = {}
    for result in evidence.values():
        for measured in result.get("flows") or []:
            flow = flows.get(str(measured["id"]))
            if flow and measured.get("baseline_us") and flow["layer"] in ("node", "outside"):
                pair = (flow["source"], flow["target"])
                nanoseconds = int(measured["baseline_us"] * 1000)
                found[pair] = min(found.get(pair, nanoseconds), nanoseconds)
    return found


def _spanning_trees(hosts: list[str], edges: list[tuple[int, str, str, int]]) -> list[dict[str, int]]:
    """Kruskal's forest over the most certain edges; each tree as host -> clock offset to its first host. The largest comes first."""
    tree_of = {host: {host: 0} for host in hosts}
    for _, a, b, difference in edges:
        if a not in tree_of or b not in tree_of or tree_of[a] is tree_of[b]:
            continue
        large, small = tree_of[a], tree_of[b]
        shift = large[a] + difference - small[b]
        if len(small) > len(large):
            large, small, shift = small, large, -shift
        for host, offset in small.items():
            large[host] = offset + shift
            tree_of[host] = large
    distinct = {id(tree): tree for tree in tree_of.values()}
    return sorted(distinct.values(), key=lambda tree: (-len(tree), min(tree)))


def _warnings(manifest: Mapping, evidence: Mapping, found: Mapping[str, int], groups: list[dict[str, int]]) -> list[str]:
    warnings = []
    if untied := sorted(host for group in groups[1:] for host in group):
        warnings.append(f"No probe ties the clock of {and_more(untied)} to the others: their stalls are placed by their own clock.")
    wrong: dict[str, list[str]] = defaultdict(list)
    for host, offset in sorted(found.items()):
        if abs(offset) >= NOTABLE_NS:
            wrong["ahead of" if offset > 0 else "behind"].append(f"{host} ({number(abs(offset) / 1e9)} s)")
    for side, hosts in sorted(wrong.items()):
        warnings.append(f"The clock is {side} the fleet's on {and_more(hosts)}; their times were corrected.")
    if stepped := sorted(host for host in found if (evidence[host].get("clock") or {}).get("stepped")):
        warnings.append(
            f"The clock was set during the window on {and_more(stepped)}: their stalls may not be matched with those of others."
        )
    return warnings
