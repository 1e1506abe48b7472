# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader's row of the counters in observe.json: what it read before the window and after it, and how much that grew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.case import is_number


class Reading:
    """A reader's row of `counters`."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.available = row.get("available") is True
        self.start = mapping(row.get("start"))
        self.end = mapping(row.get("end"))
        self.last = self.end or self.start
        self.series = mapping(mapping(row.get("series")).get("increments"))
        starts, ends = row.get("start_ns"), row.get("end_ns")
        window = (ends - starts) / 1e9 if is_number(starts) and is_number(ends) else 0.0
        self.seconds = window if window > 0 and self.end else None

    def grown(self, *path: str, wraps: float = 0) -> float | None:
        """How much the number at `path` grew in the window; None where it was not read twice. A counter that restarted grew by nothing.

        :param wraps: at which it begins at 0 again
        """
        before, after = _at(self.start, path), _at(self.end, path)
        return growth(before, after, wraps) if before is not None and after is not None else None

    def growth(self, name: str, *path: str) -> Iterator[tuple[str, Any]]:
        """Growth and rate of a cumulative number."""
        grown = self.grown(*path)
        yield f"{name}.growth", grown
        yield f"{name}.per_s", grown / self.seconds if grown is not None and self.seconds else None

    def share(self, grown: float | None, per_second: float) -> float | None:
        """Growth as a share of the window, for a number that counts `per_second` units a second at the most."""
        return grown / per_second / self.seconds if grown is not None and self.seconds else None


def growth(before: float, after: float, wraps: float = 0) -> float:
    return max(0.0, after - before if after >= before else after - before + wraps)


def _at(value: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        value = mapping(value).get(key)
    return float(value) if is_number(value) else None


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def listing(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
