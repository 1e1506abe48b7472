"""The faults of the machines do what they say, and stop when they say so."""

from __future__ import annotations

import time

import pytest

from .conftest import Machines

pytestmark = pytest.mark.vm

RESTARTED, RECONFIGURED = "vm-a1-1", "vm-a2-1"
WATCHED_S = 20


@pytest.fixture(scope="module")
def readers(machines) -> Machines:
    return machines("vm_reader_unit")


def stalls_in(fleet: Machines, host: str, seconds: float) -> int:
    before = len(fleet.truth(host))
    time.sleep(seconds)
    return len(fleet.truth(host)) - before


def test_a_reader_stalls_until_it_is_restarted(readers):
    assert stalls_in(readers, RESTARTED, WATCHED_S) >= 3
    readers.ssh(RESTARTED, "systemctl restart stats-reader")
    assert stalls_in(readers, RESTARTED, WATCHED_S) == 0


def test_a_reader_stalls_less_once_it_is_reconfigured(readers):
    assert stalls_in(readers, RECONFIGURED, WATCHED_S) >= 3
    readers.ssh(RECONFIGURED, "systemctl restart stats-reader")
    assert stalls_in(readers, RECONFIGURED, WATCHED_S) >= 3
    place = "/etc/systemd/system/stats-reader.service.d"
    readers.ssh(RECONFIGURED, f"mkdir -p {place}; printf '[Service]\\nEnvironment=STATS_INTERVAL_S=600\\n' >{place}/interval.conf")
    readers.ssh(RECONFIGURED, "systemctl daemon-reload; systemctl restart stats-reader")
    time.sleep(5)
    assert stalls_in(readers, RECONFIGURED, WATCHED_S) == 0


def test_the_truth_is_what_the_injector_did(readers):
    for stall in readers.truth(RECONFIGURED):
        assert 140e6 <= stall["end_ns"] - stall["start_ns"] <= 400e6
        assert (stall["kind"], stall["comm"], stall["cpu"]) == ("stall_injector", "stats-reader", 0)


def test_a_service_of_one_machine_knows_the_older_kernel_alone(machines):
    fleet = machines("vm_bad_gate")
    assert fleet.ssh("vm-a1-1", "systemctl is-active node-agent") == "active"
    assert 'test "$(uname -r)" = 6.' in fleet.ssh("vm-a1-1", "systemctl cat node-agent")


def test_dying_memory_cgroups_pile_up_and_most_go_with_the_page_cache(machines):
    host = "vm-b1-1"
    fleet = machines("vm_zombies")
    fleet.ssh(host, "until journalctl -u zombie-maker | grep -q made; do sleep 3; done; systemctl stop zombie-maker", timeout=600)
    before, live = cgroups(fleet, host)
    assert before - live >= 1000
    fleet.ssh(host, "sync; echo 3 >/proc/sys/vm/drop_caches; sleep 10")
    after, live = cgroups(fleet, host)
    assert 100 <= after - live < 300


def cgroups(fleet: Machines, host: str) -> tuple[int, int]:
    """Memory cgroups that the kernel counts, dying ones too, and those there are."""
    counted = fleet.ssh(host, "awk '$1 == \"memory\" {print $3}' /proc/cgroups; find /sys/fs/cgroup/memory -type d | wc -l")
    all_of_them, there = counted.split()
    return int(all_of_them), int(there)
