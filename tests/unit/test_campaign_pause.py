"""A campaign that only time keeps from going on ends well, and the same command goes on with it: the real playbooks, on this machine."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.campaign import Fleet

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python")


def play(fleet, **variables):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_HOME": str(fleet.base / "home"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200"}
    line = [str(PLAYBOOK), "remediate.yml", "-i", str(fleet.inventory), "-e", json.dumps(fleet.variables(**variables))]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(line, cwd=ROOT, env=environment, text=True, timeout=300, check=False, **pipes)
    return done.returncode, done.stdout


def clock(hours):
    return (datetime.now(timezone.utc) + timedelta(hours=hours)).strftime("%H:%M")


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path, {"a": 1, "b": 1}).make()


def settled(fleet):
    return sorted(path.name for path in fleet.settled.iterdir())


def test_outside_the_window_nothing_is_begun_and_it_says_when_to_go_on(fleet):
    opens = clock(3)
    code, output = play(fleet, maintenance=[{"from": opens, "to": clock(4)}])
    assert code == 0, output
    code, output = play(fleet, plan=str(fleet.plan), confirm=True)
    assert code == 0 and settled(fleet) == [], output
    assert "The campaign pauses: no maintenance window is open" in output and f"T{opens}:00Z on." in output


def test_a_long_soak_time_is_not_waited_for_and_what_is_done_stays_done(fleet):
    code, output = play(fleet, soak_s=86400, limits={"fleet": 1})
    assert code == 0, output
    for _day in range(2):
        code, output = play(fleet, plan=str(fleet.plan), confirm=True)
        assert code == 0 and settled(fleet) == ["node-a-01"], output
        assert "The campaign pauses: the wave before soaks for 86400 s" in output
    assert [line["event"] for line in fleet.lines()].count("step_begun") == 1
