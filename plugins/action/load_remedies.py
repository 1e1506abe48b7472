# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    gates,
    plan_check,
    plan_file,
    plan_files,
    plan_table,
    remediation_request,
    remediation_table,
    request,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import State
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import PLAN, Remediation
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation_request import PLAYED, SPEAKERS
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import LATEST, RunDir, RunDirError


class ActionModule(ControllerAction):
    """Check a plan, and say who is left in which wave."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters = remediation_request.parameters(task_vars, self._templar.template)
        path = _path(parameters["plan"], parameters["runs_dir"])
        _refuse_another(path, parameters["plan_digest"])
        plan = plan_file.read(path)
        fleet = remediation_request.fleet(task_vars["groups"], parameters["domains"])
        request.refuse(f"{path}: {sentence}." for sentence in plan_check.wrong(plan, remediation_request.allowed(parameters), fleet))
        campaign = Remediation.of_plan(_run(path, plan["run"], parameters["runs_dir"]), plan["plan"])
        state = campaign.state()
        self._refuse(path, plan, campaign, state)
        left = any(gates.left(plan, state, parameters["retry"]))
        if not plan["hosts"] or (gates.is_done(plan, state) and state.outcome and not left):
            return {**self._ended(plan, campaign, state), "done": True}
        in_service = remediation_request.in_service(plan, task_vars["hostvars"], parameters["drain_driver"])
        if not (parameters["confirm"] or self._task.check_mode):
            for line in plan_table.lines(plan, parameters["top"], in_service):
                display.display(line)
            display.display("Nothing was done: confirm it with -e stall_confirm=true.")
            return _result(campaign)
        if not campaign.is_open:
            campaign.create(plan, path.read_text(encoding="utf-8"))
        return {**_result(campaign, _called_up(plan, state, parameters["retry"], task_vars["groups"])), "confirmed": True}

    def _refuse(self, path: Path, plan: dict[str, Any], campaign: Remediation, state: State) -> None:
        """What may not be begun; a campaign that was begun may still have hosts to be given back."""
        if not campaign.is_open:
            because = plan_check.expired(plan, datetime.now(timezone.utc))
            request.refuse([f"{path}: {because}."] if because else [])
        elif campaign.plan() != plan:
            raise RunDirError(
                f"{path}: is no longer the plan that was begun, {campaign.path / PLAN}: go on with that one, "
                f"-e stall_plan={campaign.path / PLAN}, or make a new plan."
            )

    def _ended(self, plan: dict[str, Any], campaign: Remediation, state: State) -> dict[str, Any]:
        for line in remediation_table.lines(plan, state):
            display.display(line)
        display.display(f"Plan {plan['plan']} is done: there is nothing left to do. What was done: {campaign.path}")
        return _result(campaign)


def _refuse_another(path: Path, approved: str) -> None:
    if approved and path.exists() and (found := plan_files.digest(path)) != approved.lower():
        raise RunDirError(
            f"{path}: is not the plan that was approved: its SHA-256 is {found}, and stall_plan_digest is {approved}. It was made anew or "
            "edited since: read it, and approve it without stall_plan_digest, or with that of today."
        )


def _path(plan: str, base: str) -> Path:
    """A plan by its path, or by the run that has it. Raises RunDirError."""
    path = Path(plan).expanduser()
    if path.is_file() or "/" in plan:
        return path.absolute()
    if plan != LATEST and path.suffix:
        return path.absolute()
    return RunDir.find(base, plan).path / PLAN


def _run(path: Path, run: str, base: str) -> RunDir:
    """The run that the plan lies in, where it does; else by its id. Raises RunDirError."""
    around = [parent.parent for parent in path.parents if parent.name == run]
    return RunDir.find(around[0] if around else base, run)


def _called_up(plan: dict[str, Any], state: State, retry: bool, groups: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Hosts by wave, each wave behind the host that speaks for it; a wave that has passed, and has nothing left to do, is over.

    The last is called up in any case: a controller that died behind it has not closed the campaign.
    """
    found = []
    waves = gates.left(plan, state, retry)
    for number, hosts in enumerate(waves, 1):
        if not hosts and state.waves.get(number) == "passed" and number < len(waves):
            continue
        speaker = _speaker(number, groups)
        found.append({"name": speaker, "groups": [PLAYED, SPEAKERS], "wave": number})
        found += [{"name": host, "groups": [PLAYED], "wave": number} for host in hosts]
    return found


def _speaker(number: int, groups: dict[str, list[str]]) -> str:
    """A name that no host of the inventory has."""
    name = f"wave-{number}"
    while name in groups.get("all", ()):
        name = f"fleet-stall-{name}"
    return name


def _result(campaign: Remediation, hosts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"dir": str(campaign.path), "hosts": hosts or [], "done": False, "confirmed": False}
