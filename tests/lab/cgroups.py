"""CPU control groups, version 1 or 2, whichever the machine mounts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def cpu_root() -> Path:
    """Directory of the CPU controller; raises RuntimeError when there is none to use."""
    for place in (ROOT / "cpu", ROOT / "cpu,cpuacct"):
        if (place / "cpu.cfs_quota_us").exists() or (place / "cpu.shares").exists():
            return place
    if "cpu" in _read(ROOT / "cgroup.subtree_control").split():
        return ROOT
    raise RuntimeError(f"no CPU controller under {ROOT}: mount cgroup v1 'cpu' or enable 'cpu' in {ROOT}/cgroup.subtree_control")


def create(name: str, quota_us: int, period_us: int) -> Path:
    """A group that may use `quota_us` of CPU per `period_us`."""
    group = cpu_root() / name
    group.mkdir()
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota_us} {period_us}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(period_us))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
    return group


def throttled(group: Path) -> int:
    """How often it has run out of its quota so far."""
    lines = (line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return next(int(value) for name, value in lines if name == "nr_throttled")


def names(prefix: str) -> list[str]:
    try:
        return sorted(path.name for path in cpu_root().iterdir() if path.is_dir() and path.name.startswith(prefix))
    except RuntimeError:
        return []


def remove(name: str, patience_s: float = 5.0) -> None:
    """Remove the group; its processes are dead by now, but the kernel takes a moment to see them off."""
    deadline = time.monotonic() + patience_s
    for found in names(name):
        if found != name:
            continue
        group = cpu_root() / found
        while group.exists():
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{group} is still in use by {_read(group / 'cgroup.procs').split()}")
            time.sleep(0.02)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
