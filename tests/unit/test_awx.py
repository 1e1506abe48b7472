"""The content for AWX fits the collection: its playbooks and variables are there, and nothing is done without an approval."""

from pathlib import Path

import pytest
import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import parameters

ROOT = Path(__file__).resolve().parents[2]
CONTENT = yaml.safe_load((ROOT / "awx" / "templates.yml").read_text())
TEMPLATES = {template["name"]: template for template in CONTENT["awx_job_templates"]}
SURVEYS = [entry for entry in (*TEMPLATES.values(), *CONTENT["awx_workflows"]) if "survey_spec" in entry]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_plays_a_playbook_of_the_checkout_with_known_variables(template):
    assert (ROOT / template["playbook"]).is_file()
    assert set(template.get("extra_vars", {})) <= set(parameters.specs())
    # What takes stall_plan from the job before must let it in.
    assert template.get("ask_variables_on_launch", False) == ("stall_confirm" in template.get("extra_vars", {}))


@pytest.mark.parametrize("entry", SURVEYS, ids=lambda entry: entry["name"])
def test_a_survey_asks_for_known_variables_whose_defaults_are_fine(entry):
    asked = {question["variable"]: question for question in entry["survey_spec"]["spec"]}
    assert entry["survey_enabled"] and set(asked) <= set(parameters.specs())
    _values, errors = parameters.validate({name: question["default"] for name, question in asked.items()})
    assert not errors


@pytest.mark.parametrize("workflow", CONTENT["awx_workflows"], ids=lambda workflow: workflow["name"])
def test_an_approval_stands_before_what_changes_a_host(workflow):
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    after = {name: [node["identifier"] for node in row["related"]["success_nodes"]] for name, row in nodes.items()}
    before = {name: [other for other, followers in after.items() if name in followers] for name in nodes}
    assert all(follower in nodes for followers in after.values() for follower in followers)
    for name, node in nodes.items():
        job = node["unified_job_template"]
        assert job["type"] == "workflow_approval" or job["name"] in TEMPLATES
        if TEMPLATES.get(job["name"], {}).get("extra_vars", {}).get("stall_confirm"):
            assert [nodes[other]["unified_job_template"]["type"] for other in before[name]] == ["workflow_approval"]
