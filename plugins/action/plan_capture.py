# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import admission, capture_plan, request, rundir
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display
from ansible_collections.fleet.stall.plugins.plugin_utils.capture_plan import Choice
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import CAPTURE, OBSERVE
from ansible_collections.fleet.stall.plugins.plugin_utils.leads import lead_s
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

# What a host may send over the wire (transfer.WIRE_LIMIT), and four times that when it is unpacked.
EVIDENCE_BYTES_PER_CAPTURE = 16_000_000
EVIDENCE_BYTES_PER_HOST = 100_000
_NOTHING: dict[str, Any] = {"dir": "", "hosts": [], "captured": {}}


class ActionModule(ControllerAction):
    """Decide whom to open up, and open the directory of the capture."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        run = RunDir.find(parameters["runs_dir"], self._task.args["run"])
        if run.capture.is_planned:
            return _summary(run.capture)
        if not parameters["capture"]:
            return _NOTHING
        findings = rundir.read_json(run.path / "findings.json")
        if findings is None:
            raise RunDirError(f"{run.path} holds no findings: rank it first, with report.yml -e stall_run={run.id}.")
        manifest = run.manifest()
        choice = capture_plan.choose(findings, manifest, parameters)
        for sentence in choice.said:
            display.display(printable(sentence))
        if not choice.captured:
            display.display("Nothing is captured: there is no host to open up.")
            return _NOTHING
        return _planned(run, choice, manifest, findings, parameters)


def _planned(run: RunDir, choice: Choice, first: dict[str, Any], findings: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    evidence = admission.admitted(first, run.evidence(list(first["hosts"]))[0])
    capture = run.create_capture()
    try:
        manifest = capture_plan.manifest_of(choice, first, findings, parameters)
        starts = len(manifest["hosts"]) + len(choice.captured) + len(manifest["run"]["taps"])
        lead = max(lead_s(starts, captures=len(choice.captured)), parameters["lead_s"] or 0)
        manifest["run"] |= {"id": capture.id, "versions": first["run"]["versions"], **_window(time.time(), lead, parameters)}
        plans = {OBSERVE: capture_plan.observe_plans(manifest), CAPTURE: capture_plan.capture_plans(manifest, evidence)}
        capture.reserve(EVIDENCE_BYTES_PER_CAPTURE * len(plans[CAPTURE]) + EVIDENCE_BYTES_PER_HOST * len(plans[OBSERVE]))
        capture.write_plan(manifest, plans)
    except BaseException:
        capture.discard()
        raise
    return _summary(capture)


def _window(now: float, lead: float, parameters: dict[str, Any]) -> dict[str, Any]:
    starts_at = round(now + lead, 3)
    return {
        "started_at": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds"),
        "starts_at": starts_at,
        "ends_at": starts_at + parameters["capture_s"],
    }


def _summary(capture: RunDir) -> dict[str, Any]:
    manifest = capture.manifest()
    run = manifest["run"]
    return {
        "dir": str(capture.path),
        "starts_at": run["starts_at"],
        "ends_at": run["ends_at"],
        "hosts": list(manifest["hosts"]),
        "captured": run["captured"],
    }
