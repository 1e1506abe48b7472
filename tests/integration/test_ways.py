"""The three ways of use: from the checkout, through ansible-runner, and as the installed collection."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from . import run

SHORT = {"stall_window_s": 6, "stall_capture": False}
CAPTURED = SHORT | {"stall_capture": True, "stall_capture_s": 5, "stall_capture_control": False}


@pytest.fixture(scope="module")
def lab(labs):
    return labs.get("rx_stall")


def check(done: subprocess.CompletedProcess, runs: Path) -> None:
    assert done.returncode == 0, done.stdout
    directory = run.newest(runs)
    assert directory, done.stdout
    findings = json.loads((directory / "findings.json").read_text())
    assert findings["hosts"][0]["host"] == "node-a1-2", done.stdout
    assert findings["hosts"][0]["status"] == "stalling", done.stdout
    assert (directory / "report.html").stat().st_size > 0
    assert "node-a1-2" in done.stdout


def execute(line: list[str], cwd: Path, **extra: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(run.command("ansible")).parent), os.environ["PATH"]])
    return subprocess.run(
        line,
        cwd=cwd,
        env=run.environment(PATH=path, **extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.lab
def test_from_the_checkout(diagnoses):
    done = diagnoses.of("two_bad").run
    check(subprocess.CompletedProcess((), done.rc, done.screen), done.dir.parent)


@pytest.mark.lab
def test_through_ansible_runner(lab, tmp_path):
    (tmp_path / "project").symlink_to(run.CHECKOUT)
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "extravars").write_text(json.dumps(SHORT | {"stall_runs_dir": str(tmp_path / "runs")}))
    line = ["ansible-runner", "run", str(tmp_path), "-p", "diagnose.yml", "--inventory", str(lab.inventory)]
    check(execute(line, tmp_path), tmp_path / "runs")


@pytest.mark.lab
def test_as_the_installed_collection(lab, tmp_path):
    build = execute(["ansible-galaxy", "collection", "build", str(run.CHECKOUT), "--output-path", str(tmp_path)], tmp_path)
    assert build.returncode == 0, build.stdout
    [artifact] = tmp_path.glob("fleet-stall-*.tar.gz")
    where = tmp_path / "collections"
    install = execute(["ansible-galaxy", "collection", "install", str(artifact), "-p", str(where), "--offline"], tmp_path)
    assert install.returncode == 0, install.stdout
    line = ["ansible-playbook", "-i", str(lab.inventory), "fleet.stall.diagnose", "-e", json.dumps(CAPTURED)]
    check(execute(line, tmp_path, ANSIBLE_COLLECTIONS_PATH=str(where)), tmp_path / "runs")
    findings = json.loads((run.newest(tmp_path / "runs") / "findings.json").read_text())
    assert findings["hosts"][0]["capture"]["status"] == "measured", findings["hosts"][0]
