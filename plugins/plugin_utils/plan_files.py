# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan.yml in the directory of its run: one that would do the same stays, one that is replaced is kept beside the new one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import plan_check, plan_file, plan_make
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import PLAN, Remediation
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError


def inventory(task_vars: Mapping[str, Any]) -> str:
    """The inventory as options of the command that confirms a plan."""
    return "".join(f"-i {source} " for source in task_vars.get("ansible_inventory_sources") or [])


def replace(run: RunDir, plan: Mapping[str, Any], heading: str, only_see: bool) -> bool:
    """Write the plan, if it is a new one; whether it is. Raises RunDirError."""
    path = run.path / PLAN
    known = _known(path)
    is_new = known is None or not plan_make.same(known, plan) or _is_over(run, known)
    if is_new and not only_see:
        _keep(path)
        run.write(path.name, plan_file.text(plan, heading))
    return is_new


def digest(path: Path) -> str:
    """SHA-256 of a plan as it is, in hex: what is approved is this text, wherever it lies; empty where there is none.

    Raises RunDirError.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
    except OSError as error:
        raise RunDirError(f"{path} can't be read: {error.strerror}.") from error


def result(path: Path, plan: Mapping[str, Any], is_new: bool) -> dict[str, Any]:
    """What the actions that plan return."""
    hosts = [row["host"] for row in plan["hosts"]]
    return {"changed": is_new, "plan": str(path), "digest": digest(path), "hosts": hosts, "waves": plan["waves"]}


def _is_over(run: RunDir, known: Mapping[str, Any]) -> bool:
    """Whether a plan can't be gone on with: its findings are too old, or it was changed after it was begun."""
    campaign = Remediation.of_plan(run, known["plan"])
    return bool(plan_check.expired(known, datetime.now(timezone.utc))) or (campaign.is_open and campaign.plan() != known)


def _known(path: Path) -> dict[str, Any] | None:
    try:
        return plan_file.read(path) if path.exists() else None
    except plan_file.PlanError:
        return None


def _keep(path: Path) -> None:
    """A plan that was edited is not lost to the next one. Raises RunDirError."""
    if path.exists():
        made = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        try:
            path.rename(path.with_name(f"plan.{made}.yml"))
        except OSError as error:
            raise RunDirError(f"{path} can't be kept beside the new plan: {error.strerror}. Move it out of the way.") from error
