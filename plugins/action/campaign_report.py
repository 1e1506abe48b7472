# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    campaign_report,
    campaign_rows,
    remediation_request,
    remediation_table,
    rundir,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, skipped
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir


class ActionModule(ControllerAction):
    """Report a kernel campaign: host by host, and the fleet by kernel and stall severity."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters = remediation_request.parameters(task_vars, self._templar.template)
        campaign = Remediation(self._task.args["dir"])
        plan = campaign.plan()
        run = RunDir.find(str(campaign.base), plan["run"])
        kernels, findings = rundir.read_json(run.path / "kernels.json"), rundir.read_json(run.path / "findings.json")
        if kernels is None or findings is None:
            return skipped("this plan is of no kernel campaign")
        state = campaign.state()
        rows, ending = campaign_rows.of_hosts(plan, state, kernels, findings), remediation_table.ending(state)
        run.write("campaign.md", campaign_report.markdown(plan["plan"], rows, ending))
        page = run.write("campaign.html", campaign_report.html(plan["plan"], rows, ending))
        for line in campaign_report.lines(rows, ending, parameters["top"]):
            display.display(line)
        display.display(f"kernels: {page}")
        return {"report": str(page)}
