# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import jobs, outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import HostAction, skipped
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir


class ActionModule(HostAction):
    """End what still runs of a run on one host before its time: its observer, and where it is captured its capture and observer of that."""

    def act(self, run: RunDir, host: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        running = [(part, job) for part in (run, run.capture) for job in jobs.JOBS if self._may_run(part, host, job)]
        if not running:
            return skipped("nothing was started, or the window is over: what was started has ended, or ends now, by itself")
        # As root first, for there is no way back.
        running.sort(key=lambda found: self._as_user(found[0], host, found[1]))
        results = [self._stop(part, host, job, task_vars) for part, job in running]
        failures = [result for result in results if "reason" in result]
        return failures[0] if failures else {"stopped": sum(result["stopped"] for result in results)}

    @staticmethod
    def _may_run(run: RunDir, host: str, job: jobs.Job) -> bool:
        begun, plan = run.read(host, job.job), run.read(host, job.plan)
        return begun is not None and plan is not None and time.time() < plan["ends_at"] + begun.get("lingers_s", 0)

    @staticmethod
    def _as_user(run: RunDir, host: str, job: jobs.Job) -> bool:
        begun = run.read(host, job.job)
        return begun["state"] == "started" and not begun["become"]

    def _stop(self, run: RunDir, host: str, job: jobs.Job, task_vars: dict[str, Any]) -> dict[str, Any]:
        self.job = job
        if self._as_user(run, host, job):
            self.without_become()
        arguments = {"state": "stopped", "run": run.id, "host": host}
        result = self._execute_module(module_name=job.module, module_args=arguments, task_vars=task_vars)
        if result.get("failed"):
            return self.give_up(run, host, outcome.of_error(str(result.get("msg"))))
        run.remove_host_file(host, job.job)
        self.give_up(run, host, outcome.stopped(job))
        return {"stopped": int(result.get("stopped", 0))}
