# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import math
import os
import shlex
import socket
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.fleet.stall.plugins.plugin_utils import cluster, fleet, node_drain
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.fleet.stall.plugins.plugin_utils.cluster import Cluster, ClusterError
from ansible_collections.fleet.stall.plugins.plugin_utils.kubernetes_nodes import NodeError, node_of
from ansible_collections.fleet.stall.plugins.plugin_utils.node_drain import DrainError, Limits
from ansible_collections.fleet.stall.plugins.plugin_utils.request import RequestError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class ActionModule(ControllerAction):
    """Bring the node of a host into a state."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        self._vars, self._parent = task_vars, os.getppid()
        try:
            cluster.require()
            reached = Cluster(self._module, str(self._of("stall_kubeconfig", "")), str(self._of("stall_kube_context", "")))
            name = str(self._task.args.get("node") or self._of("stall_node_name", "")) or self._find(reached)
            bring = getattr(self, f"_{self._task.args.get('state', 'seen')}")
            return {"node": name, **bring(reached, name, self._limits())}
        except (ClusterError, DrainError, NodeError) as error:
            raise RequestError(f"{printable(task_vars['inventory_hostname'])}: {error}") from error

    def _of(self, variable: str, default: Any) -> Any:
        return self._templar.template(self._vars.get(variable, default))

    def _limits(self) -> Limits:
        return Limits(
            timeout_s=float(self._task.args.get("timeout_s") or self._of("stall_drain_timeout_s", 600)),
            retry_s=float(self._of("stall_drain_retry_s", 5)),
            local_data=boolean(self._of("stall_drain_local_data", False)),
            unmanaged=boolean(self._of("stall_drain_unmanaged", False)),
        )

    def _seen(self, reached: Cluster, name: str, limits: Limits) -> dict[str, Any]:
        node = node_drain.read(reached, name)
        pods = node_drain.look(reached, name, limits)
        return {"cordoned": node.cordoned, "ours": node.ours, "pods": sorted(pods.evictable), "staying": sorted(pods.staying)}

    def _cordoned(self, reached: Cluster, name: str, _limits: Limits) -> dict[str, Any]:
        node = node_drain.read(reached, name)
        if self._task.check_mode:
            return {"changed": not node.cordoned, "ours": node.ours}
        return {"changed": node_drain.cordon(reached, node, self._mark()), "ours": node.ours}

    def _drained(self, reached: Cluster, name: str, limits: Limits) -> dict[str, Any]:
        if self._task.check_mode:
            pods = node_drain.look(reached, name, limits)
            return {"changed": not pods.gone, "evicted": sorted([*pods.evictable, *pods.leaving])}
        evicted = node_drain.drain(reached, name, limits, sleep=self._pause)
        return {"changed": bool(evicted), "evicted": evicted}

    def _checked(self, reached: Cluster, name: str, limits: Limits) -> dict[str, Any]:
        if self._task.check_mode:
            return {"ours": node_drain.read(reached, name).ours}
        return {"ours": node_drain.check(reached, name, limits).ours}

    def _released(self, reached: Cluster, name: str, _limits: Limits) -> dict[str, Any]:
        node = node_drain.read(reached, name)
        if self._task.check_mode:
            return {"changed": node.mark is not None, "cordoned": node.cordoned}
        released = node_drain.release(reached, node)
        return {"changed": released, "cordoned": node.cordoned and not released}

    def _ready(self, reached: Cluster, name: str, limits: Limits) -> dict[str, Any]:
        if not self._task.check_mode:
            node_drain.wait_ready(reached, name, str(self._task.args["boot_id"]), limits)
        return {}

    def _pause(self, seconds: float) -> None:
        """A controller that was killed leaves this fork of it behind, which shall not go on while the next one is at work."""
        time.sleep(seconds)
        if os.getppid() != self._parent:
            raise DrainError("the controller is gone")

    def _mark(self) -> str:
        """Who took it and when, for the eyes of people."""
        step = self._of("stall_step", {})
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        plan = step.get("plan") if isinstance(step, Mapping) else None
        return json.dumps({"by": "fleet.stall", "plan": plan, "from": socket.gethostname(), "at": at})

    def _find(self, reached: Cluster) -> str:
        hosts = {name: fleet.host(name, self._variable)[0] for name in self._vars["groups"]["all"]}
        return node_of(reached.nodes(), hosts, self._vars["inventory_hostname"])

    def _variable(self, host: str, name: str) -> Any:
        try:
            return self._vars["hostvars"][host].get(name)
        except AnsibleError:
            return None

    def _module(self, name: str, arguments: dict[str, Any], limit_s: float) -> Mapping[str, Any]:
        """Run a module on the controller."""
        self._limit_s = max(1, math.ceil(limit_s))
        try:
            return self._execute_module(module_name=name, module_args=arguments, task_vars=self._vars)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            return {"failed": True, "msg": str(error)}

    def _low_level_execute_command(self, cmd: str, *words: Any, **named: Any) -> dict[str, Any]:
        """With a guard, which outlives the controller: the client for Kubernetes waits for ever for a server that keeps silent."""
        guarded = f"timeout -k 5 {self._limit_s} /bin/sh -c {shlex.quote(cmd)}"
        return super()._low_level_execute_command(guarded, *words, **named)
