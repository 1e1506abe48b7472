"""The lab as an Ansible inventory: pure data from the topology."""

from __future__ import annotations

from pathlib import Path

from . import overlay, services, topology
from .topology import Topology

RATES = {
    "stall_window_s": 20,
    "stall_interval_ms": 10,
    "stall_tcp_interval_ms": 50,
    "stall_service_interval_ms": 50,
    "stall_http_new_interval_ms": 200,
    "stall_source_ports": 1,
}
# Machines in software emulation are late by themselves, and a packet costs them what ten do here: few probes, and clear stalls alone
VM_RATES = {
    "stall_window_s": 30,
    "stall_lead_s": 45,
    "stall_threshold_ms": 100,
    "stall_interval_ms": 50,
    "stall_tcp_interval_ms": 100,
    "stall_service_interval_ms": 200,
    "stall_http_new_interval_ms": 500,
    "stall_source_ports": 1,
}
# The hosts of the fleet start on one of this machine's CPUs, the other being kept for the faults
LEAD_S = 8
CAUSES = Path(__file__).parent / "vm" / "causes"
DEFAULT_INTERPRETER = "/usr/bin/python3"


def build(lab: Topology, directory: Path, interpreters: dict[str, str], extra: dict) -> dict:
    """The inventory in Ansible's YAML shape. `interpreters`: host -> path; `extra`: variables that the scenario adds."""
    children: dict[str, dict] = {}
    for host in lab.hosts:
        for group in host.groups:
            children.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    hosts = {host.name: host_variables(lab, host.name, interpreters) for host in lab.hosts}
    return {"all": {"hosts": hosts, "children": children, "vars": {**common_variables(lab, directory), **extra}}}


def host_variables(lab: Topology, name: str, interpreters: dict[str, str]) -> dict:
    host = lab.host(name)
    variables = {
        "ansible_host": host.address,
        "ansible_python_interpreter": interpreters.get(name, DEFAULT_INTERPRETER),
        "stall_address6": host.address6,
    }
    if host.overlay_address:
        variables["stall_overlay_address"] = host.overlay_address
    return variables


def common_variables(lab: Topology, directory: Path) -> dict:
    options = {
        "UserKnownHostsFile": directory / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    variables = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(directory / "ssh_key"),
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
        "stall_domains": {"datacenter": "dc_*", "rack": "rack_*"},
        **(VM_RATES if lab.virtual else RATES),
    }
    if lab.nodes:
        variables |= {"stall_node_group": "kube_nodes", "stall_services": pod_services(lab)}
    if lab.virtual:
        variables["stall_cause_dirs"] = [str(CAUSES)]
    elif lab.nodes:
        variables |= {"stall_lead_s": LEAD_S, "stall_outside_group": topology.OUTSIDE}
    return variables


def pod_services(lab: Topology) -> list[dict]:
    address = overlay.pod_address(lab.host(lab.pod_node))
    http, line = (
        {"node_port": node_port, "backend": lab.pod_node, "endpoints": [f"{address}:{port}"]}
        for node_port, port in services.NODE_PORTS.items()
    )
    return [
        {"name": "web", "protocol": "http", "path": "/", **http},
        {"name": "line", "protocol": "tcp", "request": "ping\n", **line},
    ]


def listing(inventory: dict) -> dict:
    """The same in the shape that a dynamic inventory script prints for --list."""
    everything = inventory["all"]
    groups = {group: {"hosts": sorted(content["hosts"])} for group, content in everything["children"].items()}
    return {
        "_meta": {"hostvars": everything["hosts"]},
        "all": {"hosts": sorted(everything["hosts"]), "vars": everything["vars"]},
        **groups,
    }
