# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    campaign,
    plan_files,
    plan_make,
    plan_table,
    remediation,
    remediation_request,
    request,
    rundir,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display
from ansible_collections.fleet.stall.plugins.plugin_utils.fleet import Patterns
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_check import stamp
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError

_HEADING = """A rolling upgrade of the kernel, measured against run {run}. Nothing is done until it is confirmed; the same command
goes on with it, tomorrow or in the next window, until it is done:
  {command}
It can be edited: take hosts out of hosts and waves, move them between waves, lower limits. docs/plan.schema.json is its form."""


class ActionModule(ControllerAction):
    """From the kernels of the fleet to a plan of their upgrade."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters = remediation_request.parameters(task_vars, self._templar.template)
        run = RunDir.find(parameters["runs_dir"], self._task.args["run"])
        now = datetime.now(timezone.utc)
        findings = _findings(run, now, parameters["plan_valid_h"])
        allowed = remediation_request.allowed(parameters)
        if campaign.REMEDY not in allowed:
            request.refuse([f"stall_remedies does not name {campaign.REMEDY}: add it, or leave stall_remedies out."])
        choice = campaign.choose(self._looks(task_vars, parameters), findings, allowed[campaign.REMEDY])
        plan = _plan(run, now, choice, parameters, task_vars["groups"])
        path = run.path / remediation.PLAN
        command = f"ansible-playbook {plan_files.inventory(task_vars)}campaign.yml -e stall_plan={path} -e stall_confirm=true"
        is_new = plan_files.replace(run, plan, _HEADING.format(run=run.id, command=command), self._task.check_mode)
        if not self._task.check_mode:
            known = campaign.kernels(run.id, parameters["kernel"], stamp(now), choice)
            run.write("kernels.json", json.dumps(known, indent=1, ensure_ascii=True) + "\n")
        in_service = remediation_request.in_service(plan, task_vars["hostvars"], parameters["drain_driver"])
        for line in plan_table.lines(plan, parameters["top"], in_service):
            display.display(line)
        display.display(f"plan: {path}" + ("" if is_new else " (as it was)"))
        if plan["hosts"]:
            display.display(f"Nothing was done. Read it, edit it, and confirm it with:\n  {command}")
        return plan_files.result(path, plan, is_new)

    def _looks(self, task_vars: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Host -> what kernel_facts said of it."""
        selected, wrong = Patterns(task_vars["groups"], self._loader).select("stall_campaign_hosts", parameters["campaign_hosts"])
        request.refuse(wrong)
        nothing = {"unreachable": True, "msg": "it was not reached"}
        return {host: task_vars["hostvars"][host].get("stall_kernel_facts") or nothing for host in selected}


def _findings(run: RunDir, now: datetime, valid_h: float) -> dict[str, Any]:
    findings = rundir.read_json(run.path / "findings.json")
    if findings is None:
        raise RunDirError(f"{run.path} holds no findings: diagnose first, or rank it with report.yml -e stall_run={run.id}.")
    at = findings["run"].get("finished_at") or findings["run"].get("started_at")
    if at and datetime.fromisoformat(at.replace("Z", "+00:00")) + timedelta(hours=valid_h) < now:
        raise RunDirError(f"{run.path} is of {at}: what an upgrade changes can't be told from that. Diagnose again.")
    return findings


def _plan(run: RunDir, now: datetime, choice: campaign.Choice, parameters: dict[str, Any], groups: dict[str, list[str]]) -> dict[str, Any]:
    fleet = remediation_request.fleet(groups, parameters["domains"])
    request.refuse(plan_make.wrong_limits(parameters, fleet))
    return plan_make.build(
        name=remediation.next_name(run, "campaign"),
        run=run.id,
        now=now,
        found_at=now,
        hosts=choice.hosts,
        left_out=choice.left_out,
        down=choice.down,
        domains=fleet,
        parameters={**parameters, "plan_valid_h": parameters["campaign_valid_h"], "escalate": False},
    )
