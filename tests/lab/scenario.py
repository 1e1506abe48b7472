"""Scenario files: which host gets which fault, and what the findings must be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from .topology import Topology

DIRECTORY = Path(__file__).parent / "scenarios"
FAULTS = ("bastion", "busy", "down", "hold", "loss", "rt_hog", "rx_stall", "silent_sshd", "throttle")
VM_FAULTS = ("bad_gate", "stall_injector", "zombies")


@dataclass(frozen=True)
class Scenario:
    """`faults`: each {kind, at, parameters..}; `expect`: see `expected`; `variables`: added to the inventory; `virtual`: its hosts are
    machines of their own (`vm/`), whose faults are kinds of `vm.faults`."""

    name: str
    description: str
    faults: list[dict]
    expect: dict
    variables: dict
    virtual: bool = False


def names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.yml"))


def load(name: str) -> Scenario:
    """Raises ValueError that names the scenario and what there is instead, or what is wrong in the file."""
    if name not in names():
        raise ValueError(f"no scenario {name!r}; there are {', '.join(names())}")
    content = yaml.safe_load((DIRECTORY / f"{name}.yml").read_text())
    virtual = content.get("virtual", False)
    kinds = VM_FAULTS if virtual else FAULTS
    unknown = [fault["kind"] for fault in content["faults"] if fault["kind"] not in kinds]
    if unknown:
        raise ValueError(f"scenario {name}: no fault of kind {', '.join(unknown)}; there are {', '.join(kinds)}")
    return Scenario(name, content["description"], content["faults"], content["expect"], content.get("variables", {}), virtual)


def expected(scenario: Scenario, lab: Topology) -> dict:
    """What the findings must be, with a row for every host.

    {scenario, hosts: {name: {status: [any of these], side, layer, rank, truth, culprits}}, coincident: [{component: "path:rack_a2"}]}; a
    key that is absent is not checked. truth: whose truth file it is, if not the host's. culprits: [{comm, class, syscall, path,
    on_stall_cpu}], whom a capture must name, and nobody else; absent, nobody. syscall and path are patterns.
    """
    rows = {host.name: {"status": scenario.expect.get("others", ["clear"])} for host in lab.hosts}
    for name, row in scenario.expect.get("hosts", {}).items():
        rows[lab.host(name).name] = row
    return {"scenario": scenario.name, "hosts": rows, "coincident": scenario.expect.get("coincident", [])}
