# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run directory: the one place a run leaves on the controller, and all that the later steps read.

<runs dir>/<run id>/manifest.json, findings.json, report.md, report.html
                    evidence/<slug>/plan.json     what the host was asked to do
                                    job.json      where its observer left the result; gone once that is here
                                    observe.json  what it measured
                                    status.json   or why it measured nothing
                    capture/                      the second window, laid out like a run, and for each captured host
                      evidence/<slug>/            capture_plan.json, capture_job.json, capture.json, capture_status.json
                    verification.json             of a run that verifies another (manifest.run.verifies): did it help
<runs dir>/latest -> <run id>
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import OBSERVE, Job
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

LATEST = "latest"
CAPTURE = "capture"
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_SLUG_LIMIT = 160


class RunDirError(Exception):
    """The run directory can't be used; the message names it and the remedy."""


def slug(name: str) -> str:
    """A directory name for a host name, whatever that holds: one per name, never a path, never hidden."""
    encoded = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass"))
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if not encoded:
        return "%"
    if len(encoded) > _SLUG_LIMIT:
        # "%%" can't come from the encoding, so no short name can take this form.
        return f"{encoded[: _SLUG_LIMIT // 2]}%%{hashlib.sha256(encoded.encode()).hexdigest()}"
    return encoded


def new_id(now: float) -> str:
    """An id that sorts by time; the four digits keep two runs of one second apart."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(2)}"


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all: a reader never sees half a file. Raises OSError."""
    write_text(path, json.dumps(content, separators=(",", ":"), ensure_ascii=True) + "\n")


