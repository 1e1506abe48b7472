"""Each remedy for real, as far as this machine can bear it: changed once, not twice, not in check mode, and taken back.

They run in namespaces of their own (network, mounts), on processes and control groups that the test makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import nic
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import cpus_of_list, online_cpus
from tests.lab import cgroups

from .remedies import Namespace

VETH = "umount -l /sys; mount -t sysfs sysfs /sys; ip link add fs-a numrxqueues 2 numtxqueues 2 type veth peer name fs-b;"
GC_THRESH = "/proc/sys/net/ipv6/route/gc_thresh"
PERSISTED = "/etc/sysctl.d/90-fleet-stall.conf"
HOG = """
import os, sys, threading, time
open("/proc/self/comm", "w").write("fs-test-hog")
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(3))
threading.Thread(target=time.sleep, args=(120,), daemon=True).start()
print("up", flush=True)
time.sleep(120)
"""


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Namespace]:
    namespace = Namespace(tmp_path)
    yield namespace
    namespace.close()


@pytest.fixture
def veth(tmp_path: Path) -> Iterator[Namespace]:
    namespace = Namespace(tmp_path, VETH)
    yield namespace
    namespace.close()


def ago(seconds: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_sysctl(apart):
    settings = [
        {"sysctl": "net.ipv6.route.gc_thresh", "times": 4, "most": 262144},
        {"sysctl": "net.ipv4.tcp_rmem", "field": 3, "at_most": 1000000},
        {"sysctl": "net.nowhere.to_be_found", "value": 0, "optional": True},
    ]
    before, rmem = int(apart.read(GC_THRESH)), apart.read("/proc/sys/net/ipv4/tcp_rmem")
    checked = apart.remedy("sysctl", "--check", settings=settings, persisted=True)
    assert checked.rc == 0 and checked.changed == 1 and f"+net.ipv6.route.gc_thresh = {4 * before}" in checked.screen
    assert int(apart.read(GC_THRESH)) == before and not apart.exists(PERSISTED) and not apart.exists("/run/fleet.stall")

    made = apart.remedy("sysctl", settings=settings, persisted=True)
    assert made.rc == 0 and made.result["changed"] is True, made.screen
    assert int(apart.read(GC_THRESH)) == 4 * before
    assert apart.read("/proc/sys/net/ipv4/tcp_rmem").split() == [*rmem.split()[:2], "1000000"]
    assert f"# was: {before}\nnet.ipv6.route.gc_thresh = {4 * before}" in apart.read(PERSISTED)
    assert f"net.ipv6.route.gc_thresh is {4 * before}, and was {before}" in made.result["said"]
    assert any("net.nowhere.to_be_found is not there" in sentence for sentence in made.result["said"])

    again = apart.remedy("sysctl", settings=settings, persisted=True)
    assert again.rc == 0 and again.changed == 0 and again.result["undo"] == made.result["undo"]
    assert int(apart.read(GC_THRESH)) == 4 * before

    assert apart.undo("sysctl", again.result["undo"], "--check").changed == 1
    undone = apart.undo("sysctl", again.result["undo"])
    assert undone.rc == 0 and undone.result["changed"] is True
    assert int(apart.read(GC_THRESH)) == before and apart.read("/proc/sys/net/ipv4/tcp_rmem") == rmem and not apart.exists(PERSISTED)
    assert apart.undo("sysctl", again.result["undo"]).changed == 0


def test_a_setting_that_somebody_else_changed_since_is_left(apart):
    made = apart.remedy("sysctl", settings=[{"sysctl": "net.ipv6.route.gc_thresh", "value": 2000}])
    apart.run("echo 3000 > " + GC_THRESH)
    undone = apart.undo("sysctl", made.result["undo"])
    assert undone.rc == 0 and undone.changed == 0 and apart.read(GC_THRESH) == "3000"
    assert any("holds '3000', which somebody else has made of it" in sentence for sentence in undone.result["said"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([{"sysctl": "net.nowhere.to_be_found", "value": 0}], "there is no such setting on this host"),
        (
            [{"sysctl": "net.ipv6.route.gc_thresh", "value": 2000}, {"sysctl": "net.ipv4.tcp_rmem", "value": "many"}],
            "net.ipv4.tcp_rmem: Invalid",
        ),
        ([{"sysctl": "net.ipv6.route.gc_thresh", "value": 1, "times": 2}], "mutually exclusive"),
        ([{"file": "/sys/../etc/passwd", "value": 1}], "is not below /sys"),
        ([{"sysctl": "net.ipv4.tcp_rmem", "times": 2}], "which is not one number: name the one that is meant with field"),
    ],
)
def test_settings_that_cannot_be_made_change_nothing(apart, settings, words):
    before = apart.read(GC_THRESH)
    done = apart.remedy("sysctl", settings=settings)
    assert done.rc == 2 and words in " ".join(done.screen.split()), done.screen
    assert apart.read(GC_THRESH) == before


@contextmanager
def hog() -> Iterator[subprocess.Popen]:
    """A process with two real-time threads, both asleep."""
    process = subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdout.readline() == "up\n", "no real-time priority can be had here"
        yield process
    finally:
        process.kill()
        process.wait()


def policies(pid: int) -> list[tuple[int, int]]:
    tids = sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
    return [(os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority) for tid in tids]


def test_set_priority(apart):
    with hog() as process:
        time.sleep(1.5)
        wanted = {"pid": process.pid, "comm": "fs-test-hog", "seen_at": ago(0)}
        assert policies(process.pid) == [(os.SCHED_FIFO, 3)] * 2
        checked = apart.remedy("set_priority", "--check", **wanted)
        assert checked.rc == 0 and checked.changed == 1 and policies(process.pid) == [(os.SCHED_FIFO, 3)] * 2

        made = apart.remedy("set_priority", **wanted)
        assert made.rc == 0 and made.result["changed"] is True and policies(process.pid) == [(os.SCHED_OTHER, 0)] * 2, made.screen
        assert any(f"fs-test-hog (pid {process.pid}) is other 0 nice" in sentence for sentence in made.result["said"])
        again = apart.remedy("set_priority", **wanted)
        assert again.rc == 0 and again.changed == 0 and len(again.result["undo"]["settings"]) == 2

        undone = apart.undo("set_priority", again.result["undo"])
        assert undone.rc == 0 and policies(process.pid) == [(os.SCHED_FIFO, 3)] * 2
    gone = apart.undo("set_priority", again.result["undo"])
    assert gone.rc == 0 and gone.changed == 0 and any("is no longer there" in sentence for sentence in gone.result["said"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seen_at": ago(3600)}, "it is another one, and was not touched"),
        ({"comm": "rt-hog"}, "is 'fs-test-hog' and not 'rt-hog': another one has its number by now"),
        ({"pid": 4194300}, "has ended: nothing was touched"),
    ],
)
def test_another_process_with_the_number_is_not_touched(apart, changes, words):
    with hog() as process:
        done = apart.remedy("set_priority", **{"pid": process.pid, "comm": "fs-test-hog", "seen_at": ago(0), **changes})
        assert done.rc == 2 and words in " ".join(done.screen.split()), done.screen
        assert policies(process.pid) == [(os.SCHED_FIFO, 3)] * 2


def test_rps(veth):
    masks = ["/sys/class/net/fs-a/queues/rx-0/rps_cpus", "/sys/class/net/fs-a/queues/rx-1/rps_cpus"]
    before = [veth.read(mask) for mask in masks]
    everyone = (1 << (os.cpu_count() or 1)) - 1
    assert all(int(mask, 16) == 0 for mask in before)
    assert veth.remedy("rps", "--check", interfaces=["fs-a"], avoid_cpu=0).changed == 1
    assert [veth.read(mask) for mask in masks] == before
    made = veth.remedy("rps", interfaces=["fs-a"], avoid_cpu=0)
    assert made.rc == 0 and [int(veth.read(mask), 16) for mask in masks] == [everyone & ~1] * 2, made.screen
    again = veth.remedy("rps", interfaces=["fs-a"], avoid_cpu=0)
    assert again.changed == 0 and len(again.result["undo"]["settings"]) == 2
    assert veth.undo("rps", again.result["undo"]).rc == 0 and [veth.read(mask) for mask in masks] == before
    named = veth.remedy("rps", interfaces=["fs-z"])
    assert named.rc == 2 and "names fs-z, which this host does not have" in " ".join(named.screen.split())


def test_virtual_interfaces_have_no_interrupts(veth):
    done = veth.remedy("irq_affinity", avoid_cpu=0, interfaces=["fs-a"])
    assert done.rc == 2 and "virtual ones have none" in " ".join(done.screen.split())


def test_cpu_quota(apart):
    group = cgroups.create(f"fs-test-{os.getpid()}", 50000, 100000)
    process = subprocess.Popen(["sleep", "120"])
    try:
        (group / "cgroup.procs").write_text(str(process.pid))
        time.sleep(1.5)
        who = {"pid": process.pid, "comm": "sleep", "seen_at": ago(0)}
        assert apart.remedy("cpu_quota", "--check", **who, times=2).changed == 1 and quota(group) == 50
        made = apart.remedy("cpu_quota", **who, times=2)
        assert made.rc == 0 and quota(group) == 100 and made.result["said"] == [f"CPU quota of {group} is 100, and was 50"], made.screen
        again = apart.remedy("cpu_quota", **who, times=2)
        assert again.changed == 0 and quota(group) == 100
        freed = apart.remedy("cpu_quota", **who, percent=0)
        assert freed.rc == 0 and quota(group) is None, freed.screen
        assert apart.undo("cpu_quota", freed.result["undo"]).rc == 0 and quota(group) == 50
    finally:
        process.kill()
        process.wait()
        cgroups.remove(group.name)


def quota(group: Path) -> float | None:
    if (group / "cpu.max").exists():
        used, period = (group / "cpu.max").read_text().split()
    else:
        used, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    return None if used in ("max", "-1") else 100 * int(used) / int(period)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[tuple[Namespace, list[Path]]]:
    """This machine's own card, whose interrupts have their CPUs back in any case; the machines of the VM lab have one CPU each."""
    interfaces = [row for row in nic.read()["interfaces"] if row["default_route"]]
    files = [Path(f"/proc/irq/{queue['irq']}/smp_affinity_list") for row in interfaces for queue in row["queues"] if queue["irq"]]
    if not files or len(online_cpus()) < 2:
        pytest.skip("no interrupt of a receive queue that could go to another CPU")
    before = {file: file.read_text() for file in files}
    namespace = Namespace(tmp_path, shares_network=True)
    yield namespace, files
    namespace.close()
    for file, cpus in before.items():
        if file.read_text() != cpus:
            file.write_text(cpus)


def test_irq_affinity(card):
    place, files = card
    before = [file.read_text() for file in files]
    checked = place.remedy("irq_affinity", "--check", avoid_cpu=0)
    assert checked.rc == 0 and [file.read_text() for file in files] == before, checked.screen
    done = place.remedy("irq_affinity", avoid_cpu=0)
    assert done.rc == 0 and not any(0 in cpus_of_list(file.read_text()) for file in files), done.screen
    again = place.remedy("irq_affinity", avoid_cpu=0)
    assert again.rc == 0 and again.changed == 0 and again.result["undo"] == done.result["undo"]
    if done.result["undo"]:
        assert place.undo("irq_affinity", again.result["undo"]).rc == 0
    assert [file.read_text() for file in files] == before
