"""The remedies that need systemd, on a machine of the VM lab: done once, checked without a trace, taken back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.integration.remedies import Done, Place

from .conftest import Machines

pytestmark = pytest.mark.vm

HOST = "vm-a1-1"
DROP_INS = "/etc/systemd/system/{}.d/"
# Starts with whatever flags it is given, but for one
READER = """#!/bin/bash
for flag in "$@"; do [ "$flag" = "--refused=1" ] && exit 1; done
exec -a cadvisor sleep 3600
"""


@pytest.fixture(scope="module")
def fleet(machines) -> Machines:
    fleet = machines("vm_clean")
    fleet.ssh(HOST, f"cat > /usr/local/bin/fs-test-reader <<'END'\n{READER}END\nchmod +x /usr/local/bin/fs-test-reader")
    unit(fleet, "fs-test-reader", "/usr/local/bin/fs-test-reader --housekeeping_interval=10s")
    unit(fleet, "fs-test-fifo", "/bin/sleep 3600", "CPUSchedulingPolicy=fifo\nCPUSchedulingPriority=3\n")
    unit(fleet, "fs-test-busy", "/bin/sleep 3600", "CPUQuota=40%\n")
    return fleet


@pytest.fixture
def place(fleet: Machines, tmp_path: Path) -> Place:
    return Place(tmp_path, target=["-i", str(fleet.inventory), "--limit", HOST], timeout_s=600)


def unit(fleet: Machines, name: str, command: str, more: str = "") -> None:
    content = f"[Service]\nExecStart={command}\n{more}"
    fleet.ssh(HOST, f"cat > /etc/systemd/system/{name}.service <<'END'\n{content}END\nsystemctl daemon-reload; systemctl start {name}")


def main_pid(fleet: Machines, name: str) -> int:
    return int(fleet.ssh(HOST, f"systemctl show --value -p MainPID {name}"))


def words(fleet: Machines, name: str) -> str:
    return fleet.ssh(HOST, f"tr '\\0' ' ' < /proc/{main_pid(fleet, name)}/cmdline; systemctl show --value -p ExecStart {name}")


def ago(seconds: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def text(done: Done) -> str:
    return " ".join(done.screen.split())


def test_restart_unit(fleet, place):
    wanted = {"unit": "fs-test-reader.service", "seen_at": ago(0), "settle_s": 2}
    before = main_pid(fleet, "fs-test-reader")
    assert place.remedy("restart_unit", "--check", **wanted).changed == 1 and main_pid(fleet, "fs-test-reader") == before
    done = place.remedy("restart_unit", **wanted)
    after = main_pid(fleet, "fs-test-reader")
    assert done.rc == 0 and done.result["said"] == ["fs-test-reader.service was restarted"] and after != before, done.screen
    again = place.remedy("restart_unit", **wanted)
    assert again.rc == 0 and again.changed == 0 and main_pid(fleet, "fs-test-reader") == after, again.screen
    assert "was started since it was seen" in again.result["said"][0]


@pytest.mark.parametrize(
    ("name", "said"),
    [("ssh.service", "the way to it, hangs on it"), ("fs-test-none.service", "systemd does not know it")],
)
def test_a_unit_that_is_not_touched(place, name, said):
    done = place.remedy("restart_unit", unit=name, seen_at=ago(0))
    assert done.rc == 2 and f"{name} was not touched" in text(done) and said in text(done), done.screen


def test_a_unit_that_does_not_stay_up_is_a_failure(fleet, place):
    unit(fleet, "fs-test-frail", "/bin/sh -c 'test ! -e /run/fs-test-frail && touch /run/fs-test-frail && exec sleep 3600'")
    fleet.ssh(HOST, "sleep 6")
    done = place.remedy("restart_unit", unit="fs-test-frail.service", seen_at=ago(0), settle_s=2)
    assert done.rc == 2 and "fs-test-frail.service did not stay up: it is failed" in text(done), done.screen
    fleet.ssh(HOST, "systemctl reset-failed fs-test-frail")


def test_reconfigure_a_reader_that_is_known(fleet, place):
    wanted = {"unit": "fs-test-reader.service", "comm": "cadvisor", "path": "/sys/fs/cgroup/memory/memory.stat", "settle_s": 2}
    checked = place.remedy("reconfigure_unit", "--check", **wanted)
    assert checked.rc == 0 and "+ExecStart=/usr/local/bin/fs-test-reader --housekeeping_interval=60s" in checked.screen, checked.screen
    assert fleet.ssh(HOST, f"ls {DROP_INS.format('fs-test-reader.service')} 2>/dev/null || true") == ""
    done = place.remedy("reconfigure_unit", **wanted)
    assert done.rc == 0 and "as is known of cadvisor" in done.result["said"][0], done.screen
    assert "--housekeeping_interval=60s --max_housekeeping_interval=120s" in words(fleet, "fs-test-reader")
    pid = main_pid(fleet, "fs-test-reader")
    again = place.remedy("reconfigure_unit", **wanted)
    assert again.rc == 0 and again.changed == 0 and main_pid(fleet, "fs-test-reader") == pid, again.screen
    # A controller that was killed before the restart has left the drop-in, and an old process
    fleet.ssh(HOST, f"touch {DROP_INS.format('fs-test-reader.service')}90-fleet-stall-reconfigure.conf")
    resumed = place.remedy("reconfigure_unit", resumed=True, **wanted)
    assert resumed.rc == 0 and main_pid(fleet, "fs-test-reader") != pid, resumed.screen
    undone = place.undo("reconfigure_unit", resumed.result["undo"])
    assert undone.rc == 0 and "--housekeeping_interval=10s" in words(fleet, "fs-test-reader"), undone.screen
    assert "max_housekeeping" not in words(fleet, "fs-test-reader")


def test_reconfiguring_what_does_not_stay_up_is_taken_back(fleet, place):
    done = place.remedy("reconfigure_unit", unit="fs-test-reader.service", flags={"--refused": "1"}, settle_s=2)
    assert done.rc == 2 and "its drop-in was taken out again" in text(done), done.screen
    assert fleet.ssh(HOST, "systemctl is-active fs-test-reader") == "active" and "refused" not in words(fleet, "fs-test-reader")


def test_a_program_that_nobody_knows_gets_less_of_the_cpu(fleet, place):
    done = place.remedy("reconfigure_unit", unit="fs-test-fifo.service", comm="sleep", settle_s=1)
    pid = main_pid(fleet, "fs-test-fifo")
    assert done.rc == 0 and "nothing is known of sleep" in done.result["said"][0], done.screen
    assert fleet.ssh(HOST, f"ps -o cls=,ni= -p {pid}").split() == ["TS", "10"]
    assert place.undo("reconfigure_unit", done.result["undo"]).rc == 0
    assert fleet.ssh(HOST, f"ps -o cls= -p {main_pid(fleet, 'fs-test-fifo')}") == "FF"


def test_the_priority_of_a_unit_outlasts_its_restart(fleet, place):
    fleet.ssh(HOST, "systemctl restart fs-test-fifo; sleep 2")
    pid = main_pid(fleet, "fs-test-fifo")
    done = place.remedy("set_priority", pid=pid, comm="sleep", seen_at=ago(0), unit="fs-test-fifo.service")
    assert done.rc == 0 and fleet.ssh(HOST, f"ps -o cls= -p {pid}") == "TS", done.screen
    fleet.ssh(HOST, "systemctl restart fs-test-fifo")
    assert fleet.ssh(HOST, f"ps -o cls= -p {main_pid(fleet, 'fs-test-fifo')}") == "TS"
    undone = place.undo("set_priority", done.result["undo"])
    fleet.ssh(HOST, "systemctl restart fs-test-fifo")
    assert undone.rc == 0 and fleet.ssh(HOST, f"ps -o cls= -p {main_pid(fleet, 'fs-test-fifo')}") == "FF", undone.screen


def test_the_quota_of_a_unit(fleet, place):
    def held() -> str:
        return fleet.ssh(HOST, "systemctl show --value -p CPUQuotaPerSecUSec fs-test-busy")

    assert held() == "400ms"
    wanted = {"unit": "fs-test-busy.service", "times": 2}
    assert place.remedy("cpu_quota", "--check", **wanted).changed == 1 and held() == "400ms"
    done = place.remedy("cpu_quota", **wanted)
    assert done.rc == 0 and held() == "800ms" and done.result["said"] == ["CPUQuota of fs-test-busy.service is 80, and was 40"], done.screen
    again = place.remedy("cpu_quota", **wanted)
    assert again.changed == 0 and held() == "800ms"
    assert place.undo("cpu_quota", again.result["undo"]).rc == 0 and held() == "400ms"


def test_the_only_cpu_cannot_be_kept_free_of_interrupts(fleet, place):
    assert fleet.ssh(HOST, "nproc") == "1"
    done = place.remedy("irq_affinity", avoid_cpu=0)
    assert done.rc == 2 and "CPU 0 is the only one that is online" in text(done), done.screen


def test_sysctls_for_good(fleet, place):
    settings = [
        {"sysctl": "net.ipv4.neigh.default.gc_thresh3", "times": 4, "most": 262144},
        {"sysctl": "net.core.netdev_budget", "times": 2, "most": 1200},
        {"sysctl": "kernel.numa_balancing", "value": 0, "optional": True},
        {"file": "/sys/kernel/mm/transparent_hugepage/defrag", "value": "defer"},
    ]

    def held() -> list[str]:
        return fleet.ssh(HOST, "sysctl -n net.ipv4.neigh.default.gc_thresh3 net.core.netdev_budget").split()

    before = held()
    done = place.remedy("sysctl", settings=settings, persisted=True)
    assert done.rc == 0 and held() == [str(4 * int(before[0])), str(2 * int(before[1]))], done.screen
    assert "[defer]" in fleet.ssh(HOST, "cat /sys/kernel/mm/transparent_hugepage/defrag")
    # What systemd makes of the file at boot
    fleet.ssh(HOST, "sysctl -qw net.core.netdev_budget=301; /lib/systemd/systemd-sysctl")
    assert held()[1] == str(2 * int(before[1]))
    again = place.remedy("sysctl", settings=settings, persisted=True)
    assert again.changed == 0
    assert place.undo("sysctl", again.result["undo"]).rc == 0 and held() == before
    assert fleet.ssh(HOST, "ls /etc/sysctl.d/90-fleet-stall.conf 2>&1 || true").startswith("ls: cannot access")
