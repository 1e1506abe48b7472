# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    campaign_lock,
    gates,
    plan_check,
    remediation_page,
    remediation_request,
    remediation_table,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, failed
from ansible_collections.fleet.stall.plugins.plugin_utils.campaign_lock import Holder
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation, process

DONE, STOPPED = "done", "stopped"


class ActionModule(ControllerAction):
    """End a campaign: say what was done and whether it helped, and give the lock back."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            display.display("Nothing was done: check mode.")
            return {"outcome": ""}
        parameters = remediation_request.parameters(task_vars, self._templar.template)
        campaign = Remediation(self._task.args["dir"])
        plan, state = campaign.plan(), campaign.state()
        outcome = DONE if gates.is_done(plan, state) else STOPPED
        if outcome == STOPPED and state.stopped is None:
            campaign.note("stopped", data={"because": "its play ended before its waves did", "failed": False})
        campaign.note("closed", data={"outcome": outcome})
        lines, state = campaign.lines(), campaign.state()
        campaign.write("remediation.md", remediation_page.markdown(plan, state, lines))
        campaign.write("remediation.html", remediation_page.html(plan, state, lines))
        campaign_lock.release(campaign.base, Holder.of_process(plan["plan"], process(), plan_check.stamp(datetime.now(timezone.utc))))
        for line in remediation_table.lines(plan, state, parameters["top"]):
            display.display(line)
        display.display(f"journal and report: {campaign.path}")
        if outcome == STOPPED and not (state.stopped or {}).get("until"):
            return {**failed([remediation_table.ending(state)]), "outcome": outcome}
        return {"outcome": outcome}
