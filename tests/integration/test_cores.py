"""The oldest and the newest ansible-core that are supported, the oldest with hosts on Python 3.6."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import venvs

from . import run


def venv(name: str) -> Path:
    try:
        return venvs.ensure(name)
    except venvs.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.lab
def test_core_2_16_with_hosts_on_python_3_6(labs, tmp_path):
    core = venv("2.16")
    python = venvs.interpreter((3, 6))
    if python is None:
        pytest.skip("there is no Python 3.6 on PATH or in pyenv")
    lab = labs.get("rx_stall", "--python", str(python))
    done = run.diagnose(lab.inventory, tmp_path, venv=core, window_s=8, capture_s=5, capture_control=False)
    assert done.rc == 0, done.screen
    assert done.findings["run"]["versions"]["ansible_core"].startswith("2.16.")
    assert {row["status"] for row in done.findings["hosts"]} <= {"stalling", "clear"}, done.screen
    assert done.evidence("node-a1-1")["versions"]["python"].startswith("3.6.")
    assert done.findings["hosts"][0]["host"] == "node-a1-2", done.screen
    assert done.host("node-a1-2")["capture"]["status"] == "measured", done.screen
    assert done.capture_of("node-a1-2")["versions"]["python"].startswith("3.6.")


@pytest.mark.lab
@pytest.mark.slow
def test_the_newest_core(labs, tmp_path):
    core = venv("new")
    done = run.diagnose(labs.get("rx_stall").inventory, tmp_path, venv=core, window_s=6, capture=False)
    assert done.rc == 0, done.screen
    assert done.findings["hosts"][0]["host"] == "node-a1-2", done.screen
