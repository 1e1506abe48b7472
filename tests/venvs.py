"""The virtual environments of the project, one per set of pinned requirements, and the interpreters they are made from.

`python tests/venvs.py ensure NAME ...` makes or refreshes these environments; `--optional` turns a missing interpreter into a note.
`python tests/venvs.py interpreter 3.6` prints the path of that Python, if there is one.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
Version = tuple[int, int]


class Unavailable(Exception):
    """The environment can't be had on this machine; the message says why."""


class Environment(NamedTuple):
    directory: str
    requirements: tuple[str, ...]
    oldest: Version = (3, 10)
    newest: Version = (3, 14)


ENVIRONMENTS = {
    "run": Environment(".venv", ("requirements.txt",)),
    "dev": Environment(".venv", ("requirements.txt", "requirements-dev.txt")),
    "2.16": Environment(".venv-2.16", ("tests/requirements-2.16.txt",), newest=(3, 12)),
    "new": Environment(".venv-new", ("tests/requirements-new.txt",), oldest=(3, 12)),
}


def interpreter(oldest: Version, newest: Version | None = None) -> Path | None:
    """The newest working Python from `oldest` to `newest` (by default `oldest` alone): on PATH, else pyenv's."""
    for minor in range((newest or oldest)[1], oldest[1] - 1, -1):
        name = f"python{oldest[0]}.{minor}"
        for candidate in _candidates(name):
            if _works(candidate, (oldest[0], minor)):
                return candidate
    return None


def ensure(name: str) -> Path:
    """The directory of the environment `name`, made or brought up to date if need be. Raises Unavailable."""
    environment = ENVIRONMENTS[name]
    directory = ROOT / environment.directory
    with _alone():
        python = _base(environment)
        wanted = _fingerprint(environment, directory, python)
        stamp = directory / f".stamp-{name}"
        if not _is_current(directory, stamp, wanted):
            _install(environment, directory, python)
            stamp.write_text(wanted)
    return directory


def _base(environment: Environment) -> Path:
    if environment.oldest <= sys.version_info[:2] <= environment.newest:
        return Path(sys.executable).resolve()
    found = interpreter(environment.oldest, environment.newest)
    if found is None:
        oldest, newest = (".".join(map(str, version)) for version in (environment.oldest, environment.newest))
        raise Unavailable(f"{environment.directory} needs Python {oldest} to {newest}, and there is none on PATH or in pyenv")
    return found


def _fingerprint(environment: Environment, directory: Path, python: Path) -> str:
    digest = hashlib.sha256(f"{directory}\n{python}\n".encode())
    for requirements in environment.requirements:
        digest.update((ROOT / requirements).read_bytes())
    return digest.hexdigest()


def _is_current(directory: Path, stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted and os.access(directory / "bin" / "python", os.X_OK)


def _install(environment: Environment, directory: Path, python: Path) -> None:
    print(f"fleet.stall: installing {', '.join(environment.requirements)} into {environment.directory}", file=sys.stderr, flush=True)
    if not os.access(directory / "bin" / "pip", os.X_OK) or (directory / "bin" / "python").resolve() != python:
        subprocess.run([python, "-m", "venv", "--clear", directory], check=True)
    pip = [directory / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    arguments = [word for requirements in environment.requirements for word in ("-r", ROOT / requirements)]
    subprocess.run([*pip, *arguments], check=True)


def _candidates(name: str) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(versions.glob(f"*/bin/{name}"), reverse=True)


def _works(candidate: Path, version: Version) -> bool:
    check = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != {version!r})"
    try:
        return subprocess.run([candidate, "-c", check], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def _alone() -> Iterator[None]:
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "venvs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("ensure")
    make.add_argument("names", nargs="+", choices=ENVIRONMENTS)
    make.add_argument("--optional", action="store_true")
    find = commands.add_parser("interpreter")
    find.add_argument("version", type=lambda text: tuple(map(int, text.split("."))))
    options = parser.parse_args(argv)
    if options.command == "interpreter":
        found = interpreter(options.version)
        print(found or "")
        return 0 if found else 1
    return max(_ensure_or_say(name, options.optional) for name in options.names)


def _ensure_or_say(name: str, optional: bool) -> int:
    try:
        ensure(name)
    except Unavailable as reason:
        print(f"fleet.stall: {'skipped: ' if optional else ''}{reason}", file=sys.stderr)
        return 0 if optional else 1
    except subprocess.CalledProcessError as failure:
        print(f"fleet.stall: {' '.join(map(str, failure.cmd))} failed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
