"""Installs the system tools that are missing, through Ansible's own package module: `python tests/bootstrap/packages.py lab [bench]`.

Looking for the tools themselves takes no time, so there is no record that could go stale.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PLAYBOOK = Path(__file__).with_name("packages.yml")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

# set -> tool -> package, where it is apt's and where it is dnf's
TOOLS = {
    "lab": {
        "bpftrace": {"apt-get": "bpftrace", "dnf": "bpftrace"},
        "ethtool": {"apt-get": "ethtool", "dnf": "ethtool"},
        "iptables-restore": {"apt-get": "iptables", "dnf": "iptables-nft"},
        "ssh": {"apt-get": "openssh-client", "dnf": "openssh-clients"},
        "sshd": {"apt-get": "openssh-server", "dnf": "openssh-server"},
        "perf": {"apt-get": "linux-perf", "dnf": "perf"},
        "strace": {"apt-get": "strace", "dnf": "strace"},
        "tcpdump": {"apt-get": "tcpdump", "dnf": "tcpdump"},
    },
    "drain": {
        "haproxy": {"apt-get": "haproxy", "dnf": "haproxy"},
    },
    "bench": {
        "ip": {"apt-get": "iproute2", "dnf": "iproute"},
        "clush": {"apt-get": "clustershell", "dnf": "clustershell"},
        "fping": {"apt-get": "fping", "dnf": "fping"},
        "hping3": {"apt-get": "hping3", "dnf": "hping3"},
    },
    "vm": {
        "mke2fs": {"apt-get": "e2fsprogs", "dnf": "e2fsprogs"},
        "mmdebstrap": {"apt-get": "mmdebstrap", "dnf": "mmdebstrap"},
        "qemu-img": {"apt-get": "qemu-utils", "dnf": "qemu-img"},
        "qemu-system-x86_64": {"apt-get": "qemu-system-x86", "dnf": "qemu-system-x86-core"},
        "sfdisk": {"apt-get": "fdisk", "dnf": "util-linux"},
    },
    "kubernetes": {
        "kubectl": {"apt-get": "kubernetes-client", "dnf": "kubernetes-client"},
    },
}


def missing(sets: list[str], path: str) -> list[str]:
    """The tools of these sets that are not on `path`, sorted."""
    wanted = {tool for name in sets for tool in TOOLS[name]}
    return sorted(tool for tool in wanted if shutil.which(tool, path=path) is None)


def packages(tools: list[str], manager: str) -> list[str]:
    """The packages that hold these tools for that package manager, sorted."""
    holding = {tool: names for tools_of_set in TOOLS.values() for tool, names in tools_of_set.items()}
    return sorted({holding[tool][manager] for tool in tools})


def main(sets: list[str]) -> int:
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    absent = missing(sets, path)
    if not absent:
        return 0
    manager = next((name for name in ("apt-get", "dnf") if shutil.which(name, path=path)), None)
    if manager is None:
        return _fail(f"these tools are missing, and there is neither apt-get nor dnf to install them: {', '.join(absent)}")
    names = packages(absent, manager)
    is_root = os.geteuid() == 0
    if not is_root and shutil.which("sudo") is None:
        return _fail(f"{', '.join(absent)} missing, and neither root nor sudo here; as root: {manager} install -y {' '.join(names)}")
    command = [Path(sys.executable).with_name("ansible-playbook"), PLAYBOOK, "-e", json.dumps({"system_packages": names})]
    if not is_root:
        command += ["--become", *([] if _sudo_is_silent() else ["--ask-become-pass"])]
    if subprocess.run(command).returncode != 0:
        return _fail(f"could not install {' '.join(names)} (on the Red Hat family some are in EPEL: dnf install -y epel-release)")
    still = missing(sets, path)
    return _fail(f"installed {' '.join(names)}, yet still missing: {', '.join(still)}") if still else 0


def _sudo_is_silent() -> bool:
    return subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0


def _fail(text: str) -> int:
    print(f"fleet.stall: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
