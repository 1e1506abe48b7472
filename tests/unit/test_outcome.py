"""Why a host is not measured, from what Ansible and the host really say (cores 2.16 to 2.21)."""

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import CAPTURE

JOB = {
    "dir": "/run/fleet.stall/x",
    "result": "/run/fleet.stall/x/observe.json.gz",
    "pid": 4711,
    "ends_at_host": 1.0,
    "deadline_at_host": 8.0,
}


def crashed(stderr="", stdout="", rc=1, msg="MODULE FAILURE\nSee stdout/stderr for the exact error"):
    return {"failed": True, "msg": msg, "module_stderr": stderr, "module_stdout": stdout, "rc": rc}


def test_a_started_observer_is_no_failure():
    result = {"changed": False, "started": True, "job": JOB}
    assert outcome.of_result(result, "/usr/bin/python3") is None
    assert outcome.started(result, become=True) == {
        "state": "started",
        "become": True,
        "lingers_s": 7.0,
        "dir": JOB["dir"],
        "result": JOB["result"],
        "pid": JOB["pid"],
    }


@pytest.mark.parametrize(
    ("result", "reason", "remedy", "become"),
    [
        (crashed("/bin/sh: 1: /usr/bin/python3: not found", rc=127), "no Python: /usr/bin/python3 is not there", "install python3", False),
        (
            crashed(stdout="/bin/sh: /usr/bin/python3: No such file or directory\r\n", rc=127),
            "no Python",
            "ansible_python_interpreter",
            False,
        ),
        (crashed("/bin/sh: 1: sudo: not found", rc=127), "sudo: not found", "-vvv", True),
        (crashed("sudo: a password is required"), "sudo: a password is required", "-vvv", True),
        (
            {"failed": True, "msg": "ansible-core requires a minimum of Python version 3.9. Current version: 3.6.15"},
            "its Python is too old: ansible-core requires a minimum of Python version 3.9",
            "ansible-core 2.16",
            False,
        ),
        (
            {"failed": True, "msg": "run 'x' is observing on this host", "remedy": "wait for it"},
            "run 'x' is observing on this host",
            "wait for it",
            False,
        ),
        ({"changed": False, "job": {"dir": "/x", "result": None, "pid": "1"}}, "the module gave no reason", "-vvv", False),
        ({"changed": False}, "the module gave no reason", "-vvv", False),
    ],
)
def test_a_failure_names_its_cause_and_the_remedy(result, reason, remedy, become):
    failure = outcome.of_result(result, "/usr/bin/python3")
    assert reason in failure.reason and remedy in failure.remedy and failure.become is become


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "Failed to connect to the host via ssh: ssh: connect to host 192.0.2.1 port 22: Connection refused",
            "ssh: connect to host 192.0.2.1 port 22: Connection refused",
        ),
        (
            'Data could not be sent to remote host "x". Make sure this host can be reached over ssh: ssh: connect to host x port 22: No',
            "ssh: connect to host x port 22: No",
        ),
        ("Invalid/incorrect password: Permission denied, please try again.", "Invalid/incorrect password"),
    ],
)
def test_an_unreachable_host_is_told_by_what_ssh_said(message, reason):
    failure = outcome.of_unreachable(message)
    assert failure.stage == "connect" and failure.reason.startswith(reason) and "ssh" in failure.remedy


def test_a_host_without_room_for_ansible_is_not_called_unreachable():
    failure = outcome.of_unreachable("Failed to create temporary directory. In some cases, you may have been able to authenticate ...")
    assert failure.stage == "start" and "ansible_pipelining" in failure.remedy


def test_a_capture_that_is_refused_is_named_as_one():
    refused = {"failed": True, "msg": "run 'x' is capturing on this host", "remedy": "wait for it"}
    assert outcome.of_result(refused, "/usr/bin/python3", CAPTURE).stage == "capture"
    assert "capture was started" in outcome.interrupted(CAPTURE).reason and outcome.stopped(CAPTURE).stage == "capture"


@pytest.mark.parametrize(
    ("capabilities", "reasons"),
    [
        ({"rx_trace": {"available": True, "reason": None}, "recorder": {"available": True}, "slow_calls": {"available": True}}, []),
        ({"rx_trace": {"available": True, "how": "perf", "reason": "bpftrace is not installed"}}, ["bpftrace is not installed"]),
        ({"rx_trace": {"available": False, "reason": "no x"}, "slow_calls": {"available": False, "reason": "no x"}}, ["no x"]),
        ({"recorder": {"available": False, "reason": None}, "strace": {"available": False, "reason": "off"}}, ["no reason is known"]),
        ("nonsense", []),
        ({"recorder": 7}, []),
    ],
)
def test_what_a_capture_lacks_is_told_once(capabilities, reasons):
    assert outcome.narrowed({"capabilities": capabilities}) == reasons
    assert outcome.narrowed({"flows": []}) == []


def test_what_the_become_program_said_is_the_reason():
    message = "Premature end of stream waiting for become success.\n>>> Standard Error\n/bin/sh: 1: sudo: not found\n"
    assert outcome.of_error(message).reason == "/bin/sh: 1: sudo: not found" and outcome.of_error(message).become
