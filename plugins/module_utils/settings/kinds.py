# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All kinds of setting: the changes that a request asks for, and the places that an undo names."""

from typing import Any, Callable, Dict, List, Mapping, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.settings import files, priority, quota, rules, sysctl_d
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Change, Place
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

PLACES: Dict[str, Callable[..., Place]] = {
    place.kind: place for place in (files.File, sysctl_d.Line, priority.Thread, quota.Group, quota.Unit)
}


def changes(request: Mapping[str, Any]) -> List[Change]:
    """What a request with one of `kernel`, `irq_affinity`, `rps`, `priority` and `quota` asks for. Raises Unfit."""
    if request.get("kernel") is not None:
        return [change for setting in request["kernel"] for change in files.kernel_files(setting, bool(request.get("persisted")))]
    if request.get("quota") is not None:
        return quota.quota({**request["quota"], "persisted": request.get("persisted")})
    makers = {"irq_affinity": files.irq_affinity, "rps": files.rps, "priority": priority.priority}
    name = next(name for name in makers if request.get(name) is not None)
    return makers[name](request[name])


def undone(entries: List[Mapping[str, Any]]) -> List[Tuple[Place, str, str]]:
    """[(place, value, made)] of the `undo` of a change. Raises Unfit."""
    found = []
    for entry in entries:
        try:
            found.append((PLACES[entry["kind"]](**entry["place"]), str(entry["value"]), str(entry["made"])))
        except (KeyError, TypeError):
            raise Unfit(f"undo holds {entry!r}, which no change has left: give what it returned as undo") from None
    return found


def sentences(answer: Mapping[str, Any], check: bool) -> List[str]:
    """What was changed, a setting each, then what could not be and what will not last."""
    is_now = "would be" if check else "is"
    return [
        *(f"{row['what']} {is_now} {shown(row['after'])}, and was {shown(row['before'])}" for row in answer["settings"] if row["changed"]),
        *(f"{name} is not there: this kernel does without it" for name in answer.get("absent", [])),
        *(
            f"{name} is set by {' and '.join(files)} as well, which is read later at boot: change it there"
            for name, files in answer.get("overridden", {}).items()
        ),
        *answer.get("left", []),
    ]


def shown(value: str) -> str:
    return rules.chosen(value) or "not there"
