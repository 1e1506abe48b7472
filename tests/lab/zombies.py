"""Dying memory cgroups for real: removed, and held by what they have left in the page cache."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PAGE = bytes(4096)


def memory_root() -> Path:
    """Directory of the memory controller; raises RuntimeError when there is none to use."""
    if (ROOT / "memory" / "memory.stat").exists():
        return ROOT / "memory"
    try:
        if "memory" in (ROOT / "cgroup.subtree_control").read_text().split():
            return ROOT
    except OSError:
        pass
    raise RuntimeError(f"no memory controller under {ROOT}: mount cgroup v1 'memory' or enable 'memory' in {ROOT}/cgroup.subtree_control")


class Maker:
    """Makes them below a group of its own, each held by a page of a file; they die for good when the files go."""

    def __init__(self, name: str, files: Path) -> None:
        self._group, self._files, self._made = memory_root() / name, files, 0
        self._group.mkdir()
        if (self._group / "cgroup.subtree_control").exists():
            (self._group / "cgroup.subtree_control").write_text("+memory")

    def make(self, count: int) -> None:
        for _ in range(count):
            self._made += 1
            group = self._group / f"z{self._made}"
            group.mkdir()
            child = os.fork()
            if child == 0:
                self._leave_a_page(group)
            os.waitpid(child, 0)
            group.rmdir()

    def _leave_a_page(self, group: Path) -> None:
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            (self._files / f"z{self._made}").write_bytes(PAGE)
        finally:
            os._exit(0)

    def close(self) -> None:
        for number in range(1, self._made + 1):
            (self._files / f"z{number}").unlink(missing_ok=True)
        self._group.rmdir()
