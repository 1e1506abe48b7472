"""The inventories that the project ships parse, and what they say of the variables is true."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import parameters

ROOT = Path(__file__).parents[2]
GROUP_VARS = ROOT / "inventories/example/group_vars"
PER_HOST = {"stall_address", "stall_address6", "stall_overlay_address", "stall_tcp_port"}


def inventory(name: str) -> dict:
    tool = Path(sys.executable).with_name("ansible-inventory")
    command = [tool, "-i", ROOT / "inventories" / name, "--list"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def documented_defaults() -> dict:
    options: dict = {}
    for role in parameters.ROLES:
        specification = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())
        options.update(specification["argument_specs"]["main"]["options"])
    return {name: option.get("default") for name, option in options.items()}


def commented(path: Path) -> dict:
    """The variables that a file shows commented out, with their values; prose is left out."""
    lines = [line[2:] for line in path.read_text().splitlines() if re.match(r"# (stall_\w+:|  )", line)]
    return yaml.safe_load("\n".join(lines))


def test_example_has_datacenters_racks_nodes_and_outside_probers():
    found = inventory("example")
    datacenters = [name for name in found if name.startswith("dc_")]
    racks = [name for name in found if name.startswith("rack_")]
    assert (len(datacenters), len(racks)) == (3, 6)
    assert set(found["kube_nodes"]["children"]) == set(datacenters)
    assert len(found["outside"]["hosts"]) == 3
    assert len(found["_meta"]["hostvars"]) == 6 * 4 + 3


def test_local_is_this_machine_without_root():
    hosts = inventory("local")["_meta"]["hostvars"]
    assert [(host["ansible_connection"], host["stall_become"]) for host in hosts.values()] == [("local", False)]


def test_example_names_only_variables_that_exist():
    shown = {name for path in GROUP_VARS.glob("*.yml") for name in commented(path)}
    assert shown - PER_HOST <= set(documented_defaults())


@pytest.mark.parametrize(
    "name", sorted(set(commented(GROUP_VARS / "all.yml")) - {"stall_services", "stall_tcp_interval_ms", "stall_maintenance"})
)
def test_example_shows_the_default(name):
    assert commented(GROUP_VARS / "all.yml")[name] == documented_defaults()[name]
