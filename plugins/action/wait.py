# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import jobs, outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, record
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

# What an observer that misses no reply needs to write its result; gather waits for those that still wait for one.
MARGIN_S = 0.5


class ActionModule(ControllerAction):
    """Sleep until the window is over, then make room for the evidence."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        run = RunDir(self._task.args["dir"])
        manifest = run.manifest()
        hosts = [name for name, known in manifest["hosts"].items() if known["in_limit"]]
        started = {job: run.started(hosts, job) for job in jobs.JOBS}
        for job in jobs.JOBS:
            for host in run.unheard(hosts, job):
                record(run, host, outcome.NOT_ASKED, job)
        # Who records its packets alone is not captured
        captured = [host for host in started[jobs.CAPTURE] if host in manifest["run"].get("captured", ())]
        end = manifest["run"]["ends_at"] + MARGIN_S
        left = end - time.time()
        if any(started.values()) and left > 0:
            clock = time.strftime("%H:%M:%S", time.localtime(end))
            who = f"{len(started[jobs.OBSERVE])} of {len(manifest['hosts'])} hosts observe"
            if run.is_capture:
                who = f"{and_more(captured)} {'is' if len(captured) == 1 else 'are'} captured" if captured else "No host is captured"
            display.display(f"{who} until {clock}, {left:.0f} s from now.")
            time.sleep(left)
        run.release()
        return {"started": len(started[jobs.OBSERVE]), "captured": len(captured)}
