"""Did it help? The same probes again: worse, the same and better as the fault comes, stays and goes; unknown where a way is missing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.lab import hosts as lab_hosts

from . import run

# Four windows are for `make soak`; test_remediate_lab verifies in a wave, too
pytestmark = pytest.mark.slow
BAD, OUTSIDE = "node-a1-2", "outside-1"
# Six stalls at least, which is what it takes for none to tell
WINDOW_S, LEAD_S = 10, 4
ONLY_HERE = "/run/own-python"


@dataclass
class Verified:
    """What each step left."""

    clean: run.Run
    worse: run.Run
    same: run.Run
    wave: run.Run
    other: str

    def verdict(self, done: run.Run, host: str) -> dict:
        found = json.loads((done.dir / "verification.json").read_text())
        return next(row for row in found["hosts"] if row["host"] == host)


def injector(lab) -> int:
    deadline = time.monotonic() + 10
    while not (told := lab.truth(BAD)):
        assert time.monotonic() < deadline, "the fault does nothing"
        time.sleep(0.2)
    return told[-1]["pid"]


def paused(lab, pid: int) -> None:
    """Stop the injector between two stalls: one that is stopped in one would keep the stall CPU leased."""
    before = len(lab.truth(BAD))
    while len(lab.truth(BAD)) == before:
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(pid, signal.SIGSTOP)


def own_ways(lab, listed: dict, where: Path) -> None:
    """A source that is reached as nobody else is: its user, key, way to become root and interpreter are its own."""
    private, public = lab_hosts.key_pair()
    key = where / "own_key"
    key.touch(mode=0o600)
    key.write_text(private)
    lab.on(
        OUTSIDE,
        f"echo '{public}' > /run/authorized_keys; ln -s /usr/bin/python3 {ONLY_HERE};"
        "sed '/^nobody:/s|:[^:]*$|:/bin/sh|' /etc/passwd > /run/passwd; mount --bind /run/passwd /etc/passwd;"
        "for kind in auth account session; do echo $kind sufficient pam_permit.so; done > /run/su; mount --bind /run/su /etc/pam.d/su",
    )
    listed["all"]["hosts"][OUTSIDE] |= {
        "ansible_user": "nobody",
        "ansible_ssh_private_key_file": str(key),
        "ansible_become_method": "ansible.builtin.su",
        # su takes no pipeline, and nobody has no home
        "ansible_remote_tmp": "/tmp/own",
        "ansible_python_interpreter": ONLY_HERE,
    }


def other(manifest: dict) -> str:
    """A clean host whose inner sources are not all that the bad one has."""

    def inner(host: str) -> set[str]:
        return {flow["source"] for flow in manifest["flows"] if flow["target"] == host} - {OUTSIDE}

    needed = inner(BAD)
    return next(
        host for host in manifest["hosts"] if host not in {BAD, OUTSIDE, *needed} and BAD not in inner(host) and needed - inner(host)
    )


@pytest.fixture(scope="module")
def verified(labs, tmp_path_factory) -> Iterator[Verified]:
    labs.close()
    lab, where = labs.get("rx_stall"), tmp_path_factory.mktemp("verify")
    listed, runs = yaml.safe_load(lab.inventory.read_text()), where / "runs"
    inventory = where / "inventory.yml"
    inventory.write_text(yaml.safe_dump(listed))
    options = {"lead_s": LEAD_S, "capture": False}
    pid = injector(lab)
    paused(lab, pid)
    clean = run.diagnose(inventory, runs, window_s=WINDOW_S, **options)
    assert clean.rc == 0, clean.screen
    beside = other(clean.manifest)

    os.kill(pid, signal.SIGCONT)
    worse = run.play("verify.yml", inventory, runs, run="latest", verify_hosts=[BAD, beside], **options)
    assert worse.rc == 0, worse.screen
    same = run.play("verify.yml", inventory, runs, run=worse.dir.name, **options)
    assert same.rc == 0, same.screen

    os.kill(pid, signal.SIGKILL)
    own_ways(lab, listed, where)
    for flow in worse.manifest["flows"]:
        if flow["target"] == beside and flow["source"] != OUTSIDE:
            listed["all"]["hosts"][flow["source"]]["ansible_port"] = 1
    inventory.write_text(yaml.safe_dump(listed))
    extra = json.dumps({"wave": f"{BAD},{beside}"})
    wave = run.play("tests/integration/wave.yml", inventory, runs, "-e", extra, run=worse.dir.name, become=True, **options)
    yield Verified(clean, worse, same, wave, beside)
    labs.close()


@pytest.mark.lab
def test_a_clean_host_that_was_made_to_stall_is_worse(verified):
    row = verified.verdict(verified.worse, BAD)
    assert row["verdict"] == "worse", verified.worse.screen
    assert (row["before"]["events"], row["before"]["run"]) == (0, verified.clean.dir.name)
    assert verified.verdict(verified.worse, verified.other)["verdict"] == "same", verified.worse.screen


@pytest.mark.lab
def test_with_the_fault_still_there_it_is_the_same(verified):
    row = verified.verdict(verified.same, BAD)
    assert row["verdict"] == "same", verified.same.screen
    assert row["before"]["run"] == verified.worse.dir.name and row["after"]["events"] > 0
    assert [entry["run"] for entry in row["trend"]] == [done.dir.name for done in (verified.clean, verified.worse, verified.same)]


@pytest.mark.lab
def test_only_those_that_stalled_are_probed_again_and_by_the_same_probes(verified):
    assert verified.same.manifest["run"]["verified"] == [BAD]
    flows = [flow for flow in verified.clean.manifest["flows"] if flow["target"] == BAD]
    assert verified.same.manifest["flows"] == flows


@pytest.mark.lab
def test_with_the_fault_gone_it_is_better_as_seen_from_hosts_outside_the_play(verified):
    assert verified.wave.rc == 0, verified.wave.screen
    row = verified.verdict(verified.wave, BAD)
    assert row["verdict"] == "better", (row["sentence"], verified.wave.screen)
    assert "the stalls are gone" in row["sentence"] and row["after"]["events"] == 0


@pytest.mark.lab
def test_a_source_is_reached_by_its_own_user_key_interpreter_and_way_to_become_root(verified):
    found = verified.wave.evidence(OUTSIDE)
    assert found and found["status"] == "measured", verified.wave.screen
    assert found["host"] == OUTSIDE and found["capabilities"]["raw_icmp"]["available"], found["capabilities"]
    recap = verified.wave.screen.partition("PLAY RECAP")[2]
    assert BAD in recap and OUTSIDE not in recap, "the source was in the play itself"


@pytest.mark.lab
def test_where_a_prober_is_gone_it_is_unknown_with_the_reason(verified):
    row = verified.verdict(verified.wave, verified.other)
    assert row["verdict"] == "unknown", verified.wave.screen
    assert "Not probed as before: node from" in row["sentence"] and "port 1" in row["sentence"], row["sentence"]


@pytest.mark.lab
def test_a_source_that_fails_costs_no_host_of_the_wave_its_place(verified):
    recap = verified.wave.screen.partition("PLAY RECAP")[2]
    lines = {line.split()[0]: line for line in recap.splitlines() if ":" in line}
    assert set(lines) >= {BAD, verified.other}
    assert all("unreachable=0" in line and "failed=0" in line for line in lines.values()), verified.wave.screen


@pytest.mark.lab
def test_the_screen_and_the_reports_show_before_now_and_verdict(verified):
    assert "1 host verified against run" in verified.same.screen and "no difference beyond chance" in verified.same.screen
    for name in ("report.md", "report.html"):
        text = (verified.same.dir / name).read_text()
        assert "Did it help" in text and BAD in text
