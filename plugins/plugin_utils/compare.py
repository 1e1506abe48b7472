# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a host stall less than before, beyond what chance does? From its figures in two runs of the same probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import wording
from ansible_collections.fleet.stall.plugins.plugin_utils.tally import NOTABLE_LOSS
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

BETTER, SAME, WORSE, UNKNOWN = "better", "same", "worse", "unknown"
# A run is called better, or worse, where chance alone would show as much in so few of the cases
TAIL = 0.025
# The time stalled in both runs is told in so many steps; any length in steps is as good a weight as that in milliseconds
STEPS = 2000
SEVERITY = ("grade", "stalled_ms_per_s", "ci95", "events", "max_ms")
COVERAGE = ("observed_s", "loss_ratio", "flows", "sources", "rx_queues_total", "rx_queues_covered", "upper_bound_ms_per_s")


def figures(row: Mapping[str, Any], run: str, lengths_ms: Sequence[float] = ()) -> dict[str, Any]:
    """What is compared and shown of a host in one run.

    :param row: of findings.json
    :param run: the id of the run
    :param lengths_ms: of all stalls that its severity is of
    """
    measured, coverage = row["severity"], row["coverage"]
    return {
        "run": run,
        "status": row["status"],
        "reason": row["reason"],
        "side": row["blame"]["side"],
        **{key: measured[key] for key in SEVERITY},
        **{key: coverage[key] for key in COVERAGE},
        "lengths_ms": list(lengths_ms),
    }


def verdict(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, str]:
    """``better``, ``same``, ``worse`` or ``unknown``, and a sentence with the figures. Both runs must have had the same probes.

    Two tests ask whether both runs can be of one compound Poisson process (see severity.py): of the number of stalls, and of the time in
    them. One of them must tell, neither may contradict it; swapped runs swap better and worse. Where one run shows no stall, and chance
    does as much, nothing is known.

    :param before, after: as ``figures`` gives them
    """
    if why := _not_comparable(before, after):
        return UNKNOWN, f"{_both(before, after)}: not comparable, for {why}."
    number, time = _number(before, after), _time(before, after)
    drift = _rate(after) - _rate(before)
    told = max(number, time) or min(number, time)
    if told and number * time >= 0 and told * drift >= 0:
        return (BETTER if told < 0 else WORSE), f"{_both(before, after)}: {_change(before, after)}."
    if bool(before["events"]) != bool(after["events"]):
        return UNKNOWN, f"{_both(before, after)}: chance does as much. Only a longer window can tell."
    if not before["events"]:
        return SAME, f"{_both(before, after)}."
    return SAME, f"{_both(before, after)}: {_undecided(number, time)}."


def _not_comparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    for when, run in (("before", before), ("now", after)):
        if run["status"] == "not_measured" or run["events"] is None or not run["observed_s"]:
            return f"it was not measured {when} ({printable(run['reason'] or 'no probe was answered')})"
    lossy = [_loses(run) for run in (before, after)]
    if lossy[0] != lossy[1]:
        when, run = ("now", after) if lossy[1] else ("before", before)
        return f"{wording.number(100 * run['loss_ratio'])}% of the probes were lost {when}, and a lost probe shows no stall"
    return ""


def _loses(run: Mapping[str, Any]) -> bool:
    """Loses notably, and not by its stalls: where these explain it, it is counted as stalled time."""
    return (run["loss_ratio"] or 0) >= NOTABLE_LOSS and (run["loss_ratio"] or 0) > 2 * run["stalled_ms_per_s"] / 1000


def _number(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """-1 if stalls are fewer now, 1 if they are more, 0 if chance explains it."""
    return _told([1] * len(before["lengths_ms"]), [1] * len(after["lengths_ms"]), _share(before, after))


def _time(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """-1 if the time stalled is less now, 1 if it is more, 0 if chance explains it."""
    unit = max(1.0, (sum(before["lengths_ms"]) + sum(after["lengths_ms"])) / STEPS)
    earlier, later = ([round(length / unit) for length in run["lengths_ms"]] for run in (before, after))
    return _told(earlier, later, _share(before, after))


def _share(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    return after["observed_s"] / (before["observed_s"] + after["observed_s"])


def _told(earlier: Sequence[int], later: Sequence[int], share: float) -> int:
    chances = sums([*earlier, *later], share)
    seen = sum(later)
    if sum(chances[: seen + 1]) <= TAIL:
        return -1
    return 1 if sum(chances[seen:]) <= TAIL else 0


def sums(weights: Sequence[int], share: float) -> list[float]:
    """The chance of each sum, from 0 on, of those weights that are taken where each is taken with the chance ``share``.

    Given what was seen in both runs, and that both are of one compound Poisson process, each stall fell into the later run by its share of
    the time, whatever its length. For equal weights this is the exact conditional test of two Poisson counts (Przyborowski and Wilenski,
    Biometrika 31:313-323, 1940).
    """
    chances = [1.0]
    for weight in weights:
        left = [chance * (1 - share) for chance in chances] + [0.0] * weight
        for at, chance in enumerate(chances):
            left[at + weight] += chance * share
        chances = left
    return chances


def _rate(run: Mapping[str, Any]) -> float:
    return sum(run["lengths_ms"]) / run["observed_s"]


def _both(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    return f"{_said(before)} before, {_said(after)} now"


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if not before["events"]:
        return "it did not stall before"
    if not after["events"]:
        return "the stalls are gone"
    return "it stalls more" if _rate(after) > _rate(before) else "it stalls less, and still does"


def _undecided(number: int, time: int) -> str:
    if not number and not time:
        return "no difference beyond chance"
    many = {-1: "fewer stalls", 0: "as many stalls", 1: "more stalls"}[number]
    long = {-1: "less time in them", 0: "as much time in them", 1: "more time in them"}[time]
    return f"{many}, but {long}"


def _said(run: Mapping[str, Any]) -> str:
    if run["status"] == "not_measured" or run["events"] is None:
        return "not measured"
    over = f"in {wording.number(run['observed_s'])} s"
    if not run["events"]:
        return f"no stall {over}"
    many = f"{run['events']} stall{'s' * (run['events'] != 1)} {over}"
    return f"{many} ({wording.number(run['stalled_ms_per_s'])} ms/s, the longest {wording.number(run['max_ms'])} ms)"
