"""What people get wrong: a clear error or a named row, nothing lost, nothing executed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from . import run

HERE = {"ansible_connection": "local", "ansible_host": "127.0.0.1", "ansible_python_interpreter": "/usr/bin/python3"}
HOSTILE = ["../../x", "{{ 7 * 191 }}", "reset\x1bc\x07name", "<b>bold"]


def inventory(path: Path, hosts: list[str], **variables: object) -> Path:
    path.write_text(json.dumps({"all": {"hosts": {name: {} for name in hosts}, "vars": HERE | variables}}))
    return path


def words(screen: str) -> str:
    """The screen without its line breaks."""
    return " ".join(screen.split())


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"hosts": "nosuchgroup"}, ["stall_hosts", "nosuchgroup"]),
        ({"targets": "nosuchgroup"}, ["stall_targets", "nosuchgroup"]),
        ({"targets": ""}, ["stall_targets", "empty"]),
        ({"interval_ms": -5}, ["stall_interval_ms", "-5"]),
        ({"window_s": 1, "interval_ms": 200}, ["stall_window_s", "stall_interval_ms"]),
        ({"fail_on": "awful"}, ["stall_fail_on", "awful", "critical"]),
        ({"capture_s": 0}, ["stall_capture_s", "0", "from 1 to 3600 seconds"]),
        ({"capture_hosts": ["ther"]}, ["stall_capture_hosts", "ther"]),
        ({"cause_dirs": ["/nonexistent/causes"]}, ["/nonexistent/causes", "stall_cause_dirs"]),
        ({"interval_ms": 0, "window_s": "soon"}, ["stall_interval_ms", "stall_window_s", "soon"]),
    ],
)
def test_a_wrong_variable_is_named_before_anything_is_sent(tmp_path, variables, named):
    done = run.diagnose(inventory(tmp_path / "hosts.json", ["here"]), tmp_path / "runs", **variables)
    assert done.rc != 0
    assert all(word in words(done.screen) for word in named), done.screen
    assert done.dir is None


def test_a_limit_that_names_nobody_is_an_error(tmp_path):
    done = run.diagnose(inventory(tmp_path / "hosts.json", ["here"]), tmp_path / "runs", "--limit", "nosuchhost")
    assert done.rc != 0
    assert "nosuchhost" in done.screen


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_row_and_nothing_else(tmp_path, name):
    runs = tmp_path / "deep" / "runs"
    runs.mkdir(parents=True)
    done = run.diagnose(inventory(tmp_path / "hosts.json", [name], stall_window_s=2), runs)
    assert done.rc == 0, done.screen
    assert done.host(name)["status"] == "clear"
    assert not list(tmp_path.rglob("x")), "a host name became a path"
    assert "1337" not in done.screen, "a host name was run as a template"
    assert "\x1b" not in done.screen.partition("PLAY RECAP")[0], "a host name reached the terminal; the recap is ansible's own"
    assert "<b>bold" not in (done.dir / "report.html").read_text()


def test_a_host_alone_is_observed_without_privileges(tmp_path):
    done = run.diagnose(inventory(tmp_path / "hosts.json", ["here"], stall_window_s=2, stall_become=False), tmp_path / "runs")
    assert done.rc == 0, done.screen
    assert done.host("here")["status"] == "clear", done.screen


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to mount a small file system")
def test_a_full_disk_is_said_before_anything_is_sent(tmp_path, small_disk):
    done = run.diagnose(inventory(tmp_path / "hosts.json", ["here"]), small_disk)
    assert done.rc != 0
    assert str(small_disk) in "".join(done.screen.split()).replace("\n", "")
    assert "space" in words(done.screen).lower(), done.screen


@pytest.fixture(scope="module")
def part(labs, tmp_path_factory) -> run.Run:
    """A diagnosis of a part of the fleet, of which one host has no Python."""
    lab = labs.get("clean", "--no-python", "node-a1-1")
    return run.diagnose(lab.inventory, tmp_path_factory.mktemp("part"), "--limit", "rack_a1,outside", window_s=6)


@pytest.mark.lab
def test_a_host_without_python_has_a_row_with_the_remedy(part):
    assert part.rc == 0, part.screen
    row = part.host("node-a1-1")
    assert row["status"] == "not_measured"
    assert "ython" in row["reason"]
    assert "ansible_python_interpreter" in words(part.screen)
    assert {part.host(name)["status"] for name in ("node-a1-2", "outside-1")} == {"clear"}, part.screen


@pytest.mark.lab
def test_a_limit_leaves_the_others_in_the_table(part):
    assert len(part.findings["hosts"]) == 9
    for row in part.findings["hosts"]:
        if row["host"] not in ("node-a1-1", "node-a1-2", "outside-1"):
            assert row["status"] == "not_measured" and "limit" in row["reason"], row


@pytest.fixture(scope="module")
def poor(labs, tmp_path_factory) -> Iterator[run.Run]:
    """A diagnosis where of two hosts that stall one has none of the tools and one no sudo."""
    labs.close()
    lab, where = labs.get("two_bad"), tmp_path_factory.mktemp("poor")
    lab.on("node-a1-2", "for tool in perf bpftrace strace; do mount --bind /dev/null $(command -v $tool); done")
    accounts = "sed '/^nobody:/s|:[^:]*$|:/bin/sh|' /etc/passwd > /run/passwd; mount --bind /run/passwd /etc/passwd"
    lab.on("node-b2-1", f"{accounts}; for tool in sudo su; do ! command -v $tool || mount --bind /dev/null $(command -v $tool); done")
    listed = yaml.safe_load(lab.inventory.read_text())
    listed["all"]["hosts"]["node-b2-1"]["ansible_user"] = "nobody"
    (where / "inventory.yml").write_text(yaml.safe_dump(listed))
    hosts = ["node-a1-2", "node-b2-1"]
    yield run.diagnose(
        where / "inventory.yml", where / "runs", window_s=6, capture_s=6, capture_hosts=hosts, capture_control=False, become=True
    )
    labs.close()


@pytest.mark.lab
def test_a_host_without_the_tools_is_captured_as_far_as_it_goes(poor):
    assert poor.rc == 0, poor.screen
    told = poor.host("node-a1-2")["capture"]
    assert all(tool in " ".join(told["missing"]) for tool in ("perf", "bpftrace", "strace")), told
    assert "node-a1-2 is captured as far as that goes: bpftrace is not installed" in words(poor.screen), poor.screen
    assert told["status"] == "measured" and told["culprits"] == [] and not poor.host("node-a1-2")["causes"], told


@pytest.mark.lab
def test_a_host_without_sudo_is_captured_as_far_as_it_goes(poor):
    assert poor.rc == 0, poor.screen
    told = poor.host("node-b2-1")["capture"]
    assert "node-b2-1 is captured without privileges" in words(poor.screen), poor.screen
    assert "stall_become" in " ".join(told["missing"]) and told["culprits"] == [], told


@pytest.mark.lab
def test_fail_on_makes_the_play_fail_and_names_the_host(diagnoses, tmp_path):
    found = diagnoses.of("two_bad").run
    again = run.play("report.yml", "localhost,", found.dir.parent, run=found.dir.name, fail_on="critical")
    assert again.rc != 0
    assert "node-a1-2" in again.screen
    assert run.play("report.yml", "localhost,", found.dir.parent, run=found.dir.name).rc == 0


@pytest.mark.lab
def test_hosts_that_never_answer_cost_the_others_nothing(diagnoses):
    """Wall time within a tenth of a run without them, plus the time that ansible.cfg gives a connection."""
    timeout_s = 10
    unreachable, clean = diagnoses.of("unreachable").run, diagnoses.of("clean").run
    without_them = clean.wall_s - clean.manifest["run"]["parameters"]["window_s"] + unreachable.manifest["run"]["parameters"]["window_s"]
    assert unreachable.wall_s <= 1.1 * without_them + timeout_s


def test_the_example_inventory_is_planned_in_check_mode(tmp_path):
    done = run.diagnose(run.CHECKOUT / "inventories" / "example", tmp_path / "runs", "--check")
    assert done.rc == 0, done.screen
    assert "flows between" in done.screen
    assert done.dir is None


def test_findings_fit_their_schema(tmp_path):
    import jsonschema

    done = run.diagnose(inventory(tmp_path / "hosts.json", ["here"], stall_window_s=2), tmp_path / "runs")
    schema = yaml.safe_load((run.CHECKOUT / "docs" / "findings.schema.json").read_text())
    jsonschema.validate(done.findings, schema)
