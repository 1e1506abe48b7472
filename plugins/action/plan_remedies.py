# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    fleet,
    plan_check,
    plan_files,
    plan_make,
    plan_table,
    remediation,
    remediation_request,
    remedy_choice,
    request,
    rundir,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError

_HEADING = """What is to be done about the stalls of run {run}. Nothing is done until it is confirmed:
  {command}
It can be edited: take hosts out of hosts and waves, move them between waves, change or remove steps, lower limits. docs/plan.schema.json is
its form, and what does not fit is refused before anything runs."""


class ActionModule(ControllerAction):
    """From findings to a plan of remediation."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters = remediation_request.parameters(task_vars, self._templar.template)
        for sentence in fleet.unknown_variables(task_vars):
            warn(sentence)
        run = RunDir.find(parameters["runs_dir"], self._task.args["run"])
        plan = _plan(run, parameters, task_vars["groups"])
        path = run.path / remediation.PLAN
        command = f"ansible-playbook {plan_files.inventory(task_vars)}remediate.yml -e stall_plan={path} -e stall_confirm=true"
        is_new = plan_files.replace(run, plan, _HEADING.format(run=run.id, command=command), self._task.check_mode)
        in_service = remediation_request.in_service(plan, task_vars["hostvars"], parameters["drain_driver"])
        for line in plan_table.lines(plan, parameters["top"], in_service):
            display.display(line)
        display.display(f"plan: {path}" + ("" if is_new else " (as it was)"))
        if plan["hosts"]:
            display.display(f"Nothing was done. Read it, edit it, and confirm it with:\n  {command}")
        return plan_files.result(path, plan, is_new)


def _plan(run: RunDir, parameters: dict[str, Any], groups: dict[str, list[str]]) -> dict[str, Any]:
    findings = rundir.read_json(run.path / "findings.json")
    if findings is None:
        raise RunDirError(f"{run.path} holds no findings: diagnose first, or rank it with report.yml -e stall_run={run.id}.")
    domains = remediation_request.fleet(groups, parameters["domains"])
    request.refuse(plan_make.wrong_limits(parameters, domains))
    choice = remedy_choice.choose(findings, remediation_request.allowed(parameters), parameters["remedy_confidence"])
    now = datetime.now(timezone.utc)
    plan = plan_make.build(
        name=remediation.next_name(run),
        run=run.id,
        now=now,
        found_at=_found_at(findings, now),
        hosts=_known_hosts(choice, run, findings, domains),
        left_out=choice.left_out,
        down=_down(findings, run, domains),
        domains=domains,
        parameters=parameters,
    )
    if because := plan_check.expired(plan, now):
        raise RunDirError(f"{run.path}: {because}; or raise stall_plan_valid_h, if you know that they still hold.")
    return plan


def _found_at(findings: dict[str, Any], now: datetime) -> datetime:
    """When the run ended; of logs that do not say when they were made, now."""
    at = findings["run"].get("finished_at") or findings["run"].get("started_at")
    return datetime.fromisoformat(at.replace("Z", "+00:00")) if at else now


def _known_hosts(
    choice: remedy_choice.Choice, run: RunDir, findings: dict[str, Any], fleet: dict[str, dict[str, str]]
) -> list[dict[str, Any]]:
    """The hosts that something is to be done about, with what the plan says of each; those that the inventory lacks are left out."""
    rows = {row["host"]: row for row in findings["hosts"]}
    missing = [planned["host"] for planned in choice.hosts if planned["host"] not in fleet]
    choice.left_out += [{"host": host, "because": "the inventory has no such host"} for host in missing]
    evidence, _damaged = run.evidence([planned["host"] for planned in choice.hosts])
    return [
        {
            **planned,
            "boot_id": evidence.get(planned["host"], {}).get("boot_id"),
            "stalled_ms_per_s": rows[planned["host"]]["severity"]["stalled_ms_per_s"],
            "side": rows[planned["host"]]["blame"]["side"],
        }
        for planned in choice.hosts
        if planned["host"] in fleet
    ]


def _down(findings: dict[str, Any], run: RunDir, fleet: dict[str, dict[str, str]]) -> list[str]:
    """Hosts that were asked and gave no result: what can't be seen to be up does not count as such."""
    asked = run.manifest()["hosts"]
    return [
        row["host"]
        for row in findings["hosts"]
        if row["status"] == "not_measured" and row["host"] in fleet and asked.get(row["host"], {}).get("in_limit", False)
    ]
