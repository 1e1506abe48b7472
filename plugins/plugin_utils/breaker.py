# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The circuit breaker over time: where hosts failed lately, in whatever campaign, nothing more is begun for a while. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import WORSE
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

_FAILURES = ("step_failed", "gate_failed", "rollback_failed")


def tripped(lines: Iterable[Mapping[str, Any]], limit: Mapping[str, Any], now: datetime) -> str:
    """Why nothing more may be begun, empty if it may.

    :param lines: of the journals of all campaigns, in any order
    :param limit: ``{failures n, within_h n}``
    """
    since = now - timedelta(hours=limit["within_h"])
    failed = {line["host"] for line in lines if is_failure(line) and datetime.fromisoformat(line["at"].replace("Z", "+00:00")) > since}
    if len(failed) < limit["failures"]:
        return ""
    return (
        f"the circuit breaker is open: {len(failed)} hosts failed within {limit['within_h']:g} h ({and_more(sorted(failed), 5)}), "
        f"and at {limit['failures']} nothing more is begun until fewer have, or -e stall_retry=true says that it may be"
    )


def is_failure(line: Mapping[str, Any]) -> bool:
    """A host that failed, or did worse than before."""
    is_worse = line["event"] == "verified" and line["data"].get("verdict") == WORSE
    return line["host"] is not None and (is_worse or line["event"] in _FAILURES)
