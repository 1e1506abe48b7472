# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host stands: stalling, suspect, clear or not measured, and why, in words. The four are defined in docs/ARCHITECTURE.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils import queues
from ansible_collections.fleet.stall.plugins.plugin_utils.attribution import Share, suspected
from ansible_collections.fleet.stall.plugins.plugin_utils.blame import Blamed
from ansible_collections.fleet.stall.plugins.plugin_utils.network import Network, Timeline
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import MS, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.tally import Tally
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more
from ansible_collections.fleet.stall.plugins.plugin_utils.went_away import Gone

# What one flow saw and no other confirms makes a host suspect from this many thresholds on; two flows at once from fewer
SUSPECT_THRESHOLDS, SUSPECT_THRESHOLDS_CONFIRMED = 3, 2


@dataclass(frozen=True, slots=True)
class Fleet:
    """What all rows are made from."""

    manifest: Mapping
    evidence: Mapping[str, Mapping]
    network: Network
    timeline: Timeline
    cards: Mapping[str, queues.Card]
    tallies: Mapping[str, Tally]
    lossy: Mapping[str, Mapping[str, float]]
    histograms: Mapping[str, list[Mapping[str, int]]]
    grades: Mapping[str, float]
    gone: Gone = field(default_factory=Gone)
    # Of the ICMP that is dropped or limited on the way to and from a host, the share that was lost (echo_loss.py)
    echoes_lost: Mapping[str, float] = field(default_factory=dict)

    @property
    def threshold_ms(self) -> float:
        return self.manifest["run"]["parameters"]["threshold_ms"]

    def measured(self, host: str) -> bool:
        return (self.evidence.get(host) or {}).get("status") == "measured"


def status(host: str, share: Share, tally: Tally, fleet: Fleet) -> tuple[str, str | None]:
    described = fleet.manifest["hosts"][host]
    if not described["in_limit"]:
        return "not_measured", "outside --limit"
    missing = None if fleet.measured(host) else _why_missing(host, fleet)
    away = _away(host, fleet)
    if share.blamed:
        return "stalling", _joined(away, f"its own side was not observed: {missing}" if missing else None) or None
    ties = [undecided for undecided in share.undecided if undecided.kind != "pair"]
    if ties:
        return "stalling", _joined(away, _tie(host, ties, missing, fleet))
    alone = _seen_alone(share, fleet)
    loss = _loss(host, fleet)
    if missing or away:
        return "not_measured", _joined(away, missing, None if away else _what_probes_saw(tally), alone, None if away else loss)
    if not tally.answered:
        return "not_measured", _why_no_answer(host, tally, fleet)
    unheard, overlay = _unheard(tally), _overlay_away(host, fleet)
    if loss or alone or unheard:
        return "suspect", _joined(f"{loss}{'' if alone else ', no stall'}" if loss else None, alone, unheard, overlay)
    return "clear", _joined(_not_looked_at(tally), overlay) or None


def _not_looked_at(tally: Tally) -> str | None:
    silent, refusal = tally.silent_ways(), tally.refusal()
    said = [f"no probe was answered on: {', '.join(silent)}"] if silent else []
    return "; ".join([*said, *([f"not probed through its NodePort: {refusal}"] if refusal else [])]) or None


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)


def _away(host: str, fleet: Fleet) -> str | None:
    left = fleet.gone.hosts.get(host)
    return f"it stopped answering at {left.at} and did not answer again" if left else None


def _overlay_away(host: str, fleet: Fleet) -> str | None:
    left = fleet.gone.overlays.get(host)
    return f"its overlay address went away at {left.at}" if left else None


def _unheard(tally: Tally) -> str | None:
    """What a firewall does, or a path that is broken one way: some hosts get no answer at all."""
    sources = tally.silent_sources()
    return f"no probe to its own address from {and_more(sources, 3)} was answered" if sources else None


def _why_missing(host: str, fleet: Fleet) -> str:
    result = fleet.evidence.get(host)
    if result is None:
        return "no result came from it"
    parts = [str(result.get("reason") or f"its observer ended as {result.get('status')!r}"), str(result.get("remedy") or "")]
    return "; ".join(part for part in parts if part)


def _why_no_answer(host: str, tally: Tally, fleet: Fleet) -> str:
    if tally.sent:
        return "no probe was answered"
    if not fleet.manifest["hosts"][host]["target"]:
        return "it is no target (stall_targets)"
    if any(flow["target"] == host for flow in fleet.manifest["flows"]):
        return "none of the hosts that were to probe it has a result of it"
    return "no other host could probe it"


def _what_probes_saw(tally: Tally) -> str | None:
    if not tally.sent:
        return None
    if not tally.answered:
        return "no probe to it was answered"
    return f"{tally.received} of {tally.sent} probes to it were answered"


def _tie(host: str, ties: list[Blamed], missing: str | None, fleet: Fleet) -> str:
    others = sorted({other for tie in ties for other in suspected(tie, fleet.network)} - {host})
    said = f"{and_more(others, 3)} may as well be to blame: no third host saw it"
    return f"{said}; its own side was not observed: {missing}" if missing else said


def _seen_alone(share: Share, fleet: Fleet) -> str | None:
    """What speaks against the host without being confirmed, if it is worth a look."""
    stalls = [stall for pair in share.undecided for stall in pair.stalls]
    stalls += [stall for stall in share.unexplained if _worth_a_look(stall, fleet.threshold_ms)]
    if not stalls:
        return None
    longest = max(stall.length_ns for stall in stalls) / MS
    sources = sorted({fleet.network.flows[event.flow].source for stall in stalls for event in stall.events})
    many = f"{len(stalls)} stalls of up to {longest:.0f} ms were" if len(stalls) > 1 else f"one stall of {longest:.0f} ms was"
    return f"{many} seen from {and_more(sources, 3)}, which nobody else confirms"


def _worth_a_look(stall: Stall, threshold_ms: float) -> bool:
    flows = {event.flow for event in stall.events}
    return stall.length_ns >= MS * threshold_ms * (SUSPECT_THRESHOLDS_CONFIRMED if len(flows) > 1 else SUSPECT_THRESHOLDS)


def _loss(host: str, fleet: Fleet) -> str | None:
    """In words, where probes to and from the host get lost."""
    losses = fleet.lossy.get(host)
    if not losses:
        return None
    if host in fleet.echoes_lost:
        share = fleet.echoes_lost[host]
        return f"ICMP is dropped or limited on the way: {100 * share:.1f} % of it was lost while TCP of the same pairs was answered"
    parts = [f"{100 * share:.1f} %" + ("" if layer == "address" else f" ({layer})") for layer, share in losses.items()]
    return f"{', '.join(parts)} of the probes to and from it were lost"
