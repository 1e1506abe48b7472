# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a capture to the named cause: what the captured hosts' rows of the findings gain by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def build(
    findings: Mapping[str, Any],
    manifest: Mapping[str, Any],
    evidence: Mapping[str, Mapping],
    captures: Mapping[str, Mapping],
    catalogue: Any,
    before: tuple[Mapping[str, Any], Mapping[str, Mapping]] | None = None,
) -> dict[str, Any]:
    """The findings with what a capture adds to them; pure: the argument is left as it is.

    :param findings: of the first window, without a capture's part (findings.build)
    :param manifest: of the capture window, with ``run.captured {host: "suspect"|"control"}``
    :param evidence: host -> observe.json or status.json of the capture window
    :param captures: host -> capture.json or capture_status.json
    :param catalogue: of causes.load
    :param before: manifest and evidence of the first window, for what the capture did to the round trips
    """
    raise NotImplementedError
