# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on a host that may be on its way down or up: no answer is an answer here, and no connection outlives the host it was made to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_FAREWELL = re.compile(r"(Shared c|C)onnection to .* closed\.")


class Silent(Exception):
    """The host did not answer; the message says what the connection said."""


def said(done: Mapping[str, Any]) -> str:
    """What a command had to say for itself, without the farewell of the connection."""
    lines = [line for line in str(done.get("stderr", "")).splitlines() if line.strip() and not _FAREWELL.match(line)]
    return printable(" ".join(lines) or str(done.get("stdout", "")).strip(), 200)


class ReachAction(ActionBase):
    """An action on a host that comes and goes."""

    _supports_async = False

    def fresh(self) -> None:
        """What comes next is a connection of its own: one that is kept open hangs on a host that is gone."""
        try:
            self._connection.reset()
        except (AnsibleError, AttributeError):
            # There was none to end
            pass

    def ask(self, command: str) -> dict[str, Any]:
        """``{rc, stdout, stderr}`` of a line of shell. Raises Silent."""
        try:
            return self._low_level_execute_command(command)
        except AnsibleConnectionFailure as error:
            raise Silent(printable(getattr(error, "message", None) or error, 200)) from error

    def bounded(self, argv: Sequence[str], limit_s: float) -> str:
        return f"timeout -k 5 {limit_s:g} {shlex.join(str(word) for word in argv)}"
