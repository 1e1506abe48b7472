# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.fleet.stall.plugins.plugin_utils import gates, journal_state, plan_check, remediation_request, request
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, failed, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import NOTHING, ROLL_BACK, STEP, Host
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation
from ansible_collections.fleet.stall.plugins.plugin_utils.remedies import Remedy
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class ActionModule(ControllerAction):
    """One step of one host: say what is about to be done, and how it ended."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        self.campaign = Remediation(self._task.args["dir"])
        self.host = task_vars["inventory_hostname"]
        events = {"begin": self._begin, "done": self._done, "failed": self._failed, "roll_back": self._roll_back}
        return events[self._task.args["event"]](task_vars)

    def _begin(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments, plan = self._task.args, self.campaign.plan()
        row = gates.planned(plan)[self.host]
        known = self.campaign.state().hosts.get(self.host) or Host(self.host)
        next_ = journal_state.next_of(known, row, boolean(arguments.get("retry", False)))
        if boolean(arguments.get("finishing", False)):
            next_ = journal_state.only_finish(known, next_)
        if next_.what != STEP or next_.index is None:
            return {"go": next_.what}
        step, measured, wave = row["steps"][next_.index], arguments["measured"], int(arguments["wave"])
        if not next_.resumed and known.step and not known.is_healthy:
            # What failed after our reboot has not failed before it.
            measured = {**measured, "failed_units": (known.step.before or {}).get("failed_units")}
        before = known.step.before if next_.resumed and known.step else measured
        if not next_.resumed:
            place = {"wave": wave, "step": next_.index, "remedy": step["remedy"]}
            self._note("step_begun", before=measured, place=place)
            known = self.campaign.state().hosts.get(self.host) or known
        # In a reboot of ours any boot may be its own.
        because = "" if known.reboot else plan_check.rebooted(row, measured.get("boot_id"), known.boot_ids)
        if because:
            self._note("step_failed", because=because)
            # No failure of the play, which would leave a host that we took out of service as it is.
            warn(f"{printable(self.host)}: {because}.")
            return {"go": NOTHING}
        remedy = self._remedy(step["remedy"], task_vars)
        seen = {**_complete(step, remedy), "host": self.host, "wave": wave, "resumed": next_.resumed, "before": before}
        check = "" if next_.resumed or not remedy.check_tasks.is_file() else str(remedy.check_tasks)
        return {"go": STEP, "step": seen, "tasks": str(remedy.tasks), "check": check}

    def _roll_back(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        row = gates.planned(self.campaign.plan())[self.host]
        known = self.campaign.state().hosts.get(self.host) or Host(self.host)
        next_ = journal_state.next_of(known, row)
        if next_.what != ROLL_BACK or next_.index is None or known.step is None:
            return {"go": NOTHING}
        step = row["steps"][next_.index]
        remedy = self._remedy(step["remedy"], task_vars)
        seen = {**_complete(step, remedy), "host": self.host, "wave": known.wave, "resumed": False, "before": known.step.before}
        seen["undo_with"] = known.step.result.get("undo")
        return {"go": ROLL_BACK, "step": seen, "tasks": str(remedy.undo_tasks)}

    def _done(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        result = self._task.args["result"]
        if not isinstance(result, dict) or not isinstance(result.get("changed"), bool):
            return failed(
                [f"{printable(self.host)}: the remedy left no stall_step_result {{changed, said, undo}}: what it did is not known."]
            )
        said = result.get("said") or []
        said = [said] if isinstance(said, str) else [str(sentence) for sentence in said]
        self._note("step_done", changed=result["changed"], said=said, undo=result.get("undo"), after=self._task.args["measured"])
        return {}

    def _failed(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        task, because = self._task.args.get("task"), self._task.args["because"]
        self._note("step_failed", because=f"{task}: {because}" if task else because)
        return {}

    def _remedy(self, name: str, task_vars: dict[str, Any]) -> Remedy:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        return remediation_request.allowed(parameters)[name]

    def _note(self, event: str, place: dict[str, Any] | None = None, **data: Any) -> None:
        if not self._task.check_mode:
            self.campaign.note(event, host=self.host, data=data, **(place or {}))


def _complete(step: dict[str, Any], remedy: Remedy) -> dict[str, Any]:
    return {**step, "parameters": remedy.complete(step["parameters"])}
