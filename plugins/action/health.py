# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import health
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import failed
from ansible_collections.fleet.stall.plugins.plugin_utils.health import Expected, HealthError, Look
from ansible_collections.fleet.stall.plugins.plugin_utils.reach import ReachAction, Silent, said
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_COMMAND_S = 60


class ActionModule(ReachAction):
    """Wait until a host is in health."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = self._task.args
        before, argv = arguments.get("failed_units"), [] if self._task.check_mode else arguments.get("command") or []
        expected = Expected(arguments.get("boot_id") or None, before if isinstance(before, list) else None, bool(arguments.get("command")))
        try:
            seen = health.wait(
                self._look,
                (lambda: self._command(argv)) if argv else None,
                expected,
                float(arguments.get("timeout_s", 300)),
                time.monotonic,
                time.sleep,
            )
        except HealthError as error:
            return failed([f"{printable((task_vars or {})['inventory_hostname'])} is not in health: {error}."])
        return {"changed": False, "boot_id": seen.boot_id, "state": seen.state, "failed_units": sorted(seen.failed_units)}

    def _look(self) -> Look:
        try:
            return health.parse(self.ask(health.SCRIPT)["stdout"])
        except Silent as error:
            self.fresh()
            return Look(silent=str(error))

    def _command(self, argv: list[str]) -> str:
        try:
            done = self.ask(self.bounded(argv, _COMMAND_S))
        except Silent as error:
            return f"it does not answer: {error}"
        if done["rc"] == 0:
            return ""
        words = said(done)
        why = f"took longer than {_COMMAND_S} s" if done["rc"] == 124 else f"ended with {done['rc']}{f' ({words})' if words else ''}"
        return f"stall_health_command {why}"
