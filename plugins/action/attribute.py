# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import attribute, request, rundir
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, skipped, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import CAPTURE
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class ActionModule(ControllerAction):
    """From the capture of a run to the named cause, in its findings."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        run = RunDir.find(parameters["runs_dir"], self._task.args["run"])
        if not run.capture.is_planned:
            return skipped("nothing was captured")
        catalogue = request.catalogue(parameters)
        for note in catalogue.notes:
            warn(printable(note))
        found = _attributed(run, catalogue)
        run.write("findings.json", json.dumps(found, indent=1, ensure_ascii=True) + "\n")
        return {"findings": str(run.path / "findings.json")}


def _attributed(run: RunDir, catalogue: Any) -> dict[str, Any]:
    findings = rundir.read_json(run.path / "findings.json")
    if findings is None or any(row.get("capture") for row in findings["hosts"]):
        raise RunDirError(f"{run.path}: it has no findings, or they hold a capture: rank it first, with report.yml -e stall_run={run.id}.")
    first, capture = run.manifest(), run.capture.manifest()
    before, _ = run.evidence(list(first["hosts"]))
    evidence, damaged = run.capture.evidence(list(capture["hosts"]))
    # A run of before there were taps has none
    captures, more = run.capture.evidence([*capture["run"]["captured"], *capture["run"].get("taps", [])], CAPTURE)
    for sentence in (*damaged, *more):
        warn(sentence)
    try:
        return attribute.build(findings, capture, evidence, captures, catalogue, (first, before))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        kind = f"{type(error).__name__}: {printable(error)}"
        raise RunDirError(f"the capture in {run.capture.path} can't be analysed ({kind}): please report it with that directory.") from error
