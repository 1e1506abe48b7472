"""The image that all machines start from: Debian 12 with two kernels to choose from, built once and kept in `.cache/vm/`.

mmdebstrap makes the tree (`image/build.sh` runs in it), mke2fs the disk, and one boot of it installs GRUB. What is kept goes by the
recipe: change a file that went into it, and the next lab builds anew. FLEET_STALL_APT_SOURCES=file takes a sources.list (with main,
updates and security of Debian 12) instead of Debian's own servers.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import archive, machine
from .machine import Machine

HERE = Path(__file__).parent
CACHE = Path(".cache/vm")
SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv", "udev", "libpam-systemd", "dbus", "kmod", "procps", "e2fsprogs", "grub-pc", "tiny-initramfs",
    "openssh-server", "sudo", "python3", "python3-apt", "iproute2", "iptables", "iputils-ping", "ethtool",
    "linux-perf", "strace", "bpftrace", "tcpdump",
)  # fmt: skip
TOOLS = (machine.QEMU, "qemu-img", "mmdebstrap", "mke2fs", "sfdisk")
DISK_MB = 3072
FIRST_SECTOR = 2048
# What GRUB 2.06 can read, whatever the defaults of this machine's mke2fs are
FEATURES = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize"
BUILD_WITHIN_S = 1800
FINISHED_WITHIN_S = {"kvm": 60, "tcg": 600}
FINISHED = b"lab-finish: done"


@dataclass(frozen=True)
class Image:
    """`disk`: raw, never written to again. `kernels`: {package, old, new}. `accelerator`: what booted it."""

    disk: Path
    accelerator: str
    kernels: dict[str, str]


def problems() -> list[str]:
    """Why there can't be machines here; empty when there can."""
    found = []
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        found.append(f"missing {', '.join(missing)}: `{sys.executable} tests/bootstrap/packages.py vm` installs them")
    if platform.machine() != "x86_64":
        found.append(f"the machines' image is x86_64, and this machine ({platform.machine()}) can't build it")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        found.append("no /dev/net/tun to give machines a network with: `modprobe tun`, or hand the device to this container")
    return found


def ensure() -> Image:
    """The image, built if there is none of this recipe. Raises RuntimeError with the end of what the failing step said."""
    if found := problems():
        raise RuntimeError("; ".join(found))
    with _alone():
        directory = CACHE.absolute() / recipe()
        if not (directory / "image.json").exists():
            print("lab: building the machines' image, which takes some minutes, once", file=sys.stderr)
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            _build(directory)
    known = json.loads((directory / "image.json").read_text())
    return Image(directory / "disk.raw", _by_hand() or known["accelerator"], known["kernels"])


def _by_hand() -> str:
    """The accelerator that the user wants, empty for one that works."""
    wanted = os.environ.get("FLEET_STALL_ACCEL", "")
    if wanted and wanted not in machine.ACCELERATORS:
        raise ValueError(f"FLEET_STALL_ACCEL={wanted}: there are {', '.join(machine.ACCELERATORS)}")
    return wanted


def recipe() -> str:
    """A name for all that goes into the image."""
    digest = hashlib.sha256(repr((SUITE, PACKAGES, DISK_MB, FEATURES)).encode())
    for part in ("image", "injector"):
        for name, entry in archive.of_directory(HERE / part).items():
            digest.update(f"{part}/{name} {entry.mode}\0".encode() + entry.content)
    return digest.hexdigest()[:16]


@contextmanager
def _alone():
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(directory: Path) -> None:
    tree, draft = directory / "tree", directory / "draft.raw"
    _make_tree(directory, tree)
    kernels = json.loads((tree / "etc/lab-kernels.json").read_text())
    _make_disk(tree, draft)
    accelerator = _finish(directory, tree, draft, kernels["old"])
    shutil.rmtree(tree)
    draft.rename(directory / "disk.raw")
    (directory / "image.json").write_text(json.dumps({"accelerator": accelerator, "kernels": kernels}, indent=1))


def _make_tree(directory: Path, tree: Path) -> None:
    added = archive.of_directory(HERE / "image/files")
    added |= {f"usr/local/src/injector/{name}": entry for name, entry in archive.of_directory(HERE / "injector").items()}
    added["usr/local/src/build.sh"] = archive.Entry((HERE / "image/build.sh").read_bytes(), 0o755)
    (directory / "added.tar").write_bytes(archive.pack(added))
    sources = os.environ.get("FLEET_STALL_APT_SOURCES")
    _run(
        directory,
        [
            "mmdebstrap", "--mode=root", "--variant=minbase", "--skip=cleanup/apt", "--architectures=amd64",
            f"--include={','.join(PACKAGES)}",
            f"--customize-hook=tar-in {directory / 'added.tar'} /", '--customize-hook=chroot "$1" /usr/local/src/build.sh',
            '--customize-hook=rm "$1/usr/local/src/build.sh"', SUITE, str(tree), *([sources] if sources else []),
        ],
    )  # fmt: skip


def _make_disk(tree: Path, disk: Path) -> None:
    with disk.open("wb") as handle:
        handle.truncate(DISK_MB * 2**20)
    _run(disk.parent, ["sfdisk", "--quiet", str(disk)], f"label: dos\nstart={FIRST_SECTOR}, type=83, bootable\n")
    place = ["-E", f"offset={FIRST_SECTOR * 512}", str(disk), f"{DISK_MB - 1}M"]
    _run(disk.parent, ["mke2fs", "-q", "-F", "-t", "ext4", "-O", FEATURES, "-m", "0", "-d", str(tree), *place])


def _finish(directory: Path, tree: Path, draft: Path, release: str) -> str:
    """Boot the disk once, which installs GRUB on it, and tell whether KVM can: there may be a /dev/kvm that boots nothing."""
    boot = [
        "-kernel", str(tree / f"boot/vmlinuz-{release}"), "-initrd", str(tree / f"boot/initrd.img-{release}"), "-no-reboot",
        "-append", "root=/dev/vda1 rw console=ttyS0 no_timer_check panic=-1 init=/usr/local/sbin/lab-finish",
    ]  # fmt: skip
    for accelerator in [_by_hand()] if _by_hand() else ["kvm", "tcg"]:
        console = directory / f"finish-{accelerator}.log"
        console.touch()
        with (directory / "build.log").open("a") as log:
            try:
                line = machine.command(Machine("image", accelerator, draft, console, disk_format="raw"), boot)
                subprocess.run(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=FINISHED_WITHIN_S[accelerator], check=False)
            except subprocess.TimeoutExpired:
                pass
        if FINISHED in console.read_bytes():
            return accelerator
    raise RuntimeError(f"the image did not boot far enough to install GRUB within {FINISHED_WITHIN_S[accelerator]} s: see {console}")


def _run(directory: Path, argv: list[str], stdin: str = "") -> None:
    log = directory / "build.log"
    with log.open("a") as out:
        done = subprocess.run(argv, input=stdin, stdout=out, stderr=out, text=True, timeout=BUILD_WITHIN_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} failed (exit code {done.returncode}), see {log}:\n{log.read_text()[-2000:]}")
