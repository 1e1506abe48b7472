"""Which labs exist on this machine: one record a slot, written before anything of the lab is made.

The records lie in a directory common to all checkouts, because slots (addresses, names) are the machine's.
What belongs to a slot is found again by name, so a record and its prefix are all that `down` needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cgroups, namespaces, network, topology

REGISTRY = Path("/run/fleet-stall-lab")
LABS = Path(".lab")
CURRENT = LABS / "current"
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")


@dataclass
class Record:
    """One lab. `ready`: up came to its end. `expires_at`: epoch second at which the faults end themselves;
    `processes`: how many it had when it was."""

    id: str
    slot: int
    directory: str
    asked: dict
    ready: bool = False
    expires_at: float = 0.0
    processes: int = 0

    @property
    def path(self) -> Path:
        return REGISTRY / "slots" / f"{self.slot}.json"

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(self.path)


@contextlib.contextmanager
def lock(name: str = "machine") -> Iterator[None]:
    """Held while something of the whole machine (slots, kernel threads) or of one lab is looked at and changed."""
    path = REGISTRY / f"{name}.lock"
    while True:
        REGISTRY.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # the last lab of the machine may have gone down, and taken the directory with it, while we waited
            if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                yield
                return


def lab_lock(lab_id: str) -> contextlib.AbstractContextManager[None]:
    lab_directory(lab_id)  # an id with a path in it is refused here
    return lock(f"lab-{lab_id}")


def lab_directory(lab_id: str) -> Path:
    if not ID_PATTERN.fullmatch(lab_id) or lab_id == CURRENT.name:
        raise ValueError(f"--id {lab_id!r}: use letters, digits, '.', '_' and '-', at most 41, and not 'current'")
    return (LABS / lab_id).absolute()


def records() -> list[Record]:
    found = []
    for path in sorted((REGISTRY / "slots").glob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            found.append(Record(**json.loads(path.read_text())))
    return found


def find(lab_id: str) -> Record | None:
    """The record of this checkout's lab of that name."""
    directory = str(lab_directory(lab_id))
    return next((record for record in records() if record.directory == directory), None)


def claim(lab_id: str, asked: dict) -> Record:
    """Take a free slot for a new lab and write its record."""
    with lock():
        taken = {record.slot for record in records()} | network.routed_slots() | orphans()
        free = [slot for slot in range(topology.SLOTS) if slot not in taken]
        if not free:
            raise RuntimeError(f"all {topology.SLOTS} slots of {topology.NETWORK} are in use; `python -m tests.lab down --all` frees them")
        record = Record(lab_id, free[0], str(lab_directory(lab_id)), asked)
        record.write()
    return record


def orphans() -> set[int]:
    """Slots of which namespaces or control groups are left although no record is."""
    left = {re.match(r"fsl(\d+)\b", name) for name in [*namespaces.names("fsl"), *cgroups.names("fsl")]}
    return {int(match[1]) for match in left if match} - {record.slot for record in records()}


def sweep(slot: int, directory: Path | None) -> None:
    """Remove everything that belongs to the slot; works on any remainder of a lab, also on none."""
    prefix = topology.slot_prefix(slot)
    namespaces.remove(f"{prefix}-")
    network.remove_uplink(slot)
    cgroups.remove(prefix)
    for thread in (REGISTRY / "napi").glob(f"{slot}-*"):
        thread.unlink()
    if directory:
        shutil.rmtree(directory, ignore_errors=True)
        if CURRENT.is_symlink() and not CURRENT.exists():
            CURRENT.unlink()
        with contextlib.suppress(OSError):
            LABS.rmdir()
    (REGISTRY / "slots" / f"{slot}.json").unlink(missing_ok=True)
    _forget_registry()


def _forget_registry() -> None:
    """The registry goes with the last lab."""
    with lock():
        if not records():
            shutil.rmtree(REGISTRY)


def make_current(directory: Path) -> None:
    draft = LABS / f".current.{os.getpid()}"
    draft.symlink_to(directory.name)
    draft.replace(CURRENT)


def now() -> float:
    return time.time()
