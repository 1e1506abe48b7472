# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import findings, request
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, skipped, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

REQUIRED = ("schema_version", "run", "hosts", "coincident", "warnings")


class ActionModule(ControllerAction):
    """From the evidence of a run to its findings."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        run = RunDir.find(parameters["runs_dir"], self._task.args["run"])
        manifest = run.manifest()
        if manifest["run"].get("imported"):
            return skipped("imported logs were judged as they were imported")
        evidence, damaged = run.evidence(list(manifest["hosts"]))
        # The window was measured with the run's own parameters; only how it is graded may be changed afterwards.
        used = {**parameters, **manifest["run"]["parameters"], "grades": parameters["grades"]}
        try:
            found = findings.build(manifest, evidence, used)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            kind = f"{type(error).__name__}: {printable(error)}"
            raise RunDirError(f"the evidence in {run.path} can't be analysed ({kind}): please report it with that directory.") from error
        missing = [key for key in REQUIRED if key not in found]
        if missing:
            raise RunDirError(f"the findings of {run.path} lack {', '.join(missing)}: please report it with that directory.")
        for sentence in damaged:
            warn(sentence)
        run.write("findings.json", json.dumps(found, indent=1, ensure_ascii=True) + "\n")
        return {"findings": str(run.path / "findings.json"), "hosts": len(found["hosts"]), "measured": found["run"]["hosts_measured"]}
