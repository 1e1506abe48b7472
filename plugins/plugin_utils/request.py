# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for: the variables and the inventory of a task, read and checked as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.fleet.stall.plugins.plugin_utils import causes, fleet, kubectl, kubernetes, parameters
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable


class RequestError(Exception):
    """What is asked for can't be done; the message says all that is wrong and how to put it right."""


@dataclass(frozen=True)
class Request:
    """A checked request. `hosts` is as mesh.build takes it."""

    parameters: dict[str, Any]
    hosts: dict[str, dict[str, Any]]
    warnings: list[str]


def read_parameters(task_vars: Mapping[str, Any], template: Callable[[Any], Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters from the variables of a task, and a sentence for each thing that is wrong."""
    raw, errors = {}, []
    for name in parameters.specs():
        if name in task_vars:
            try:
                raw[name] = template(task_vars[name])
            except AnsibleError as error:
                errors.append(f"{name} can't be evaluated: {printable(error)}")
    values, wrong = parameters.validate(raw)
    return values, errors + wrong


def read(task_vars: Mapping[str, Any], template: Callable[[Any], Any], loader: DataLoader) -> Request:
    """The whole request from the variables of a task. Raises RequestError with everything that is wrong."""
    values, errors = read_parameters(task_vars, template)
    patterns = fleet.Patterns(task_vars["groups"], loader)
    selected, wrong = fleet.check_names(values, patterns)
    unknown = fleet.unknown_variables(task_vars)
    if errors or wrong:
        refuse([*errors, *wrong, *unknown])
    hostvars = task_vars["hostvars"]

    def variable(host: str, name: str) -> Any:
        known = hostvars[host]
        try:
            return known.get(name)
        except AnsibleError as error:
            return f"({error})"

    hosts, warnings = fleet.hosts(selected, patterns, set(task_vars["ansible_play_hosts_all"]), variable)
    return Request(values, hosts, unknown + warnings)


def with_kubernetes(asked: Request) -> Request:
    """With the layers that the cluster knows of, where stall_kubernetes asks for them; what it does not tell is a warning."""
    values = asked.parameters
    if not values["kubernetes"]:
        return asked
    try:
        cluster = kubectl.discover(values["kubeconfig"], values["kube_context"])
    except kubectl.KubectlError as error:
        return replace(asked, warnings=[*asked.warnings, f"Kubernetes could not be asked: {error}"])
    is_named = any(values["node_group"] in host["groups"] for host in asked.hosts.values())
    members = [
        name
        for name, host in asked.hosts.items()
        if (values["node_group"] in host["groups"] if is_named else values["outside_group"] not in host["groups"])
    ]
    found = kubernetes.layers(cluster.nodes, cluster.pods, cluster.services, asked.hosts, members, values["families"], is_named)
    hosts, services = kubernetes.merge(found, asked.hosts, values["services"])
    return Request({**values, "services": services}, hosts, [*asked.warnings, *cluster.warnings, *found.warnings])


def find_run(task_vars: Mapping[str, Any], template: Callable[[Any], Any]) -> tuple[dict[str, Any], RunDir]:
    """The parameters, and the run that stall_run names. Raises RequestError, RunDirError."""
    values, errors = read_parameters(task_vars, template)
    refuse(errors)
    if not values["run"]:
        refuse(["stall_run is empty: name a run with -e stall_run=<id>, or -e stall_run=latest."])
    return values, RunDir.find(values["runs_dir"], values["run"])


def catalogue(values: Mapping[str, Any]) -> causes.Catalogue:
    """The known causes, with the user's own. Raises RequestError."""
    try:
        return causes.load(values["cause_dirs"])
    except causes.CatalogueError as error:
        raise RequestError(str(error)) from error


def refuse(errors: Iterable[str]) -> None:
    """Raises RequestError if there are any."""
    sentences = list(errors)
    if sentences:
        raise RequestError("\n".join(sentences))
