# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The elimination, from logs that were made one after the other: what stalls through which layer, from where, and what does not.

Nothing here coincides in time, so that a log is quiet only if it should have shown stalls, at the rate of those that do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp

from ansible_collections.fleet.stall.plugins.plugin_utils.imports.sawtooth import Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

UNNAMED = "(source not named)"
ADDRESS_LAYERS = ("node", "outside")
# As little as a log has shows by chance this seldom
BY_CHANCE = 0.05
SURE_STALLS = 3


@dataclass(frozen=True, slots=True)
class View:
    """One log of probes. ``layer`` None: nobody said. ``probes``: known to have been sent; ``observed_s`` None: nothing tells."""

    number: int
    log: str
    source: str
    target: str
    layer: str | None
    protocol: str | None
    stalls: tuple[Stall, ...]
    probes: int
    interval_ms: float
    whole: bool
    sent: int | None
    received: int | None
    observed_s: float | None
    shortest_ms: float | None
    hidden_ms: float | None = None

    @property
    def hidden(self) -> int:
        """Stalls that its statistics tell of and its lines do not show: one at least."""
        return int(self.hidden_ms is not None)

    def words(self) -> str:
        way = [self.layer] if self.layer in ("overlay", "nodeport") else []
        way += [self.protocol] if self.protocol else []
        return f"{printable(self.target, 60)} from {printable(self.source, 60)}" + (f", {' '.join(way)}" if way else "")


@dataclass(frozen=True, slots=True)
class Blame:
    """Of the host whose logs these are; as in findings.json."""

    side: str | None
    layer: str | None
    confidence: str | None
    ruled_out: tuple[tuple[str, str], ...]
    reason: str | None = None


def is_quiet(view: View, others: Iterable[View]) -> bool:
    """Whether a log shows so few stalls that chance does not explain it, at the rate of the others."""
    return _chance(view.hidden + len(view.stalls), expected(view, others)) < BY_CHANCE


def expected(view: View, others: Iterable[View]) -> float:
    """Stalls to be expected in as many probes, at the others' rate."""
    rows = list(others)
    sent = sum(other.probes for other in rows)
    return view.probes * sum(len(other.stalls) for other in rows) / sent if sent else 0.0


def _chance(most: int, mean: float) -> float:
    """Poisson: the chance of at most so many."""
    term = total = exp(-min(mean, 700.0))
    for count in range(1, most + 1):
        term *= mean / count
        total += term
    return total


def eliminate(host: str, views: Sequence[View], handled_there: int) -> Blame:
    """On whose side.

    :param handled_there: stalls that a packet log of the host shows as a backlog handled at once
    """
    to_it = [view for view in views if view.target == host]
    bad = [view for view in to_it if view.stalls]
    if not bad:
        return Blame(None, None, None, ())
    stalls = sum(len(view.stalls) for view in bad)
    sender, receiver = _sender(host, bad, views), _receiver(bad, to_it)
    found = {"sender": sender, "receiver": receiver, **_layers(bad), "application": _application(bad)}
    ruled_out = tuple((what, because) for what, because in found.items() if because)
    if handled_there or (sender and not receiver):
        sure = stalls >= SURE_STALLS and bool(sender) and bool(handled_there)
        return Blame("receiver", _layer(bad, to_it, handled_there), "high" if sure else "medium", ruled_out)
    reason = "its source may as well be to blame: no log tells the two apart"
    if receiver:
        reason = "something between the two, or the source, is to blame: others reach it without a stall"
    return Blame("unknown", None, "low", ruled_out, reason)


def _sender(host: str, bad: Sequence[View], views: Sequence[View]) -> str | None:
    sources = sorted({view.source for view in bad if view.source not in (UNNAMED, host)})
    said = [f"{printable(sources[0], 60)} and {printable(sources[1], 60)} both see it"] if len(sources) > 1 else []
    away = next((view for view in views if view.target != host and view.source in sources and is_quiet(view, bad)), None)
    if away:
        answered = f"{away.received} replies" if away.received is not None else f"{away.probes} probes"
        longest = f", the longest of {away.hidden_ms:.0f} ms" if away.hidden_ms is not None else ""
        said.append(
            f"what {printable(away.source, 60)} sends to {printable(away.target, 60)} does not stall so: "
            f"{len(away.stalls)} shown in {answered}{longest}, where {expected(away, bad):.1f} stalls would be expected"
        )
    return "; ".join(said) or None


def _receiver(bad: Sequence[View], to_it: Sequence[View]) -> str | None:
    sources = {view.source for view in bad}
    quiet = next((view for view in to_it if not view.stalls and view.source not in sources and is_quiet(view, bad)), None)
    return f"it answers others without a stall ({quiet.words()})" if quiet else None


def _layers(bad: Sequence[View]) -> dict[str, str]:
    """What lies on the way of some logs that stall, and not of others that stall as well."""
    plain = next((view for view in bad if view.layer in ADDRESS_LAYERS), None)
    if plain:
        words = f"the node address stalls as well ({plain.words()})"
        return {"nat": words, "overlay": words}
    tunnel = next((view for view in bad if view.layer == "overlay"), None)
    return {"nat": f"the overlay alone stalls as well ({tunnel.words()})"} if tunnel else {}


def _layer(bad: Sequence[View], to_it: Sequence[View], handled_there: int) -> str | None:
    layers = {view.layer for view in bad}
    if handled_there or layers & set(ADDRESS_LAYERS):
        return "node"
    plain_quiet = any(view.layer in ADDRESS_LAYERS and is_quiet(view, bad) for view in to_it if not view.stalls)
    inner = next((layer for layer in ("overlay", "nodeport") if layer in layers), None)
    return inner if plain_quiet else None


def _application(bad: Sequence[View]) -> str:
    return f"what the kernel answers by itself stalls ({bad[0].words()})"
