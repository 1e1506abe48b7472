# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stall_* variables: checked all at once, so that a mistake shows before a packet is sent.

Names, types, choices and defaults are those of the roles' argument_specs.yml; here are the ranges and what must hold between variables.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.fleet.stall.plugins.plugin_utils import endpoints
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

PREFIX = "stall_"
_ROLES = Path(__file__).resolve().parents[2] / "roles"
ROLES = tuple(sorted(path.parent.parent.name for path in _ROLES.glob("*/meta/argument_specs.yml")))

# variable: (smallest, largest, unit)
_RANGES: dict[str, tuple[float, float, str]] = {
    "stall_window_s": (0.1, 86400, "seconds"),
    "stall_interval_ms": (1, 10000, "milliseconds"),
    "stall_tcp_interval_ms": (1, 10000, "milliseconds"),
    "stall_service_interval_ms": (1, 10000, "milliseconds"),
    "stall_http_new_interval_ms": (1, 10000, "milliseconds"),
    "stall_threshold_ms": (0.1, 60000, "milliseconds"),
    "stall_reply_timeout_ms": (10, 30000, "milliseconds"),
    "stall_sources_per_target": (1, 16, "hosts"),
    "stall_service_sources": (1, 16, "hosts"),
    "stall_source_ports": (1, 64, "ports"),
    "stall_budget_host_pps": (1, 100000, "packets a second"),
    "stall_budget_target_pps": (1, 100000, "packets a second"),
    "stall_event_limit": (1, 10000, "events"),
    "stall_lead_s": (0, 3600, "seconds"),
    "stall_capture_s": (1, 3600, "seconds"),
    "stall_suspects_max": (1, 50, "hosts"),
    "stall_stack_hz": (49, 4999, "samples a second"),
    "stall_strace_s": (0, 60, "seconds"),
    "stall_slow_call_ms": (1, 60000, "milliseconds"),
    "stall_capture_bytes": (1_000_000, 10_000_000_000, "bytes"),
    "stall_top": (1, 100000, "lines"),
    "stall_canary": (1, 1000, "hosts"),
    "stall_failures_most": (0, 100000, "hosts"),
    "stall_soak_s": (0, 604800, "seconds"),
    "stall_plan_valid_h": (0.1, 8760, "hours"),
    "stall_task_timeout_s": (10, 86400, "seconds"),
    "stall_drain_timeout_s": (1, 86400, "seconds"),
    "stall_drain_retry_s": (0.1, 600, "seconds"),
    "stall_haproxy_least": (0, 10000, "servers"),
    "stall_reboot_timeout_s": (10, 86400, "seconds"),
    "stall_gate_timeout_s": (1, 86400, "seconds"),
}
_NOT_EMPTY = (
    "stall_hosts",
    "stall_targets",
    "stall_sources",
    "stall_layers",
    "stall_protocols",
    "stall_families",
    "stall_runs_dir",
    "stall_seed",
    "stall_node_group",
    "stall_outside_group",
)
_INTERVALS = ("stall_interval_ms", "stall_tcp_interval_ms")
_SERVICE_INTERVALS = ("stall_service_interval_ms", "stall_http_new_interval_ms")
_INTERVALS_PER_WINDOW = 10
_TYPES = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "str": "text",
}
_SERVICE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})")


