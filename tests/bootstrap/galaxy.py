"""Fetches the collections that tests need and users install from Galaxy: `python tests/bootstrap/galaxy.py` makes .cache/collections.

They come out of the wheel of the package ansible, which holds them all; what the tests don't need of it is not kept.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible==12.3.0"
COLLECTIONS = ("kubernetes/core",)
PLACE = ROOT / ".cache" / "collections"


def ensure() -> Path:
    """The directory for ANSIBLE_COLLECTIONS_PATH, made or brought up to date if need be. Raises CalledProcessError."""
    stamp, wanted = PLACE / ".stamp", f"{PACKAGE} {COLLECTIONS}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return PLACE
    print(f"fleet.stall: fetching {', '.join(COLLECTIONS)} out of {PACKAGE}", file=sys.stderr, flush=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as directory:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--no-cache-dir"]
        # A wheel of Python alone, for whichever Python the tests run on
        subprocess.run([*pip, "--only-binary=:all:", "--python-version=3.12", "--dest", directory, PACKAGE], check=True)
        [wheel] = Path(directory).glob("*.whl")
        _extract(wheel)
    stamp.write_text(wanted)
    return PLACE


def _extract(wheel: Path) -> None:
    wanted = tuple(f"ansible_collections/{name}/" for name in COLLECTIONS)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(PLACE, [name for name in archive.namelist() if name.startswith(wanted)])


def main() -> int:
    try:
        ensure()
    except (subprocess.CalledProcessError, OSError) as failure:
        print(f"fleet.stall: the collections {', '.join(COLLECTIONS)} could not be fetched: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
