# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import findings, request, rundir, verification
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, skipped, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.verification import Window

# Manifests of a large fleet are large
_TREND_RUNS = 20


class ActionModule(ControllerAction):
    """From two runs of the same probes to a verdict for each host."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        args = self._task.args
        if not args.get("dir") and not args.get("run"):
            return self._told("", verification.not_probed(args.get("left_out") or {}))
        again = RunDir(args["dir"]) if args.get("dir") else RunDir.find(parameters["runs_dir"], str(args["run"]))
        manifest = again.manifest()
        if "verifies" not in manifest["run"]:
            return skipped("this run verifies no other")
        first = self._first(manifest["run"]["verifies"], parameters["runs_dir"])
        found = _judged(first, again, parameters["grades"])
        again.write("verification.json", json.dumps(found, indent=1, ensure_ascii=True) + "\n")
        return self._told(str(again.path / "verification.json"), found["hosts"])

    def _first(self, run: str, runs: str) -> RunDir:
        campaign = self._task.args.get("campaign")
        return RunDir.find(Remediation(campaign).base if campaign else runs, run)

    def _told(self, path: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The result, which a campaign keeps."""
        if campaign := self._task.args.get("campaign"):
            for row in rows:
                told = {key: row[key] for key in ("verdict", "sentence", "before", "after")}
                Remediation(campaign).note("verified", host=row["host"], data={**told, "run": Path(path).parent.name if path else None})
        return {"verification": path, "verdicts": {row["host"]: row for row in rows}}


def _judged(first: RunDir, again: RunDir, grades: dict[str, float]) -> dict[str, Any]:
    windows = []
    for run in (first, again):
        manifest = run.manifest()
        evidence, damaged = run.evidence(list(manifest["hosts"]))
        for sentence in damaged:
            warn(sentence)
        windows.append(Window(manifest, evidence))
    try:
        again.write("findings.json", json.dumps(_findings(windows[1], grades), indent=1, ensure_ascii=True) + "\n")
        found = verification.build(*windows, grades)
        runs = _runs({first.path.parent, again.path.parent})
        for row in found["hosts"]:
            row["trend"] = verification.trend(row["host"], runs, windows[0].manifest)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        kind = f"{type(error).__name__}: {printable(error)}"
        raise RunDirError(f"{again.path} can't be compared with {first.path} ({kind}): please report it with both directories.") from error
    return found


def _findings(window: Window, grades: dict[str, float]) -> dict[str, Any]:
    used = {**window.manifest["run"]["parameters"], "grades": grades}
    return findings.build(window.manifest, window.evidence, used)


def _runs(bases: set[Path]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Manifest and findings of the newest runs; what can't be read, or was imported, is no run to put in a line with others."""
    found = []
    for run in sorted((run for base in bases for run in rundir.runs(base)), key=lambda run: run.id)[-_TREND_RUNS:]:
        try:
            told = rundir.read_json(run.path / "findings.json")
            if told and not run.manifest()["run"].get("imported"):
                found.append((run.manifest(), told))
        except RunDirError as error:
            warn(str(error))
    return found
