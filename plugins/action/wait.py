# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, record
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir

# What an observer that misses no reply needs to write its result; gather waits for those that still wait for one.
MARGIN_S = 0.5


class ActionModule(ControllerAction):
    """Sleep until the window is over, then make room for the evidence."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        run = RunDir(self._task.args["dir"])
        manifest = run.manifest()
        started = run.started(list(manifest["hosts"]))
        for host in run.unheard(name for name, known in manifest["hosts"].items() if known["in_limit"]):
            record(run, host, outcome.NOT_ASKED)
        end = manifest["run"]["ends_at"] + MARGIN_S
        left = end - time.time()
        if started and left > 0:
            clock = time.strftime("%H:%M:%S", time.localtime(end))
            display.display(f"{len(started)} of {len(manifest['hosts'])} hosts observe until {clock}, {left:.0f} s from now.")
            time.sleep(left)
        run.release()
        return {"started": len(started)}
