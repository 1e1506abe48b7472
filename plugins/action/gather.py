# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import math
from typing import Any

from ansible.errors import AnsibleError

from ansible_collections.fleet.stall.plugins.plugin_utils import outcome, transfer
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import HostAction, skipped, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.outcome import Failure
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

GRACE_S = 15


class ActionModule(HostAction):
    """Bring the result of one host home, and only then remove it there."""

    def act(self, run: RunDir, host: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        job = run.read(host, self.job.job)
        if job is None:
            return skipped("nothing to gather")
        if job["state"] == "starting":
            run.remove_host_file(host, self.job.job)
            if run.read(host, self.job.status):
                return skipped(f"its {self.job.noun} was not started")
            return super().give_up(run, host, outcome.interrupted(self.job))
        if not job["become"]:
            self.without_become()
        grace_s = GRACE_S + math.ceil(job["lingers_s"])
        printed = self._low_level_execute_command(transfer.read_command(job["result"], job["pid"], grace_s))["stdout"]
        content = transfer.content(printed, run.id, host, self.job)
        run.write_host(host, self.job.result, content)
        for name in (self.job.status, self.job.job):
            run.remove_host_file(host, name)
        self._clean_up(host, job["dir"])
        if missing := outcome.narrowed(content):
            warn(f"{printable(host)} is captured as far as that goes: {printable('; '.join(missing), 1000)}.")
        return {"measured": content.get("status") == "measured", "bytes": len(printed)}

    def _clean_up(self, host: str, directory: str) -> None:
        try:
            self._low_level_execute_command(transfer.remove_command(directory))
        except AnsibleError as error:
            warn(f"{printable(host)} is {self.job.done}, but {printable(directory)} is left on it: {printable(error)}")

    def give_up(self, run: RunDir, host: str, failure: Failure) -> dict[str, Any]:
        remedy = f"the result stays on the host: gather it with -e stall_run={run.of.id}"
        return super().give_up(run, host, dataclasses.replace(failure, stage="gather", remedy=remedy))
