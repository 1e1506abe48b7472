# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import report, request, rundir, table, verify_page, wording
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import failed as failure
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

GRADES = ("minor", "major", "critical")
_NARROWEST = 100


class ActionModule(ControllerAction):
    """Show the findings of a run."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        run = RunDir.find(parameters["runs_dir"], self._task.args["run"])
        findings = rundir.read_json(run.path / "findings.json")
        if findings is None:
            raise RunDirError(f"{run.path} holds no findings: analyse it first, with report.yml -e stall_run={run.id}.")
        verification = rundir.read_json(run.path / "verification.json")
        if verification:
            findings = verify_page.only_verified(findings, verification)
        run.write("report.md", report.markdown(findings, verification))
        page = run.write("report.html", report.html(findings, verification))
        width = max(display.columns, _NARROWEST)
        shown = verify_page.table(verification, width) if verification else table.render(findings, parameters["top"], width)
        for line in shown.splitlines():
            display.display(line)
        display.display(f"findings and report: {run.path}")
        counts = {status: sum(host["status"] == status for host in findings["hosts"]) for status in ("stalling", "not_measured")}
        return {"report": str(page), **counts, **verdict(findings, parameters["fail_on"])}


def verdict(findings: dict[str, Any], fail_on: str) -> dict[str, Any]:
    """What makes the play fail, if anything does."""
    if all(host["status"] == "not_measured" for host in findings["hosts"]):
        reasons = wording.not_measured(findings)
        first = f"{and_more(reasons[0][1], 3)}: {reasons[0][0]}" if reasons else "there is none"
        return failure([f"no host was measured ({first}{'; and other reasons, above' * (len(reasons) > 1)})."])
    if fail_on:
        bad = GRADES[GRADES.index(fail_on) :]
        hosts = [host["host"] for host in findings["hosts"] if host["status"] == "stalling" and host["severity"]["grade"] in bad]
        if hosts:
            return failure([f"stall_fail_on is '{fail_on}', and as bad or worse: {and_more(hosts)}."])
    return {}
