"""What the VM lab promises: up in time, machines that are told apart, a stall of the kernel that is found and that goes with the kernel."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.integration import run
from tests.lab import namespaces, state, topology

from .conftest import Machines, lab

pytestmark = pytest.mark.vm

UP_WITHIN_S = 60
STALLING = "vm-a2-1"
OTHER = "vm-a1-1"


def test_killed_while_it_is_raised_nothing_stays():
    raising = subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "up", "--scenario", "vm_clean", "--id", "vm-crash"],
        cwd=run.CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not qemus() and raising.poll() is None:
        time.sleep(0.1)
    raising.send_signal(signal.SIGKILL)
    raising.wait()
    assert qemus()
    prefix = topology.slot_prefix(state.find("vm-crash").slot)
    lab("down", "--id", "vm-crash")
    assert not qemus()
    assert not namespaces.names(f"{prefix}-")
    assert not Path("/sys/class/net", prefix).exists()
    assert not (run.CHECKOUT / ".lab" / "vm-crash").exists()


def qemus() -> int:
    """How many machines of the lab that is killed run."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
            found += b"qemu-system" in line and b".lab/vm-crash/" in line
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def fleet(machines) -> Machines:
    return machines("vm_kernel_stall")


@pytest.fixture(scope="module")
def kernels(fleet) -> dict[str, str]:
    return json.loads((fleet.dir / "kernels.json").read_text())


def test_three_machines_are_up_within_a_minute(fleet):
    assert len(fleet.names) == 3
    assert fleet.raised_s <= UP_WITHIN_S


def test_each_is_a_machine_of_its_own_on_the_older_kernel(fleet, kernels):
    assert len({fleet.boot_id(name) for name in fleet.names}) == 3
    for name in fleet.names:
        assert fleet.ssh(name, "hostname; uname -r").split() == [name, kernels["old"]]
        assert fleet.ssh(name, "systemctl is-system-running --wait") == "running"


def test_they_have_what_the_article_s_hosts_had(fleet):
    assert "memory" in fleet.ssh(OTHER, "ls /sys/fs/cgroup")
    assert "tunl0" in fleet.ssh(OTHER, "ip -br link show type ipip")
    assert "to:10.244." in fleet.ssh(OTHER, "iptables -t nat -n -L PREROUTING")
    inventory = yaml.safe_load(fleet.inventory.read_text())["all"]
    pod = inventory["hosts"]["vm-b1-1"]["stall_overlay_address"].removesuffix(".1") + ".10"
    assert fleet.ssh(OTHER, f"ping -c 3 -i 0.3 {pod} >/dev/null; echo $?") == "0"
    get = "import urllib.request as u; print(u.urlopen('http://%s:30080/', timeout=20).read())"
    assert fleet.ssh(STALLING, f'python3 -c "{get % OTHER}"') == r"b'ok\n'"
    trace = 'kprobe:icmp_echo { printf("seen\\n"); exit(); }'
    ping_until_it_ends = "for i in $(seq 90); do kill -0 $! || break; ping -c 1 127.0.0.1 >&2; sleep 1; done"
    assert "seen" in fleet.ssh(OTHER, f"timeout 90 bpftrace -e '{trace}' & {ping_until_it_ends}")


def test_the_diagnosis_ranks_the_stalling_machine_first(fleet, runs):
    done = run.diagnose(fleet.inventory, runs, timeout=900, capture=False)
    assert done.rc == 0, done.screen
    first = done.findings["hosts"][0]
    assert (first["host"], first["status"], first["blame"]["side"]) == (STALLING, "stalling", "receiver"), done.screen
    assert fleet.truth(STALLING)


def test_an_upgrade_and_a_reboot_end_the_stall(fleet, kernels):
    install = f"DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {kernels['package']}"
    fleet.ssh(STALLING, install, timeout=1200)
    assert fleet.ssh(STALLING, "uname -r") == kernels["old"]
    fleet.reboot(STALLING)
    assert fleet.ssh(STALLING, "uname -r") == kernels["new"]
    assert fleet.ssh(STALLING, "systemctl is-system-running --wait") == "running"
    assert fleet.ssh(STALLING, "systemctl is-active stats-reader") == "active"
    before = len(fleet.truth(STALLING))
    time.sleep(10)
    assert len(fleet.truth(STALLING)) == before


def test_grub_boots_another_kernel_once(fleet, kernels):
    entries = fleet.ssh(STALLING, 'grep -o "gnulinux-[^\' ]*" /boot/grub/grub.cfg').split()
    submenu = next(entry for entry in entries if entry.startswith("gnulinux-advanced-"))
    old = next(entry for entry in entries if entry.startswith(f"gnulinux-{kernels['old']}-advanced"))
    fleet.ssh(STALLING, f"grub-reboot '{submenu}>{old}'")
    fleet.reboot(STALLING)
    assert fleet.ssh(STALLING, "uname -r") == kernels["old"]
    fleet.reboot(STALLING)
    assert fleet.ssh(STALLING, "uname -r") == kernels["new"]
