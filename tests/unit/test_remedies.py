"""Each remedy has a description that fits its schema, and the tasks that it speaks of; whatever a cause names is there."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from ansible_collections.fleet.stall.plugins.module_utils.settings import rules
from ansible_collections.fleet.stall.plugins.plugin_utils import remedies
from ansible_collections.fleet.stall.plugins.plugin_utils.causes import load

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "remediate"
FORM = json.loads((ROOT / "docs" / "remedy.schema.json").read_text(encoding="utf-8"))
REMEDIES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROLE / "files" / "remedies").iterdir()}
CAUSES = load().causes
each = pytest.mark.parametrize("name", sorted(REMEDIES))


def described(name):
    return REMEDIES[name]["parameters"]


def schema_of(parameter):
    return {key: value for key, value in parameter.items() if key not in ("required", "default")}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(FORM)


@each
def test_the_description_fits_the_schema_and_its_name(name):
    jsonschema.Draft202012Validator(FORM).validate(REMEDIES[name])
    assert REMEDIES[name]["name"] == name


@each
def test_it_has_its_tasks_and_the_way_back_that_it_speaks_of(name):
    tasks = ROLE / "tasks" / "remedies"
    assert (tasks / f"{name}.yml").is_file()
    assert (tasks / "undo" / f"{name}.yml").is_file() is REMEDIES[name]["undo"]


@each
def test_a_parameter_is_a_schema_that_its_default_fits(name):
    for parameter in described(name).values():
        jsonschema.Draft202012Validator.check_schema(schema_of(parameter))
        if "default" in parameter:
            assert not parameter.get("required")
            jsonschema.Draft202012Validator(schema_of(parameter)).validate(parameter["default"])


@each
def test_what_it_takes_and_needs_are_parameters(name):
    row = REMEDIES[name]
    assert set(row["from"]) <= set(row["parameters"])
    for alternative in row["needs"]:
        assert set(alternative) <= set(row["parameters"])
        assert {key for key, parameter in row["parameters"].items() if parameter.get("required")} <= set(alternative)


@each
def test_it_takes_only_what_findings_have(name):
    findings = json.loads((ROOT / "docs" / "findings.schema.json").read_text(encoding="utf-8"))
    known = {"trigger": findings["$defs"]["trigger"]["properties"], "run": findings["$defs"]["run"]["properties"]}
    for place in REMEDIES[name]["from"].values():
        scope, _, field = place.partition(".")
        assert field in known[scope]


def test_the_order_is_that_of_the_price():
    assert sorted(REMEDIES, key=lambda name: REMEDIES[name]["order"]) == [
        "sysctl",
        "set_priority",
        "rps",
        "irq_affinity",
        "cpu_quota",
        "drop_caches",
        "reconfigure_unit",
        "restart_unit",
        "drain_reboot",
        "kernel_upgrade",
    ]
    assert len({row["order"] for row in REMEDIES.values()}) == len(REMEDIES)


def test_what_reboots_is_drained_and_done_once():
    for name, row in REMEDIES.items():
        if row["reboots"]:
            assert row["drain"] and row["once"] and row["risk"] == "high", name


def test_every_remedy_of_a_cause_is_there():
    assert {name for cause in CAUSES for name in cause.remedies} == set(REMEDIES)


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if cause.settings], ids=lambda cause: cause.id)
def test_what_a_cause_asks_of_a_remedy_fits_its_parameters(cause):
    for name, values in cause.settings.items():
        for key, value in values.items():
            jsonschema.Draft202012Validator(schema_of(described(name)[key])).validate(value)
        for setting in values.get("settings", []):
            assert rules.problem(setting) == ""


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        ({"pid": 7}, {"pid": 7, "policy": "other"}),
        ({"pid": 7, "policy": "idle"}, {"pid": 7, "policy": "idle"}),
    ],
)
def test_what_an_edited_plan_leaves_out_has_its_default(given, complete):
    found = remedies.load()["set_priority"].complete(given)
    assert complete.items() <= found.items()
    assert set(found) == {*given, *(name for name, form in described("set_priority").items() if "default" in form)}
