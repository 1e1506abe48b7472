"""The VM lab's pure parts: what is put into a machine, and how it is started."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import causes
from tests.lab import inventory, scenario, services, topology
from tests.lab.vm import archive, faults, image, machine, overlay, seed
from tests.lab.vm.machine import Machine

KERNELS = {"package": "linux-image-cloud-amd64", "old": "6.1.0-50-cloud-amd64", "new": "6.1.0-56-cloud-amd64"}
LAB = topology.machines(3)


def machine_of(**changes) -> Machine:
    return Machine("vm-a1-1", "tcg", Path("/lab/disk"), Path("/lab/console"), **changes)


def test_an_archive_holds_files_programs_and_links():
    entries = {"etc/x": archive.text("x\n", 0o600), "usr/local/bin/y": archive.program("#!/bin/sh\n"), "etc/z": archive.link("/etc/x")}
    with tarfile.open(fileobj=io.BytesIO(archive.pack(entries))) as packed:
        members = {member.name: member for member in packed.getmembers()}
        assert packed.extractfile("etc/x").read() == b"x\n"
    assert (members["etc/x"].mode, members["usr/local/bin/y"].mode) == (0o600, 0o755)
    assert members["etc/z"].linkname == "/etc/x"
    assert {member.uid for member in members.values()} == {0}


def test_each_machine_has_an_identity_of_its_own():
    seeds = [seed.of(LAB, host, f"key of {host.name}", "public") for host in LAB.hosts]
    for path in ("etc/hostname", "etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/systemd/network/eth0.network"):
        assert len({entries[path].content for entries in seeds}) == len(LAB.hosts), path
    assert all(entries["etc/ssh/ssh_host_ed25519_key"].mode == 0o600 for entries in seeds)


def test_a_machine_is_in_the_network_of_its_rack():
    entries = seed.of(LAB, LAB.host("vm-a2-1"), "key", "public")
    network = entries["etc/systemd/network/eth0.network"].content.decode()
    assert "Address=198.18.50.10/24\n" in network
    assert "Gateway=198.18.50.1\n" in network


def test_each_node_tunnels_to_the_others_and_one_has_the_pod():
    for host in LAB.hosts:
        entries = overlay.of(LAB, host)
        script = entries["usr/local/sbin/lab-overlay"].content.decode()
        others = [other for other in LAB.hosts if other != host]
        assert all(f"ip route add 10.244.{other.overlay_number}.0/24 via {other.address} dev tunl0 onlink" in script for other in others)
        assert script.count("dev tunl0 onlink") == len(others)
        assert ("ip netns add pod" in script) == (host.name == LAB.pod_node)
        assert (overlay.PROGRAM in entries) == (host.name == LAB.pod_node)
        assert all(f"--dport {port} " in entries["etc/lab-node-ports"].content.decode() for port in services.NODE_PORTS)


def test_what_the_pod_runs_stands_alone():
    assert "\nfrom ." not in Path(services.__file__).read_text()


@pytest.mark.parametrize("accelerator", machine.ACCELERATORS)
def test_a_machine_is_started_with_what_it_has(accelerator):
    bare = machine.command(Machine("image", accelerator, Path("/disk"), Path("/console")), ["-no-reboot"])
    assert bare[0] == machine.QEMU
    assert bare[-1] == "-no-reboot"
    assert not any("netdev" in word or "truth" in word for word in bare)
    line = " ".join(machine.command(machine_of(seed=Path("/seed"), truth=Path("/truth"), tap="h1", mac="52:54:00:00:03:01")))
    assert "ifname=h1,script=no" in line
    assert "mac=52:54:00:00:03:01" in line
    assert "format=raw,readonly=on,file=/seed" in line
    assert "path=/truth" in line


@pytest.mark.parametrize("name", [name for name in scenario.names() if scenario.load(name).virtual])
def test_every_fault_of_a_machine_is_a_unit_that_starts_with_it(name):
    for fault in scenario.load(name).faults:
        assert LAB.host(fault["at"])
        entries = faults.of(fault, KERNELS)
        links = {entry.target.lstrip("/") for entry in entries.values() if entry.target}
        assert links
        assert links <= set(entries)


def test_the_kinds_of_faults_that_a_scenario_may_name_are_those_there_are():
    assert set(faults.KINDS) == set(scenario.VM_FAULTS)


def test_the_injector_is_only_loaded_where_it_was_built():
    entries = faults.of(
        {"kind": "stall_injector", "at": "x", "length_ms": 120, "spread_ms": 30, "every_s": 1, "until": "upgraded"}, KERNELS
    )
    assert entries["etc/modprobe.d/stall_injector.conf"].content == b"options stall_injector length_ms=120 spread_ms=30\n"
    for unit in ("stall-injector", "stall-truth"):
        assert b"ConditionPathExists=/lib/modules/%v/extra/stall_injector.ko\n" in entries[f"etc/systemd/system/{unit}.service"].content
    assert "etc/tmpfiles.d/stats-reader.conf" not in entries


def test_the_recipe_goes_by_what_is_built_from(monkeypatch):
    before = image.recipe()
    assert image.recipe() == before
    monkeypatch.setattr(image, "PACKAGES", (*image.PACKAGES, "more"))
    assert image.recipe() != before


def test_an_unknown_accelerator_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(image, "problems", list)
    monkeypatch.setattr(image, "CACHE", tmp_path)
    (tmp_path / image.recipe()).mkdir()
    (tmp_path / image.recipe() / "image.json").write_text('{"accelerator": "tcg", "kernels": {}}')
    monkeypatch.setenv("FLEET_STALL_ACCEL", "hvf")
    with pytest.raises(ValueError, match="FLEET_STALL_ACCEL=hvf: there are kvm, tcg"):
        image.ensure()


def test_the_injector_is_a_cause_of_its_own():
    catalogue = causes.load([inventory.CAUSES])
    assert "stall-injector" in {cause.id for cause in catalogue.causes}
    assert not catalogue.notes
