"""The playbooks as a user calls them, as far as no host has to answer: requests that can't be met, check mode, reports of old runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python")


def play(tmp_path, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [str(PLAYBOOK), *arguments, "-e", f"stall_runs_dir={tmp_path / 'runs'}"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-e", "stall_hosts=nope"], ["stall_hosts is 'nope'", "Groups there are: dc_ams"]),
        (["-e", "stall_targets=kube_nodse"], ["stall_targets is 'kube_nodse'", "Did you mean kube_nodes?"]),
        (["-e", "stall_targets="], ["stall_targets is empty"]),
        (
            ["-e", "stall_interval_ms=-5", "-e", "stall_top=0", "-e", "stall_windw_s=5"],
            ["3 things are wrong", "stall_interval_ms is -5", "stall_top is 0", "stall_windw_s is not a variable"],
        ),
        (["-e", "stall_window_s=0.15", "-e", "stall_interval_ms=20"], ["at least ten intervals"]),
        (["-e", "stall_run=20200101T000000Z-abcd"], ["there is no such run"]),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_a_host_is_contacted(tmp_path, arguments, words):
    code, output = play(tmp_path, "-i", "inventories/example", "diagnose.yml", *arguments)
    shown = " ".join(output.split())
    assert code == 2 and all(word in shown for word in words), output
    assert "Start the observers" not in output and not (tmp_path / "runs").exists()


def test_an_inventory_without_hosts_says_what_to_do(tmp_path):
    empty = tmp_path / "empty.yml"
    empty.write_text("all: {}\n")
    code, output = play(tmp_path, "-i", str(empty), "diagnose.yml")
    assert code == 2 and "the inventory has no hosts" in output


def test_check_mode_shows_the_mesh_and_sends_nothing(tmp_path):
    code, output = play(tmp_path, "-i", "inventories/example", "diagnose.yml", "--check")
    assert code == 0 and "flows between 27 hosts" in output and "Nothing is sent in check mode" in output
    assert "unreachable=0" in output and not (tmp_path / "runs").exists()


def test_a_limit_leaves_the_rest_of_the_fleet_alone(tmp_path):
    code, output = play(tmp_path, "-i", "inventories/example", "diagnose.yml", "--check", "--limit", "rack_ams_a1:outside")
    assert code == 0 and "flows between 7 hosts" in output and "fra.example" not in output.replace("probe.fra.example", "")


HOSTILE = {
    "all": {
        "hosts": {
            "../../x": {"ansible_host": "192.0.2.1"},
            "{{ 7*7 }}": {"stall_address": "192.0.2.2"},
            "a\x1b]0;owned\x07": {"stall_address": "192.0.2.3"},
            "injected": {"stall_address": "$(touch pwned)"},
        }
    }
}


def test_hostile_names_are_only_names(tmp_path):
    inventory = tmp_path / "hostile.json"
    inventory.write_text(json.dumps(HOSTILE))
    code, output = play(tmp_path, "-i", str(inventory), "diagnose.yml", "--check")
    assert code == 0 and "../../x -> " in output and "{{ 7*7 }} -> " in output and "a\\x1b]0;owned\\x07 -> " in output
    assert "injected has address '$(touch pwned)', which is no address" in output


@pytest.fixture
def old_run(tmp_path):
    """A run whose hosts were all unreachable, as a controller keeps it."""
    inventory = tmp_path / "two.yml"
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {"one": {**dead, "stall_address": "192.0.2.1"}, "two": {**dead, "stall_address": "192.0.2.2"}}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    code, output = play(tmp_path, "-i", str(inventory), "diagnose.yml", "-e", "stall_window_s=1", "-e", "stall_lead_s=0")
    assert code == 2 and "no host was measured" in output
    return tmp_path


def test_a_dead_fleet_fails_with_every_host_named_and_can_be_reported_again(old_run):
    code, output = play(old_run, "report.yml", "-e", "stall_run=latest")
    assert code == 2 and "not measured: one, two (ssh: connect" in output and "Connection refused" in output
    latest = old_run / "runs" / "latest"
    assert {host["status"] for host in json.loads((latest / "findings.json").read_text())["hosts"]} == {"not_measured"}
    assert (latest / "report.md").is_file() and (latest / "report.html").is_file()
    assert "changed=0" in output
