"""Drop-ins that have a unit do less: what is known of readers, flags in the place of others, and what is refused."""

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.filter.drop_in import drop_in
from ansible_collections.fleet.stall.plugins.plugin_utils.drop_in import exec_start, with_flags

READERS = yaml.safe_load((Path(__file__).resolve().parents[2] / "roles" / "remediate" / "files" / "readers.yml").read_text())
CADVISOR = """\
# /lib/systemd/system/cadvisor.service
[Unit]
Description=cAdvisor
[Service]
EnvironmentFile=/etc/default/cadvisor
ExecStart=/usr/bin/cadvisor -port=4194 \\
    -housekeeping_interval=10s $DAEMON_ARGS
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
OURS = """
# /etc/systemd/system/cadvisor.service.d/90-fleet-stall-reconfigure.conf
[Service]
ExecStart=
ExecStart=/usr/bin/cadvisor $DAEMON_ARGS --housekeeping_interval=60s
"""
THEIRS = """
# /etc/systemd/system/cadvisor.service.d/override.conf
[Service]
ExecStart=
ExecStart=/opt/cadvisor --storage_duration "1 m"
"""


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        (CADVISOR, ["/usr/bin/cadvisor -port=4194  -housekeeping_interval=10s $DAEMON_ARGS"]),
        (CADVISOR + OURS, ["/usr/bin/cadvisor -port=4194  -housekeeping_interval=10s $DAEMON_ARGS"]),
        (CADVISOR + THEIRS, ['/opt/cadvisor --storage_duration "1 m"']),
        (CADVISOR + OURS + THEIRS, ['/opt/cadvisor --storage_duration "1 m"']),
        ("# /run/x.service\n[Service]\nType=oneshot\nExecStart=/bin/a\nExecStart = /bin/b\n", ["/bin/a", "/bin/b"]),
        ("[Service]\n[Unit]\nExecStart=/bin/a\n", []),
        ("", []),
    ],
)
def test_command_lines_of_a_unit(files, commands):
    assert exec_start(files) == commands


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [
        ("/usr/bin/c -a=1", {"--i": "30s"}, "/usr/bin/c -a=1 --i=30s"),
        ("/usr/bin/c -i=10s -a", {"--i": "30s"}, "/usr/bin/c -a --i=30s"),
        ("/usr/bin/c --i 10s -a", {"--i": "30s"}, "/usr/bin/c -a --i=30s"),
        # Nobody's interval is made shorter
        ("/usr/bin/c --i=2m", {"--i": "30s"}, "/usr/bin/c --i=2m"),
        ("/usr/bin/c --i=1m30s --i=10s", {"--i": "30s"}, "/usr/bin/c --i=1m30s"),
        # The same flag twice is refused by programs that use kingpin
        ("/usr/bin/n --collector.tcpstat --web=:9", {"--no-collector.tcpstat": None}, "/usr/bin/n --web=:9 --no-collector.tcpstat"),
        ('-/usr/bin/n \'a b\' "c\\" d" $ARGS', {"-x": 1}, '-/usr/bin/n \'a b\' "c\\" d" $ARGS -x=1'),
    ],
)
def test_a_flag_takes_the_place_of_its_like(command, flags, expected):
    assert with_flags(command, flags) == expected
    assert with_flags(expected, flags) == expected


@pytest.mark.parametrize(
    ("arguments", "lines", "because"),
    [
        (
            {"comm": "cadvisor", "path": "/sys/fs/cgroup/memory/memory.stat"},
            [
                "ExecStart=",
                "ExecStart=/usr/bin/cadvisor -port=4194 $DAEMON_ARGS --housekeeping_interval=60s --max_housekeeping_interval=120s",
            ],
            "as is known of cadvisor",
        ),
        ({"comm": "backup", "path": "/proc/slabinfo"}, ["CPUSchedulingPolicy=other", "Nice=10"], "nothing is known of backup"),
        ({"comm": None, "path": None}, ["CPUSchedulingPolicy=other", "Nice=10"], "nothing is known of the program"),
        (
            {"asked": {"properties": {"CPUQuota": "20%", "CPUAffinity": [0, 2]}}, "comm": "backup"},
            ["CPUQuota=20%", "CPUAffinity=0 2"],
            "as was asked for",
        ),
        (
            {"asked": {"flags": {"--x": None}, "properties": {"Nice": 5}}, "comm": "cadvisor", "path": "memory.stat"},
            ["ExecStart=", "ExecStart=/usr/bin/cadvisor -port=4194 -housekeeping_interval=10s $DAEMON_ARGS --x", "Nice=5"],
            "as was asked for",
        ),
        # No flags, whatever is known
        ({"asked": {"flags": {}, "properties": {"Nice": 5}}, "comm": "cadvisor", "path": "memory.stat"}, ["Nice=5"], "as was asked for"),
    ],
)
def test_lines(arguments, lines, because):
    made = drop_in(CADVISOR, READERS, **arguments)
    assert made["lines"] == lines and made["because"].startswith(because)


@pytest.mark.parametrize(
    ("files", "asked", "words"),
    [
        (CADVISOR, {"properties": {"ExecStartPre": "/bin/rm"}}, "properties.ExecStartPre is not one that a remedy may set: CPUQuota"),
        (CADVISOR, {"properties": {"Nice": "1\nExecStartPre=/bin/rm"}}, "give one line"),
        (CADVISOR, {"flags": {"--x": "a b"}}, "flags.--x is 'a b': give a flag such as --interval"),
        (CADVISOR, {"flags": {"x; rm": "1"}}, "flags.x; rm is '1'"),
        ("[Service]\nExecStart=/bin/sh -c 'cadvisor'\n", {"flags": {"--x": 1}}, "which flags can't be added to: give properties"),
        ("[Service]\nType=oneshot\n", {"flags": {"--x": 1}}, "has no ExecStart"),
        (None, {"flags": {"--x": 1}}, "wants the files of a unit"),
    ],
)
def test_what_cannot_be_said_is_refused(files, asked, words):
    with pytest.raises(AnsibleFilterError, match="fleet.stall.drop_in") as error:
        drop_in(files, READERS, asked)
    assert words in str(error.value)
