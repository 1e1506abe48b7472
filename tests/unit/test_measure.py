"""What is compared before and after a remedy: measured on this machine, and why something is missing."""

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import measure
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable

NAMES = {"boot_id", "uptime_s", "kernel", "memory_cgroups", "vmstat", "load1", "failed_units", "units", "reasons"}


def test_this_machine():
    found = measure.measure(0)
    assert set(found) == NAMES
    assert found["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert found["kernel"] == os.uname().release
    assert found["uptime_s"] > 0 and found["load1"] >= 0
    assert set(found["vmstat"]) == {"drop_pagecache", "drop_slab"}
    assert found["memory_cgroups"]["read_ms"] is None and "switched off" in found["reasons"]["memory_cgroups"]


def test_a_read_of_memory_stat_is_timed_or_the_reason_is_said():
    found = measure.measure(5)
    groups = found["memory_cgroups"]
    assert (groups["read_ms"] is None) == (groups["read_cpu"] is None) or "not over after" in found["reasons"]["memory_cgroups"]
    assert groups["read_ms"] is not None or found["reasons"]["memory_cgroups"]


def test_what_is_null_has_a_reason(monkeypatch):
    def gone(*_):
        raise Unavailable("/proc/x: No such file or directory")

    for reader in (measure.machine, measure.kernel, measure.vmstat, measure.nic):
        monkeypatch.setattr(reader, "read", gone)
    found = measure.measure(0)
    for name in ("boot_id", "uptime_s", "kernel", "vmstat"):
        assert found[name] is None and found["reasons"][name] == "/proc/x: No such file or directory"
    assert "receive_queues" in found["reasons"]


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ({"drop_pagecache": 2, "drop_slab": 3, "compact_stall": 4}, {"drop_pagecache": 2, "drop_slab": 3}),
        ({"compact_stall": 4}, None),
        ({"drop_slab": 4}, None),
    ],
)
def test_dropped_caches(monkeypatch, numbers, found):
    monkeypatch.setattr(measure.vmstat, "read", lambda: numbers)
    if found is None:
        with pytest.raises(Unavailable, match="does not count"):
            measure.dropped()
    else:
        assert measure.dropped() == found


@pytest.mark.parametrize(
    ("receiving", "usable", "avoid", "priced"),
    [
        ({0}, {0, 1}, {0}, False),
        (set(), {0, 1}, set(), False),
        ({0, 1}, {0, 1}, set(), True),
        ({0, 1, 2, 3}, {2, 3}, set(), True),
    ],
)
def test_the_read_keeps_off_the_cpus_that_receive_where_there_are_others(receiving, usable, avoid, priced):
    kept_off, price = measure.apart(receiving, usable)
    assert kept_off == avoid and bool(price) is priced


def test_the_module_measures_in_check_mode_too(tmp_path):
    ansible = Path(os.sys.executable).with_name("ansible")
    if not ansible.exists():
        pytest.skip("no ansible beside this Python")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    line = [str(ansible), "localhost", "-c", "local", "-m", "fleet.stall.measure", "-a", "memory_stat_s=0", "--check"]
    done = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and os.uname().release in done.stdout, done.stdout + done.stderr
