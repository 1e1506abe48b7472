"""What systemctl prints, and why it prints nothing."""

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import systemd
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable

LISTED = """\
● logrotate.service    loaded failed failed Rotate log files
  fwupd-refresh.service loaded failed failed Refresh
"""


@pytest.mark.parametrize(("listed", "names"), [("", []), (LISTED, ["logrotate.service", "fwupd-refresh.service"])])
def test_names_of_units(listed, names):
    assert systemd.first_column(listed) == names


DROP_INS = ["/etc/systemd/system/x.service.d/a.conf", "/run/systemd/system/x.service.d/b.conf"]
RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "ActiveEnterTimestampMonotonic": "40000000",
    "NRestarts": "2",
    "MainPID": "77",
    "NeedDaemonReload": "no",
    "DropInPaths": "/etc/systemd/system/x.service.d/a.conf /run/systemd/system/x.service.d/b.conf",
    "CPUSchedulingPolicy": "1",
}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (RUNNING, ("loaded", "active", 60.0, 940.0, 2, 77, False, DROP_INS, "fifo")),
        # It ran once, and does not any more
        ({**RUNNING, "ActiveState": "failed", "MainPID": "0"}, ("loaded", "failed", None, None, 2, None, False, DROP_INS, "fifo")),
        (
            {"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0"},
            ("not-found", "inactive", None, None, None, None, False, [], None),
        ),
        # CentOS 7 does not count restarts
        (
            {key: value for key, value in RUNNING.items() if key != "NRestarts"},
            ("loaded", "active", 60.0, 940.0, None, 77, False, DROP_INS, "fifo"),
        ),
    ],
)
def test_a_unit(shown, expected):
    assert tuple(systemd.described(shown, 100.0, 1000.0).values()) == expected


def test_without_systemd_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path / "missing"))
    with pytest.raises(Unavailable, match="systemd does not run this host"):
        systemd.failed()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo Failed to connect to bus >&2; exit 1"], "Failed to connect to bus"),
        (["sh", "-c", "exec sleep 30"], "did not answer within 0.5 s"),
        (["/nowhere/systemctl"], "systemctl: No such file or directory"),
    ],
)
def test_a_systemctl_that_fails_or_hangs_is_a_reason(monkeypatch, tmp_path, command, words):
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path))
    monkeypatch.setattr(systemd, "COMMAND", command)
    monkeypatch.setattr(systemd, "PATIENCE_S", 0.5)
    with pytest.raises(Unavailable, match=words):
        systemd.failed()


def test_properties_of_a_unit(monkeypatch, tmp_path):
    monkeypatch.setattr(systemd, "BOOTED", str(tmp_path))
    monkeypatch.setattr(systemd, "COMMAND", ["sh", "-c", "echo LoadState=loaded; echo ExecStart=/usr/bin/x --y=z"])
    assert systemd.properties("x.service", "LoadState", "ExecStart") == {"LoadState": "loaded", "ExecStart": "/usr/bin/x --y=z"}
