"""Raise the machines of a lab in its fabric and wait until each is reached by SSH and has started."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .. import hosts, namespaces, network, preflight
from ..topology import Host, Topology
from . import archive, image, machine, seed
from . import faults as faults_of
from .image import Image
from .machine import Machine

# A machine that nobody takes down ends itself
LIFETIME_S = 6 * 3600
UP_WITHIN_S = 600
STARTED = re.compile(rb"Reached target .*multi-user\.target")
IFF_TAP, IFF_NO_PI, TUNSETIFF, TUNSETPERSIST = 0x0002, 0x1000, 0x400454CA, 0x400454CB


def up(lab: Topology, directory: Path, faults: list[dict]) -> None:
    """Raises RuntimeError with the end of the console of a machine that did not come up."""
    made = image.ensure()
    (directory / "disks").mkdir()
    (directory / "kernels.json").write_text(json.dumps(made.kernels))
    private, public = hosts.key_pair()
    hosts.write_key(directory / "ssh_key", private)
    pids, known = {}, []
    for host in lab.hosts:
        own_private, own_public = hosts.key_pair()
        entries = seed.of(lab, host, own_private, public)
        for fault in faults:
            if fault["at"] == host.name:
                entries |= faults_of.of(fault, made.kernels)
        pids[host.name] = _start(lab, directory, host, made, entries)
        known.append(f"{host.address},{host.address6},{host.name} {own_public}\n")
    (directory / "known_hosts").write_text("".join(known))
    for ready in (_answers, _has_started):
        for host in lab.hosts:
            _wait(host, pids[host.name], directory, ready)


def _start(lab: Topology, directory: Path, host: Host, made: Image, entries: dict[str, archive.Entry]) -> int:
    disk, seeded = directory / "disks" / f"{host.name}.qcow2", directory / "disks" / f"{host.name}.tar"
    seeded.write_bytes(archive.pack(entries))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(made.disk), "-F", "raw", str(disk)], check=True)
    _add_tap(lab, host)
    console = _console(directory, host)
    truth = directory / "truth" / f"{host.name}.jsonl"
    mac = f"52:54:00:00:{lab.slot:02x}:{host.index:02x}"
    line = machine.command(Machine(host.name, made.accelerator, disk, console, "qcow2", seeded, truth, network.peer_name(host), mac))
    ended = shutil.which("timeout")
    assert ended, "coreutils"
    argv = [ended, str(LIFETIME_S), *line]
    return namespaces.spawn(lab.netns(network.FABRIC), argv, preflight.usable_cpus(), directory / "log" / f"qemu-{host.name}.log")


def _console(directory: Path, host: Host) -> Path:
    return directory / "log" / f"console-{host.name}.log"


def _add_tap(lab: Topology, host: Host) -> None:
    """The fabric's end of the machine's link; it goes with the fabric."""
    name = network.peer_name(host)
    with namespaces.inside(lab.netns(network.FABRIC)), open("/dev/net/tun", "r+b", buffering=0) as device:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        fcntl.ioctl(device, TUNSETPERSIST, 1)
    with namespaces.links(lab.netns(network.FABRIC)) as fabric:
        fabric.link("set", index=network.index_of(fabric, name), master=network.index_of(fabric, host.subnet), state="up")


def _wait(host: Host, pid: int, directory: Path, ready: Callable[[Host, Path], bool]) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while not ready(host, directory):
        if hosts.ended(pid) or time.monotonic() > deadline:
            said = [directory / "log" / f"qemu-{host.name}.log", _console(directory, host)]
            text = "\n".join(path.read_text(errors="replace")[-2000:] for path in said if path.exists())
            raise RuntimeError(f"machine {host.name} did not come up within {UP_WITHIN_S} s: {text}")
        time.sleep(0.3)


def _answers(host: Host, directory: Path) -> bool:
    """By SSH."""
    try:
        with socket.create_connection((host.address, 22), timeout=3) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _has_started(host: Host, directory: Path) -> bool:
    """All its units: a machine that is still starting is late by itself."""
    return bool(STARTED.search(_console(directory, host).read_bytes()))
