"""A run that is broken off ends its observers with the command line that started them, and says what it could not end."""

import sys
import time

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import interrupt
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import CAPTURE, OBSERVE
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir

END = time.mktime((2026, 11, 23, 12, 30, 15, 0, 0, -1))


@pytest.fixture
def run(tmp_path):
    made = RunDir.create(tmp_path / "runs", 0)
    made.write_plan({"run": {"id": made.id}, "hosts": {"one": {}, "two": {}, "three": {}}}, {OBSERVE: {"one": {}, "two": {}, "three": {}}})
    made.reserve(1)
    for host in ("one", "two"):
        made.write_host(host, "job", {"state": "started"})
    return made


def stopped(command, run):
    said = []
    interrupt.stop(command, run, END, said.append)
    return said


def test_the_command_keeps_inventory_user_and_limit(run):
    argv = ["/usr/bin/ansible-playbook", "-i", "inventories/x", "diagnose.yml", "--limit", "rack_a", "-e", "stall_window_s=60", "-u", "me"]
    command = interrupt.stop_command(argv, ["diagnose.yml"], run)
    assert command[:5] == [sys.executable, "/usr/bin/ansible-playbook", "-i", "inventories/x", "--limit"]
    assert command[-5:] == ["-e", f"stall_run={run.id}", "-e", f"stall_runs_dir={run.path.parent}", str(interrupt.STOP_PLAYBOOK)]
    assert "diagnose.yml" not in command and interrupt.STOP_PLAYBOOK.is_file()


def test_of_a_capture_only_those_who_take_part_are_asked(run):
    capture = run.create_capture()
    capture.write_plan(
        {"run": {"id": capture.id}, "hosts": {"one": {}, "two": {}}}, {OBSERVE: {"one": {}, "two": {}}, CAPTURE: {"one": {}}}
    )
    for host, job in (("one", CAPTURE), ("two", OBSERVE)):
        capture.write_host(host, job.job, {"state": "started"})
    command = interrupt.stop_command(["ansible-playbook", "diagnose.yml"], ["diagnose.yml"], capture)
    assert '{"stall_hosts": "one,two"}' in command and f"stall_run={run.id}" in command
    ended = f"import pathlib; [job.unlink() for job in pathlib.Path({str(capture.path)!r}).glob('evidence/*/*job.json')]"
    said = stopped([sys.executable, "-c", ended], capture)
    assert "of 2 hosts" in said[0] and said[1] == "no observer is left on any host." and said[-1].endswith(str(run.path))


def test_a_name_that_is_a_pattern_does_not_choose_hosts(run):
    capture = run.create_capture()
    capture.write_plan({"run": {"id": capture.id}, "hosts": {"!all": {}}}, {CAPTURE: {"!all": {}}})
    capture.write_host("!all", CAPTURE.job, {"state": "started"})
    assert not any("stall_hosts" in word for word in interrupt.stop_command(["ansible-playbook"], [], capture))


def test_observers_that_were_ended_are_not_spoken_of_as_left(run):
    ended = f"import pathlib; [job.unlink() for job in pathlib.Path({str(run.path)!r}).glob('evidence/*/job.json')]"
    said = stopped([sys.executable, "-c", ended], run)
    assert "of 2 hosts" in said[0] and said[1] == "no observer is left on any host." and str(run.path) in said[-1]


def test_observers_that_could_not_be_ended_are_named_with_the_time_they_end(run):
    said = stopped([sys.executable, "-c", "print('why'); raise SystemExit(1)"], run)
    assert "left on one, two; they end by themselves at 12:30:15" in said[1]
    assert (run.path / interrupt.LOG).read_text() == "why\n" and interrupt.LOG in said[1]


def test_where_a_password_would_be_asked_for_nothing_is_run(run):
    said = stopped(None, run)
    assert "left on one, two" in said[0] and not (run.path / interrupt.LOG).exists()


def test_a_command_that_hangs_is_ended(run, monkeypatch):
    monkeypatch.setattr(interrupt, "LIMIT_S", 0.2)
    said = stopped([sys.executable, "-c", "import time; time.sleep(60)"], run)
    assert "left on one, two" in said[1]


def test_a_run_that_started_nothing_has_nothing_to_say(run):
    for host in ("one", "two"):
        run.remove_host_file(host, "job")
    assert stopped(["must not be run"], run) == []


def test_a_command_that_cannot_be_run_is_told(run):
    assert "could not be stopped" in stopped(["/nonexistent/python"], run)[1]


def test_the_reserved_space_is_given_back(run):
    stopped(None, run)
    assert not (run.path / ".reserve").exists()
