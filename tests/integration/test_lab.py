"""What the lab promises: nothing left behind, also after a crash; two at once; clear words where it can't run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import run
from .conftest import lab_command


def traces() -> dict[str, set[str]]:
    """What a lab makes on this machine: namespaces, links of the controller's side, routes, processes."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return {
        "namespaces": {path.name for path in Path("/run/netns").glob("fsl*")},
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "routes": set(Path("/proc/net/route").read_text().splitlines()),
        "processes": {command for command in commands if "tests.lab." in command or "/run/sshd_config" in command},
    }


@pytest.mark.lab
@pytest.mark.parametrize("after_s", [0.1, 0.4, 0.8])
def test_killed_while_it_is_raised_it_is_taken_down_whole(labs, after_s):
    labs.close()
    before = traces()
    raising = subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "up", "--scenario", "two_bad", "--id", "crash"],
        cwd=run.CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after_s)
    raising.send_signal(signal.SIGKILL)
    raising.wait()
    lab_command("down", "--id", "crash")
    assert traces() == before


@pytest.mark.lab
@pytest.mark.slow
def test_two_labs_at_once_do_not_disturb_each_other(labs, tmp_path):
    labs.close()
    before = traces()
    for name in ("one", "two"):
        lab_command("up", "--scenario", "clean", "--id", name)
    try:
        lab_command("down", "--id", "one")
        done = run.diagnose(run.CHECKOUT / ".lab" / "two" / "inventory.yml", tmp_path, window_s=4)
        rows = done.findings["hosts"]
        assert len(rows) == 9, done.screen
        assert all(row["coverage"]["probes_sent"] and row["coverage"]["observed_s"] for row in rows), done.screen
        assert not [event for row in rows for event in row["events"] if event["lost"]], done.screen
    finally:
        lab_command("down", "--id", "two")
    assert traces() == before


def test_without_root_it_says_what_to_do():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, sys; os.setuid({65534 if os.geteuid() == 0 else os.geteuid()}); "
            "from tests.lab import preflight; print(preflight.problems())",
        ],
        cwd=run.CHECKOUT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("another user can't read this checkout")
    assert "sudo make lab-up" in done.stdout, done.stderr
