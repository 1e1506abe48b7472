# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dropping caches did, in words: what it took, how soon that comes back, and what could not be measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

TEMPORARY = "This is temporary: it validates the cause and cures nothing."


def sentences(before: Mapping[str, Any], after: Mapping[str, Any], later: Mapping[str, Any] | None) -> list[str]:
    """:param before, after, later: what the module measure returns; later null where nobody waited for it"""
    said = [_dying(before, after), _read(before, after), TEMPORARY]
    if later is not None:
        said.append(_regrowth(after, later))
    return said


def _dying(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    was, now = _groups(before, "dying"), _groups(after, "dying")
    if was is None or now is None:
        return f"How many memory cgroups are dying was not measured: {_why(before if was is None else after)}."
    return f"Dying memory cgroups: {was} before, {now} after."


def _read(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    was, now = _groups(before, "read_ms"), _groups(after, "read_ms")
    if was is None or now is None:
        return f"A read of memory.stat was not timed: {_why(before if was is None else after)}."
    return f"One read of memory.stat: {number(was)} ms before, {number(now)} ms after."


def _regrowth(after: Mapping[str, Any], later: Mapping[str, Any]) -> str:
    was, now, seconds = _groups(after, "dying"), _groups(later, "dying"), (later["uptime_s"] or 0) - (after["uptime_s"] or 0)
    if was is None or now is None or seconds <= 0:
        return "How soon they come back was not measured."
    rate = (now - was) * 60 / seconds
    if rate <= 0:
        return f"None came back within {number(seconds)} s; that says little of the hours to come."
    return f"{number(rate)} a minute come back ({now} after {number(seconds)} s)."


def _groups(measured: Mapping[str, Any], name: str) -> Any:
    return (measured.get("memory_cgroups") or {}).get(name)


def _why(measured: Mapping[str, Any]) -> str:
    return (measured.get("reasons") or {}).get("memory_cgroups") or "nobody asked for it"
