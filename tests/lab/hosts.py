"""Hosts: each an sshd of its own in the host's namespaces, with its own host key and nothing else to log in with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import namespaces
from .topology import Host, Topology

SSH_PORT_HEX = "0016"
TCP_LISTEN = "0A"
SSHD_CONFIG = """\
Port 22
AddressFamily any
HostKey /run/ssh_host_key
AuthorizedKeysFile /run/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 500
MaxSessions 100
Subsystem sftp internal-sftp
"""


def key_pair() -> tuple[str, str]:
    """A new ed25519 key: private key in OpenSSH's format, public key as one line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


def write_key(path: Path, private: str) -> None:
    path.touch(mode=0o600)
    path.write_text(private)


def start_sshd(lab: Topology, host: Host, authorized: str, cpus: Sequence[int], log: Path, keep: Sequence[Path]) -> tuple[int, str]:
    """Start the host's sshd; returns its pid and the host's public key. `keep`: see namespaces.become_host."""
    private, public = key_pair()

    def prepare() -> None:
        namespaces.become_host(host.name, keep)
        run = Path("/run")
        (run / "sshd").mkdir(mode=0o755)
        (run / "sshd_config").write_text(SSHD_CONFIG)
        (run / "authorized_keys").write_text(authorized + "\n")
        write_key(run / "ssh_host_key", private)

    sshd = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
    assert sshd, "preflight makes sure of sshd"
    argv = [sshd, "-D", "-e", "-f", "/run/sshd_config"]
    return namespaces.spawn(lab.netns(host.name), argv, cpus, log, prepare), public


def listens(pid: int) -> bool:
    """Whether the process's network namespace has a listener on port 22 already."""
    try:
        rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    return any(row.split()[1].endswith(":" + SSH_PORT_HEX) and row.split()[3] == TCP_LISTEN for row in rows)


def ended(pid: int) -> bool:
    """Whether a child of ours has ended; it stays to be collected by whoever takes the lab down."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def interpreter_homes(interpreters: Sequence[str]) -> list[Path]:
    """Directories to keep visible so that an interpreter under /root, /run or /tmp still starts on a host."""
    homes = set()
    for interpreter in interpreters:
        path = Path(interpreter)
        if path.exists():
            homes |= {path.parent.parent, path.resolve().parent.parent}
    return sorted(home for home in homes if len(home.parts) > 2 and home.parts[1] in {"root", "run", "tmp"})
