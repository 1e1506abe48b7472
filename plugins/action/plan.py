# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any

from ansible import __version__ as core_version

from ansible_collections.fleet.stall.plugins.plugin_utils import mesh, request, rundir
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import OBSERVE
from ansible_collections.fleet.stall.plugins.plugin_utils.leads import lead_s
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

EVIDENCE_BYTES_PER_HOST = 100_000
_SOURCES_SHOWN = 20


class ActionModule(ControllerAction):
    """Decide who probes whom and when, and open the run directory."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        if parameters["run"]:
            run = RunDir.find(parameters["runs_dir"], parameters["run"])
            return _summary(run.manifest(), run)
        asked = request.with_kubernetes(request.read(task_vars, self._templar.template, self._loader))
        if self._task.check_mode:
            manifest = _manifest(asked, rundir.new_id(time.time()))
            _show(manifest)
            return _summary(manifest, None)
        run = RunDir.create(parameters["runs_dir"], time.time())
        try:
            manifest = _manifest(asked, run.id)
            plans = _host_plans(manifest)
            run.reserve(EVIDENCE_BYTES_PER_HOST * len(plans))
            run.write_plan(manifest, {OBSERVE: plans})
        except BaseException:
            run.discard()
            raise
        for warning in manifest["warnings"]:
            warn(printable(warning))
        return _summary(manifest, run)


def _manifest(asked: request.Request, run_id: str) -> dict[str, Any]:
    parameters = asked.parameters
    now = time.time()
    lead = parameters["lead_s"]
    if lead is None:
        lead = lead_s(sum(host["in_limit"] for host in asked.hosts.values()))
    starts_at = round(now + lead, 3)
    run = {
        "id": run_id,
        "started_at": datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds"),
        "starts_at": starts_at,
        "ends_at": starts_at + parameters["window_s"],
        "versions": {"ansible_core": core_version},
    }
    try:
        manifest = mesh.build(asked.hosts, parameters, run)
    except ValueError as error:
        raise request.RequestError(str(error)) from error
    manifest["warnings"] = [*asked.warnings, *manifest["warnings"]]
    return manifest


def _host_plans(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each host's share, from its own flows only: else this would take hosts x flows steps."""
    flows = defaultdict(list)
    for flow in manifest["flows"]:
        flows[flow["source"]].append(flow)
    return {name: mesh.host_plan({**manifest, "flows": flows[name]}, name) for name, host in manifest["hosts"].items() if host["in_limit"]}


def _summary(manifest: dict[str, Any], run: RunDir | None) -> dict[str, Any]:
    sent = manifest["budget"]["sent_pps"].values()
    received = manifest["budget"]["received_pps"].values()
    return {
        "run": manifest["run"]["id"],
        "dir": str(run.path) if run else "",
        "starts_at": manifest["run"]["starts_at"],
        "ends_at": manifest["run"]["ends_at"],
        "hosts": sum(host["in_limit"] for host in manifest["hosts"].values()),
        "flows": len(manifest["flows"]),
        "budget": (
            f"at most {max(sent, default=0):g} packets a second sent by a host (limit {manifest['budget']['host_pps_limit']:g}) "
            f"and {max(received, default=0):g} received (limit {manifest['budget']['target_pps_limit']:g})"
        ),
    }


def _show(manifest: dict[str, Any]) -> None:
    """The mesh for a person, in check mode."""
    by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for flow in manifest["flows"]:
        by_source[flow["source"]].append(flow)
    summary = _summary(manifest, None)
    lines = [f"{summary['flows']} flows between {summary['hosts']} hosts; {summary['budget']}. Nothing is sent in check mode."]
    for source in sorted(by_source)[:_SOURCES_SHOWN]:
        flows = by_source[source]
        targets = and_more(sorted({flow["target"] for flow in flows}))
        layers = ", ".join(sorted({flow["layer"] for flow in flows}))
        lines.append(f"  {printable(source)} -> {targets}: {len(flows)} flows ({layers})")
    if len(by_source) > _SOURCES_SHOWN:
        lines.append(f"  and {len(by_source) - _SOURCES_SHOWN} more sources")
    lines += [f"  {printable(sentence)}" for sentence in [*manifest["budget"]["reductions"], *manifest["warnings"]]]
    for line in lines:
        display.display(line)
