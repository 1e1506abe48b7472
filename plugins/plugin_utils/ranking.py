# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# What was not measured stands above what is healthy: it must not be overlooked
STATUSES = ("stalling", "suspect", "not_measured", "clear")


def ranked(rows: Iterable[Mapping]) -> list[dict]:
    """The rows in order, each with its ``rank`` (from 1).

    Stalling hosts by stalled ms/s, then by the lower end of its interval; suspects likewise; then what was not measured, then what is
    clear. Equals are ordered by name, so that the order of the input has no part.

    :param rows: each with ``host``, ``status`` and ``severity`` as in docs/findings.schema.json
    :raises ValueError: a row has an unknown status
    """
    ordered = sorted(rows, key=_key)
    return [{**row, "rank": rank} for rank, row in enumerate(ordered, 1)]


def suspects(rows: Iterable[Mapping], most: int | None = None) -> list[str]:
    """Names of the stalling hosts, worst first, at most ``most``: those worth opening up."""
    found = [row["host"] for row in ranked(rows) if row["status"] == "stalling"]
    return found if most is None else found[: max(0, most)]


def _key(row: Mapping) -> tuple:
    if row.get("status") not in STATUSES:
        raise ValueError(f"{row.get('host')}: status {row.get('status')!r} is none of {', '.join(STATUSES)}")
    severity = row.get("severity") or {}
    low = (severity.get("ci95") or [0])[0]
    return STATUSES.index(row["status"]), -(severity.get("stalled_ms_per_s") or 0), -low, row["host"]
