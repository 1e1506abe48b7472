# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance windows: when something may be begun. Pure."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

_DAYS_AHEAD = 9
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def closed(windows: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """Why nothing may be begun now, empty if it may.

    :param windows: ``{days [mon ..], from "22:00", to "05:00", timezone "UTC"}`` each; one that ends before it begins goes on into the next
        day, its `days` are those on which it begins; without any, it may always
    :param now: with a time zone
    """
    if not windows or any(_is_open(window, now) for window in windows):
        return ""
    return f"no maintenance window is open: {', '.join(shown(window) for window in windows)}"


def shown(window: Mapping[str, Any]) -> str:
    return f"{' '.join(window.get('days') or ['daily'])} {window['from']}-{window['to']} {window.get('timezone') or 'UTC'}"


def wrong(window: Mapping[str, Any]) -> str:
    """What a schema can't say of a window."""
    try:
        _zone(window)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"timezone: {window['timezone']!r} is no time zone that this controller knows"
    return "to: is the same as from: such a window is never open" if window["from"] == window["to"] else ""


def opens_at(windows: Sequence[Mapping[str, Any]], now: datetime) -> datetime | None:
    """When one of them opens next, in UTC; None if there are none.

    :param now: with a time zone
    """
    begins = (begin for window in windows for begin in _begins(window, now) if begin > now)
    return min(begins, default=None)


def _begins(window: Mapping[str, Any], now: datetime) -> Iterator[datetime]:
    local = now.astimezone(_zone(window))
    hours, minutes = divmod(_minutes(window["from"]), 60)
    for days in range(_DAYS_AHEAD):
        day = local + timedelta(days=days)
        if _is_day(window, day):
            yield day.replace(hour=hours, minute=minutes, second=0, microsecond=0).astimezone(timezone.utc)


def _is_open(window: Mapping[str, Any], now: datetime) -> bool:
    local = now.astimezone(_zone(window))
    begins, ends, minute = _minutes(window["from"]), _minutes(window["to"]), local.hour * 60 + local.minute
    if begins < ends:
        return _is_day(window, local) and begins <= minute < ends
    return (minute >= begins and _is_day(window, local)) or (minute < ends and _is_day(window, local - timedelta(days=1)))


def _is_day(window: Mapping[str, Any], at: datetime) -> bool:
    return DAYS[at.weekday()] in (window.get("days") or DAYS)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _zone(window: Mapping[str, Any]) -> tzinfo:
    name = window.get("timezone") or "UTC"
    return timezone.utc if name == "UTC" else zoneinfo.ZoneInfo(name)
