"""One machine as a QEMU command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-system-x86_64"
MEMORY_MB = 768
# Software emulation runs each virtual CPU on a thread of its own; more than one each only wait for each other on few real ones
CPUS = 1
# The newer a CPU is emulated, the more it costs
ACCELERATORS = {"kvm": ["-accel", "kvm", "-cpu", "host"], "tcg": ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "qemu64,svm=off"]}


@dataclass(frozen=True)
class Machine:
    """`disk`: of format `disk_format`; `seed`: archive with what makes it its own; `console`, `truth`: files to write to."""

    name: str
    accelerator: str
    disk: Path
    console: Path
    disk_format: str = "qcow2"
    seed: Path | None = None
    truth: Path | None = None
    tap: str = ""
    mac: str = ""


def command(machine: Machine, extra: Sequence[str] = ()) -> list[str]:
    """The arguments of QEMU, its own name first."""
    line = [
        QEMU, "-name", machine.name, *ACCELERATORS[machine.accelerator], "-m", str(MEMORY_MB), "-smp", str(CPUS),
        "-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-rtc", "base=utc,clock=host",
        "-serial", f"file:{machine.console}", "-device", "virtio-rng-pci",
        "-drive", f"if=virtio,format={machine.disk_format},cache=unsafe,file={machine.disk}",
    ]  # fmt: skip
    if machine.seed:
        line += ["-drive", f"if=virtio,format=raw,readonly=on,file={machine.seed}"]
    if machine.tap:
        line += ["-netdev", f"tap,id=net0,ifname={machine.tap},script=no,downscript=no"]
        line += ["-device", f"virtio-net-pci,netdev=net0,mac={machine.mac},romfile="]
    if machine.truth:
        line += ["-device", "virtio-serial-pci", "-chardev", f"file,id=truth,append=on,path={machine.truth}"]
        line += ["-device", "virtserialport,chardev=truth,name=truth"]
    return [*line, *extra]
