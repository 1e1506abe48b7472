# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import HostAction, skipped
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir

MODULE = "fleet.stall.observe"


class ActionModule(HostAction):
    """End the observer of one host before its time."""

    def act(self, run: RunDir, host: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        job, plan = run.read(host, "job"), run.read(host, "plan")
        if job is None or plan is None:
            return skipped("no observer was started")
        if time.time() >= plan["ends_at"]:
            return skipped("the window is over: the observer has ended, or ends now, by itself")
        if job["state"] == "started" and not job["become"]:
            self.without_become()
        result = self._execute_module(
            module_name=MODULE, module_args={"state": "stopped", "run": run.id, "host": host}, task_vars=task_vars
        )
        if result.get("failed"):
            return self.give_up(run, host, outcome.of_error(str(result.get("msg"))))
        run.remove_host_file(host, "job")
        self.give_up(run, host, outcome.STOPPED)
        return {"stopped": int(result.get("stopped", 0))}
