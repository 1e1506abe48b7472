# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.fleet.stall.plugins.plugin_utils import jobs, outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import HostAction, skipped, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.outcome import Failure
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_WITHOUT_ROOT = {
    jobs.OBSERVE: "is observed without privileges, by TCP connect only",
    jobs.CAPTURE: "is captured without privileges, which leaves little to see",
}


class ActionModule(HostAction):
    """Start the observer or the capture of one host."""

    def act(self, run: RunDir, host: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        job = self.job
        plan = run.read(host, job.plan)
        if plan is None:
            return skipped("nothing is asked of this host")
        if run.started([host], job) or run.read(host, job.result):
            return skipped("already started")
        if time.time() >= plan["ends_at"]:
            if run.read(host, job.status):
                return skipped("the window is over")
            return self.give_up(run, host, outcome.TOO_LATE)
        # Written before the host is asked: whatever interrupts us from here on, stop knows whom to ask.
        run.write_host(host, job.job, {"state": "starting"})
        failure, begun = self._start(host, plan, task_vars)
        if failure:
            return self.give_up(run, host, failure)
        run.write_host(host, job.job, begun)
        run.remove_host_file(host, job.status)
        return {"started": True}

    def give_up(self, run: RunDir, host: str, failure: Failure) -> dict[str, Any]:
        # What may be running all the same is for stop to end.
        if not failure.may_run:
            run.remove_host_file(host, self.job.job)
        return super().give_up(run, host, failure)

    def _start(self, host: str, plan: dict[str, Any], task_vars: dict[str, Any]) -> tuple[Failure | None, dict[str, Any]]:
        """Start it, as root if the task says so; where becoming root fails, as the user that is logged in."""
        failure, begun = self._attempt(plan, task_vars)
        if failure is None or not failure.become or not self._connection.become:
            return failure, begun
        method = self._connection.become.name
        self.without_become()
        second, begun = self._attempt(plan, task_vars)
        if second:
            return (failure if second.become else second), begun
        warn(
            f"{printable(host)} {_WITHOUT_ROOT[self.job]}: {printable(method)} failed "
            f"({printable(failure.reason)}). Allow it, or set stall_become: false."
        )
        return None, begun

    def _attempt(self, plan: dict[str, Any], task_vars: dict[str, Any]) -> tuple[Failure | None, dict[str, Any]]:
        arguments = {"state": "started", "run": plan["run"], "host": plan["host"], "plan": {**plan, "dispatched_at": time.time()}}
        try:
            result = self._execute_module(module_name=self.job.module, module_args=arguments, task_vars=task_vars)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            return outcome.of_error(str(error)), {}
        failure = outcome.of_result(result, (self._used_interpreter or "").lstrip("#!").strip(), self.job)
        return failure, {} if failure else outcome.started(result, bool(self._connection.become))