def write_text(path: Path, content: str) -> None:
    """Whole or not at all. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The content of a file of the run directory, None if there is none. Raises RunDirError if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirError(f"{path} can't be read: {printable(error)}. Remove it, or take another run with -e stall_run=<id>.") from error


class RunDir:
    """One run on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def is_capture(self) -> bool:
        return self.path.name == CAPTURE

    @property
    def of(self) -> RunDir:
        """The run that a capture belongs to; of a run, itself."""
        return RunDir(self.path.parent) if self.is_capture else self

    @property
    def capture(self) -> RunDir:
        """The capture of this run, which may not be there."""
        return RunDir(self.path / CAPTURE)

    @property
    def id(self) -> str:
        return f"{self.of.path.name}.{CAPTURE}" if self.is_capture else self.path.name

    @property
    def is_planned(self) -> bool:
        return (self.path / "manifest.json").is_file()

    @classmethod
    def create(cls, base: str | Path, now: float) -> RunDir:
        """A new run under `base`. Raises RunDirError."""
        base = Path(base).absolute()
        run = cls(base / new_id(now))
        try:
            (run.path / "evidence").mkdir(parents=True)
        except OSError as error:
            raise _cannot_write(base, error) from error
        return run

    @classmethod
    def find(cls, base: str | Path, run: str) -> RunDir:
        """An existing run by its id or `latest`. Raises RunDirError naming those there are."""
        base = Path(base).absolute()
        name = run
        if run == LATEST:
            try:
                name = os.readlink(base / LATEST)
            except OSError:
                name = ""
        found = cls(base / name)
        if not _RUN_ID.fullmatch(name) or not (found.path / "manifest.json").is_file():
            raise RunDirError(f"stall_run is '{printable(run)}': there is no such run in {base}. {_known_runs(base)}")
        return found

    def create_capture(self) -> RunDir:
        """An empty capture of this run; one whose planning was broken off is removed. Raises RunDirError."""
        capture = self.capture
        try:
            if capture.path.exists():
                shutil.rmtree(capture.path)
            (capture.path / "evidence").mkdir(parents=True)
        except OSError as error:
            raise _cannot_write(capture.path, error) from error
        return capture

    def reserve(self, size: int) -> None:
        """Take the space that the evidence will need, so that a full disk shows before a probe is sent. Raises RunDirError."""
        try:
            with open(self._reserve, "wb") as stream:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(stream.fileno(), 0, max(size, 1))
        except OSError as error:
            self.release()
            raise _cannot_write(self.path, error, size) from error

    def release(self) -> None:
        """Give the reserved space back, for the evidence."""
        self._reserve.unlink(missing_ok=True)

    @property
    def _reserve(self) -> Path:
        return self.path / ".reserve"

    def discard(self) -> None:
        """Remove a run that could not be planned."""
        self.release()
        for path in sorted(self.path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.path.rmdir()

    def manifest(self) -> dict[str, Any]:
        """Raises RunDirError if there is none."""
        manifest = read_json(self.path / "manifest.json")
        if not isinstance(manifest, dict) or "hosts" not in manifest or "run" not in manifest:
            raise RunDirError(f"{self.path / 'manifest.json'} is not the manifest of a run. Take another run with -e stall_run=<id>.")
        return manifest

    def write_plan(self, manifest: Mapping[str, Any], plans: Mapping[Job, Mapping[str, Mapping[str, Any]]]) -> None:
        """Each host's share by job, then the manifest, which makes it a run; one that is no capture is the latest. Raises RunDirError."""
        try:
            for job, shares in plans.items():
                for host, plan in shares.items():
                    self.write_host(host, job.plan, plan)
            write_json(self.path / "manifest.json", manifest)
            if self.is_capture:
                return
            link = self.path.parent / f".{self.id}"
            link.symlink_to(self.id)
            os.replace(link, self.path.parent / LATEST)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write(self, name: str, text: str) -> Path:
        """A file of the run: findings.json, report.md, ... Raises RunDirError."""
        try:
            write_text(self.path / name, text)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        return self.path / name

    def host_dir(self, host: str) -> Path:
        return self.path / "evidence" / slug(host)

    def read(self, host: str, name: str) -> Any:
        """A file of a host by its name without .json, such as plan or observe; None if there is none. Raises RunDirError."""
        return read_json(self.host_dir(host) / f"{name}.json")

    def write_host(self, host: str, name: str, content: Any) -> None:
        """Raises OSError."""
        self.host_dir(host).mkdir(exist_ok=True)
        write_json(self.host_dir(host) / f"{name}.json", content)

    def remove_host_file(self, host: str, name: str) -> None:
        (self.host_dir(host) / f"{name}.json").unlink(missing_ok=True)

    def unheard(self, hosts: Iterable[str], job: Job = OBSERVE) -> list[str]:
        """Hosts of which there is nothing but the plan: their task did not come to run."""
        return [host for host in hosts if self._has(host, job.plan) and not any(self._has(host, name) for name in _outcomes(job))]

    def started(self, hosts: Iterable[str], job: Job = OBSERVE) -> list[str]:
        """Hosts whose observer or capture was started and whose result is not here."""
        return [host for host in hosts if self._has(host, job.job)]

    def _has(self, host: str, name: str) -> bool:
        return (self.host_dir(host) / f"{name}.json").exists()

    def evidence(self, hosts: Iterable[str], job: Job = OBSERVE) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """What each host brought (its result, else the reason there is none), and a sentence for each file that is damaged."""
        found, damaged = {}, []
        for host in hosts:
            try:
                content = self.read(host, job.result) or self.read(host, job.status)
            except RunDirError as error:
                content = {"status": "not_measured", "stage": "analyse", "reason": str(error), "remedy": "gather it again"}
                damaged.append(str(error))
            if isinstance(content, dict):
                found[host] = content
        return found, damaged


def _outcomes(job: Job) -> tuple[str, ...]:
    return job.job, job.result, job.status


def runs(base: str | Path) -> list[RunDir]:
    """All runs under `base`, oldest first. Raises OSError."""
    found = (RunDir(entry) for entry in Path(base).iterdir() if _RUN_ID.fullmatch(entry.name))
    return sorted((run for run in found if run.is_planned), key=lambda run: run.id)


def verified(base: str | Path, run: str) -> RunDir:
    """An existing run; where the latest verifies another, that one. Raises RunDirError."""
    found = RunDir.find(base, run)
    first = found.manifest()["run"].get("verifies") if run == LATEST else None
    return RunDir.find(base, first) if first else found


def _known_runs(base: Path) -> str:
    try:
        runs = sorted((entry.name for entry in base.iterdir() if _RUN_ID.fullmatch(entry.name)), reverse=True)
    except OSError:
        return "Set stall_runs_dir to the directory that holds the runs."
    return f"There are: {and_more(runs, 5)}." if runs else "It holds no run; diagnose.yml makes one."


def _cannot_write(path: Path, error: OSError, size: int = 0) -> RunDirError:
    need = f" ({size // 1000} kB are needed)" if size else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunDirError(f"the disk that holds {path} is full{need}: free some space, or set stall_runs_dir to another directory.")
    return RunDirError(
        f"the run directory {path} can't be written: {error.strerror or error}{need}. Set stall_runs_dir to a directory you can write to."
    )
