# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import causes, request
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import build, logs
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class ActionModule(ControllerAction):
    """From a directory of foreign logs to a run with findings."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        catalogue = request.catalogue(parameters)
        for note in catalogue.notes:
            warn(printable(note))
        try:
            read = logs.read(self._task.args["directory"], parameters["slow_call_ms"])
        except logs.LogsError as error:
            raise request.RequestError(str(error)) from error
        run = RunDir.create(parameters["runs_dir"], time.time())
        try:
            found = _findings(read, run, parameters, catalogue)
            run.write("findings.json", json.dumps(found, indent=1, ensure_ascii=True) + "\n")
            run.write_plan(_manifest(found), {})
        except BaseException:
            run.discard()
            raise
        return {"run": run.id, "dir": str(run.path), "files": len(read.logs), "hosts": len(found["hosts"])}


def _findings(read: logs.Logs, run: RunDir, parameters: dict[str, Any], catalogue: causes.Catalogue) -> dict[str, Any]:
    asked = build.Asked(run.id, parameters["threshold_ms"], parameters["grades"], parameters["logs_host"], parameters["logs_kernel"])
    try:
        return build.findings(read, asked, lambda case: causes.match(catalogue, case), time.time())
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError, OverflowError) as error:
        kind = f"{type(error).__name__}: {printable(error)}"
        raise RunDirError(f"the logs in {printable(read.directory)} can't be analysed ({kind}): please report it with them.") from error


def _manifest(found: dict[str, Any]) -> dict[str, Any]:
    """What makes it a run for report.yml; there is no evidence to analyse again."""
    return {
        "schema_version": 1,
        "run": found["run"],
        "hosts": {host["host"]: {"groups": []} for host in found["hosts"]},
        "flows": [],
        "budget": {"reductions": []},
        "warnings": found["warnings"],
    }
