# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the findings of a host to the remedies that are tried on it, cheapest and most reversible first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.cases import CONFIDENCE
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_file import templates
from ansible_collections.fleet.stall.plugins.plugin_utils.remedies import Remedy
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

RISKS = ("none", "low", "medium", "high")
_OWN_SIDE = ("receiver", "application")
_EVIDENCE_SHOWN = 3


@dataclass
class Choice:
    """`hosts`: ``{host, steps [..]}`` each, in the order of the findings; `left_out`: ``{host, because}``."""

    hosts: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)


def choose(findings: Mapping[str, Any], remedies: Mapping[str, Remedy], confidence: str) -> Choice:
    """Hosts that stall with what is to be done about it, and the others with the reason why nothing is. Clear hosts are in neither.

    :param remedies: those on the allow-list
    :param confidence: the least that a cause must have: confirmed, probable or suspected
    """
    choice = Choice()
    for row in findings["hosts"]:
        if row["status"] == "clear":
            continue
        steps, because = of_host(row, findings["run"], remedies, confidence)
        if steps:
            choice.hosts.append({"host": row["host"], "steps": steps})
        else:
            choice.left_out.append({"host": row["host"], "because": because})
    return choice


def of_host(
    row: Mapping[str, Any], run: Mapping[str, Any], remedies: Mapping[str, Remedy], confidence: str
) -> tuple[list[dict[str, Any]], str]:
    """The steps, or none and why."""
    if because := _out_of_question(row):
        return [], because
    causes = row["causes"]
    sure = [cause for cause in causes if CONFIDENCE.index(cause["confidence"]) <= CONFIDENCE.index(confidence)]
    if not sure:
        best = f"the likeliest, {causes[0]['id']}, is {causes[0]['confidence']}"
        return [], f"no cause is {' or '.join(CONFIDENCE[: CONFIDENCE.index(confidence) + 1])}: {best}"
    passed_over: dict[str, str] = {}
    steps = []
    for name, named_by in _wanted(sure).items():
        if name not in remedies:
            passed_over[name] = "not in stall_remedies"
            continue
        parameters = _parameters(remedies[name], named_by, row, run)
        if wrong := [*remedies[name].wrong(parameters), *templates(parameters, "parameters")]:
            passed_over[name] = "; ".join(wrong)
        else:
            steps.append(_step(remedies[name], named_by, parameters))
    steps.sort(key=lambda step: _first(step, remedies))
    return steps, _nothing_left(sure, passed_over)


def _out_of_question(row: Mapping[str, Any]) -> str:
    if row["status"] == "not_measured":
        return f"not measured ({row['reason'] or 'no result'}): what is wrong with it is not known"
    if row["status"] == "suspect":
        return "it is only suspected to stall: watch it for longer, with stall_targets and stall_window_s"
    side = (row["blame"] or {}).get("side")
    if side not in _OWN_SIDE:
        return f"the fault is blamed on: {side or 'unknown'}. No remedy of a receiving host helps against that"
    if not row["causes"]:
        return "no known cause was found" if row["capture"] else "it was not opened up: capture it with stall_capture_hosts"
    return ""


def _wanted(causes: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Remedy -> the causes that name it, likeliest first."""
    wanted: dict[str, list[Mapping[str, Any]]] = {}
    for cause in causes:
        for name in cause["remedies"]:
            wanted.setdefault(name, []).append(cause)
    return wanted


def _parameters(remedy: Remedy, causes: Sequence[Mapping[str, Any]], row: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The description's defaults; over them what was found and fits, by its `from`; over that what the causes have in `settings`."""
    found: dict[str, Any] = {name: form["default"] for name, form in remedy.row["parameters"].items() if "default" in form}
    places = {"trigger": row["trigger"] or {}, "run": run, "host": row}
    for name, place in remedy.row["from"].items():
        value = _at(places, place)
        found |= {name: value} if remedy.fits(name, value) else {}
    return found | _settings(remedy.name, causes)


def _settings(name: str, causes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the causes ask for: lists together, of all else what the likeliest says."""
    found: dict[str, Any] = {}
    for cause in causes:
        for key, value in ((cause.get("settings") or {}).get(name) or {}).items():
            if isinstance(value, list) and isinstance(found.get(key, []), list):
                found[key] = [*found.get(key, []), *(item for item in value if item not in found.get(key, []))]
            elif value is not None:
                found.setdefault(key, value)
    return found


def _at(value: Any, place: str) -> Any:
    for key in place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _step(remedy: Remedy, causes: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    row = remedy.row
    return {
        "remedy": remedy.name,
        "causes": [cause["id"] for cause in causes],
        "because": "; ".join(_reason(cause) for cause in causes),
        "expect": " ".join(row["expect"].split()),
        "risk": row["risk"],
        "undo": row["undo"],
        "temporary": row["temporary"],
        "drain": row["drain"],
        "parameters": dict(parameters),
    }


def _reason(cause: Mapping[str, Any]) -> str:
    evidence = ", ".join(printable(sentence, 200) for sentence in cause["evidence"][:_EVIDENCE_SHOWN])
    return f"{printable(cause['title'], 200)} ({cause['confidence']}{': ' + evidence if evidence else ''})"


def _first(step: Mapping[str, Any], remedies: Mapping[str, Remedy]) -> tuple[Any, ...]:
    """Cheapest and most reversible first; of equals, what does not need a drain, and the less risky."""
    return remedies[step["remedy"]].row["order"], not step["undo"], step["drain"], RISKS.index(step["risk"]), step["remedy"]


def _nothing_left(causes: Sequence[Mapping[str, Any]], passed_over: Mapping[str, str]) -> str:
    if not passed_over:
        return f"no remedy is known for {', '.join(cause['id'] for cause in causes)}"
    return "; ".join(f"{printable(name, 40)}: {why}" for name, why in passed_over.items())