@functools.cache
def specs() -> dict[str, dict[str, Any]]:
    """Every public variable of the collection with its option specification."""
    found: dict[str, dict[str, Any]] = {}
    for role in ROLES:
        content = yaml.safe_load((_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
        found.update(content["argument_specs"]["main"]["options"])
    return found


def validate(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters (names without `stall_`, of the right type, with defaults) and a sentence for each thing that is wrong.

    `raw` holds what is set of the variables that specs() names; the rest, and what is wrong, has its default.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    for name, spec in specs().items():
        default = _typed(name, spec.get("default"), spec)[0]
        value, wrong = (default, "") if raw.get(name) is None else _typed(name, raw[name], spec)
        wrong = wrong or _out_of_range(name, value)
        values[name] = default if wrong else value
        errors += [wrong] if wrong else []
    if values["stall_tcp_interval_ms"] is None:
        values["stall_tcp_interval_ms"] = values["stall_interval_ms"]
    if not errors:
        for check in _CROSS_CHECKS:
            errors += check(values)
    return {name.removeprefix(PREFIX): value for name, value in values.items()}, errors


def _typed(name: str, value: Any, spec: dict[str, Any]) -> tuple[Any, str]:
    """The value as its type, else a sentence."""
    if value is None:
        return None, ""
    if isinstance(value, float) and math.isinf(value):
        return value, f"{name} is {_shown(value)}: it must be {_TYPES[spec['type']]} that ends."
    # The type first: the validator of options takes it for granted.
    result = ArgumentSpecValidator({name: {key: item for key, item in spec.items() if key != "options"}}).validate({name: value})
    if not result.error_messages and spec.get("options"):
        result = ArgumentSpecValidator({name: spec}).validate({name: result.validated_parameters[name]})
    if not result.error_messages:
        return result.validated_parameters[name], ""
    wanted = _TYPES[spec["type"]]
    if spec["type"] == "list":
        wanted += f", each item {_TYPES[spec['elements']]}"
    if spec.get("choices"):
        wanted += ", out of " + ", ".join(f"'{choice}'" for choice in spec["choices"])
    detail = f" ({printable('; '.join(result.error_messages))})" if spec.get("options") else ""
    return value, f"{name} is {_shown(value)}: it must be {wanted}{detail}."


def _out_of_range(name: str, value: Any) -> str:
    if name in _NOT_EMPTY and not value:
        return f"{name} is empty: give it at least one item, or leave it out for {_shown(specs()[name].get('default'))}."
    if name in _RANGES and value is not None:
        low, high, unit = _RANGES[name]
        # "not (a <= b)" refuses NaN as well.
        if not low <= value <= high:
            return f"{name} is {_shown(value)}: it must be from {low:g} to {high:g} {unit}."
    return ""


def _window_holds_intervals(values: dict[str, Any]) -> Iterator[str]:
    used = _INTERVALS + (_SERVICE_INTERVALS if values["stall_services"] else ())
    longest = max(used, key=lambda name: values[name])
    least = _INTERVALS_PER_WINDOW * values[longest] / 1000
    for window in ("stall_window_s", *(["stall_capture_s"] if values["stall_capture"] else [])):
        if values[window] < least:
            yield (
                f"{window} is {_shown(values[window])}: it must hold at least ten intervals, which with {longest} "
                f"{_shown(values[longest])} is {least:g} seconds. Lengthen the window, or shorten the interval."
            )


def _captured_hosts_are_few(values: dict[str, Any]) -> Iterator[str]:
    names, most = len(values["stall_capture_hosts"]), _RANGES["stall_suspects_max"][1]
    if names > most:
        yield f"stall_capture_hosts names {names} hosts: at most {most:g} are captured. Leave some out."


def _grades_are_ordered(values: dict[str, Any]) -> Iterator[str]:
    grades = values["stall_grades"]
    if not 1000 >= grades["critical"] > grades["major"] > 0:
        yield (f"stall_grades is {_shown(grades)}: critical must be above major, both above 0 and at most 1000 (stalled ms a second).")


def _domains_are_patterns(values: dict[str, Any]) -> Iterator[str]:
    for level, pattern in values["stall_domains"].items():
        if not isinstance(pattern, str) or not pattern:
            yield f"stall_domains.{printable(level)} is {_shown(pattern)}: it must be a pattern of group names such as 'rack_*'."


def _services_are_complete(values: dict[str, Any]) -> Iterator[str]:
    names = [service["name"] for service in values["stall_services"]]
    for service in values["stall_services"]:
        where = f"stall_services: {_shown(service['name'])}"
        if not _SERVICE_NAME.fullmatch(service["name"]):
            yield f"{where} is not a name of letters, digits, '-', '_' and '.', 63 at most."
        if names.count(service["name"]) > 1:
            yield f"{where} is there more than once: give each service a name of its own."
        by_port = service["node_port"] is not None
        by_target = service["target"] is not None and service["port"] is not None
        if by_port == by_target:
            yield f"{where} needs either node_port, or target and port."
        elif service["protocol"] == "syn" and not by_port:
            yield f"{where} has protocol 'syn', which is for a node_port: use 'http' or 'tcp' for a target and port."
        for key in ("node_port", "port"):
            if service[key] is not None and not 1 <= service[key] <= 65535:
                yield f"{where} has {key} {_shown(service[key])}: it must be from 1 to 65535."
        if not service["path"].startswith("/") or re.search(r"[\x00-\x20\x7f]", service["path"]):
            yield f"{where} has path {_shown(service['path'])}: it must begin with '/' and hold no space or control character."
        for text in service["endpoints"]:
            if endpoints.parse(text) is None:
                yield f"{where} has the endpoint {_shown(text)}: give an address and a port, such as 10.244.4.10:8080 or [fd00::1]:8080."
        if len(service["request"]) > 1000:
            yield f"{where} has a request of {len(service['request'])} characters: it must be 1000 at most."


_CROSS_CHECKS: tuple[Callable[[dict[str, Any]], Iterator[str]], ...] = (
    _window_holds_intervals,
    _captured_hosts_are_few,
    _grades_are_ordered,
    _domains_are_patterns,
    _services_are_complete,
)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return printable(f"'{value}'" if isinstance(value, str) else repr(value), 120)
