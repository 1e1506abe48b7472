"""Raise a lab and take it down."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import yaml

from . import hosts, inventory, namespaces, network, overlay, preflight, scenario, services, state, topology
from .faults import injector
from .raised import Raised
from .scenario import Scenario
from .state import Record
from .topology import Topology
from .vm import fleet as vm
from .vm import image

SSHD_WITHIN_S = 20
FRESH_ENOUGH_S = 300


def up(lab_id: str, asked: dict) -> tuple[Record, bool]:
    """Raise the lab that was asked for; returns its record and whether it had to be raised.

    `asked`: {scenario, hosts: int (0: the fleet), python: path, pythons: {host: path}}. A lab of that id that is up already
    is kept if it is the same and its faults will live a while longer, else it is taken down first.
    """
    wanted = scenario.load(asked["scenario"])
    if asked["hosts"] and (wanted.faults or wanted.virtual):
        raise ValueError(f"--hosts raises plain hosts, which scenario {wanted.name} does not fit: use --scenario clean")
    if wanted.virtual:
        image.ensure()
    with state.lab_lock(lab_id):
        return _up(lab_id, asked, wanted)


def _up(lab_id: str, asked: dict, wanted: Scenario) -> tuple[Record, bool]:
    record = state.find(lab_id)
    if record:
        if record.ready and record.asked == asked and record.expires_at > state.now() + FRESH_ENOUGH_S and _alive(record):
            state.make_current(Path(record.directory))
            return record, False
        _down(record)
    record = state.claim(lab_id, asked)
    try:
        _raise(record, wanted)
    except BaseException:
        _down(record)
        raise
    return record, True


def down(lab_id: str) -> None:
    """Take this checkout's lab of that id down; nothing happens if there is none."""
    with state.lab_lock(lab_id):
        if record := state.find(lab_id):
            _down(record)


def down_all() -> None:
    """Take down every lab of this machine, and what crashed ones left behind."""
    for record in state.records():
        with state.lab_lock(record.id):
            _down(record)
    for slot in state.orphans():
        state.sweep(slot, None)


def _down(record: Record) -> None:
    state.sweep(record.slot, Path(record.directory))


def _alive(record: Record) -> bool:
    prefix = topology.slot_prefix(record.slot)
    return len(namespaces.processes(f"{prefix}-")) >= record.processes


def _raise(record: Record, wanted: Scenario) -> None:
    directory = Path(record.directory)
    for part in ("truth", "log"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    lab = _topology(record, wanted)
    for name in record.asked["pythons"]:
        lab.host(name)
    network.raise_fabric(lab)
    if lab.virtual:
        vm.up(lab, directory, wanted.faults)
    else:
        _raise_namespaces(lab, directory, record, wanted)
    _describe(lab, directory, wanted, record.asked)
    record.processes = len(namespaces.processes(f"{topology.slot_prefix(lab.slot)}-"))
    record.expires_at = state.now() + (vm.LIFETIME_S if lab.virtual else injector.LIFETIME_S)
    record.ready = True
    record.write()
    state.make_current(directory)


def _topology(record: Record, wanted: Scenario) -> Topology:
    if wanted.virtual:
        return topology.machines(record.slot)
    return topology.flat(record.slot, record.asked["hosts"]) if record.asked["hosts"] else topology.fleet(record.slot)


def _raise_namespaces(lab: Topology, directory: Path, record: Record, wanted: Scenario) -> None:
    with namespaces.links(lab.netns(network.FABRIC)) as fabric:
        for host in lab.hosts:
            network.raise_host(lab, fabric, host)
    pids = _start_hosts(lab, directory, record.asked)
    _wait_for_sshd(directory, pids)
    if lab.nodes:
        pids["pod"] = _start_pod(lab, directory)
    raised = Raised(lab, directory, pids)
    for fault in wanted.faults:
        importlib.import_module(f".faults.{fault['kind']}", __package__).apply(raised, fault)
    raised.wait_for_injectors()


def _start_hosts(lab: Topology, directory: Path, asked: dict) -> dict[str, int]:
    private, public = hosts.key_pair()
    hosts.write_key(directory / "ssh_key", private)
    keep = hosts.interpreter_homes([asked["python"], *asked["pythons"].values()])
    # without faults there is no stall CPU to keep free
    cpus = preflight.host_cpus() if lab.nodes else preflight.usable_cpus()
    pids, known = {}, []
    for host in lab.hosts:
        log = directory / "log" / f"sshd-{host.name}.log"
        pids[host.name], host_key = hosts.start_sshd(lab, host, public, cpus, log, keep)
        known.append(f"{host.address},{host.address6},{host.name} {host_key}\n")
    (directory / "known_hosts").write_text("".join(known))
    return pids


def _start_pod(lab: Topology, directory: Path) -> int:
    node = lab.host(lab.pod_node)
    overlay.raise_overlay(lab)
    overlay.raise_pod(lab, node)
    overlay.expose(lab, node, services.NODE_PORTS)
    argv = [sys.executable, "-m", "tests.lab.services"]
    return namespaces.spawn(lab.netns(overlay.POD), argv, preflight.host_cpus()[:1], directory / "log" / "pod.log")


def _wait_for_sshd(directory: Path, pids: dict[str, int]) -> None:
    deadline = time.monotonic() + SSHD_WITHIN_S
    for name, pid in pids.items():
        while not hosts.listens(pid):
            if time.monotonic() > deadline or hosts.ended(pid):
                said = (directory / "log" / f"sshd-{name}.log").read_text()
                raise RuntimeError(f"sshd of {name} did not come up within {SSHD_WITHIN_S} s: {said}")
            time.sleep(0.02)


def _describe(lab: Topology, directory: Path, wanted: Scenario, asked: dict) -> None:
    """Write what a user and a test need to know: the inventory, and what the findings must be."""
    interpreters = {host.name: asked["python"] for host in lab.hosts if asked["python"]} | asked["pythons"]
    listed = inventory.build(lab, directory, interpreters, wanted.variables)
    (directory / "inventory.yml").write_text(yaml.safe_dump(listed, sort_keys=False))
    (directory / "inventory.json").write_text(json.dumps(inventory.listing(listed), indent=1))
    (directory / "expected.yml").write_text(yaml.safe_dump(scenario.expected(wanted, lab), sort_keys=False))
