# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible import __version__ as core_version

from ansible_collections.fleet.stall.plugins.plugin_utils import request, rundir, verify_plan
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import OBSERVE
from ansible_collections.fleet.stall.plugins.plugin_utils.leads import lead_s
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

EVIDENCE_BYTES_PER_HOST = 100_000
VERIFY = "verify"


class ActionModule(ControllerAction):
    """Decide who probes again, as in an earlier run, and open the run directory of that."""

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        asked = request.read(task_vars, self._templar.template, self._loader)
        parameters, args = asked.parameters, self._task.args
        wanted, acting = _names(args.get("hosts")), _names(args.get("acting"))
        first, base = _where(parameters["runs_dir"], str(args.get("run") or ""), args.get("campaign"))
        manifest, findings = first.manifest(), rundir.read_json(first.path / "findings.json")
        if findings is None or manifest["run"].get("imported"):
            raise RunDirError(f"{first.path} holds no findings from probes: name a run of diagnose.yml with -e stall_run=<id>.")
        choice = verify_plan.choose(findings, manifest, asked.hosts, wanted, not acting)
        for host, because in choice.left_out.items():
            warn(f"{printable(host)} is not verified: {printable(because)}.")
        if not choice.hosts:
            display.display(f"Nothing is verified: {'no host can be probed' if choice.left_out else 'no host stalled in that run'}.")
            return {"run": "", "dir": "", "verifies": first.id, "hosts": [], "targets": [], "shares": {}, "left_out": choice.left_out}
        again = verify_plan.manifest_of(choice, manifest, findings, parameters)
        for sentence in again["warnings"]:
            warn(printable(sentence, 1000))
        shares = verify_plan.shares(list(again["hosts"]), acting)
        return _planned(base, again, shares, parameters["lead_s"])


def _names(given: Any) -> list[str]:
    """A list, as Ansible takes one from the command line too."""
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else list(given or [])


def _where(runs: str, run: str, campaign: str | None) -> tuple[RunDir, str | Path]:
    """The run that found the fault, and where the one that verifies it is kept."""
    if not campaign:
        return rundir.verified(runs, run), runs
    remediation = Remediation(campaign)
    return rundir.verified(remediation.base, run or remediation.plan()["run"]), remediation.path / VERIFY


def _planned(base: str | Path, manifest: dict[str, Any], shares: dict[str, list[str]], lead: float | None) -> dict[str, Any]:
    run = RunDir.create(base, time.time())
    try:
        starts = lead_s(len(manifest["hosts"]), max(map(len, shares.values())))
        manifest["run"] |= {"id": run.id, **_window(time.time(), max(starts, lead or 0), manifest["run"]["parameters"])}
        plans = verify_plan.observe_plans(manifest)
        run.reserve(EVIDENCE_BYTES_PER_HOST * len(plans))
        run.write_plan(manifest, {OBSERVE: plans})
    except BaseException:
        run.discard()
        raise
    return {
        "run": run.id,
        "dir": str(run.path),
        "verifies": manifest["run"]["verifies"],
        "starts_at": manifest["run"]["starts_at"],
        "ends_at": manifest["run"]["ends_at"],
        "hosts": list(manifest["hosts"]),
        "targets": manifest["run"]["verified"],
        "shares": shares,
        "left_out": manifest["run"]["left_out"],
    }


def _window(now: float, lead: float, parameters: dict[str, Any]) -> dict[str, Any]:
    starts_at = round(now + lead, 3)
    return {
        "started_at": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds"),
        "starts_at": starts_at,
        "ends_at": starts_at + parameters["window_s"],
        "versions": {"ansible_core": core_version},
    }
