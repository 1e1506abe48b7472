# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a remediation: append-only lines of JSON, each on the disk before what it announces is done.

docs/REMEDIATION.md has the events; journal_state.py says what they come to.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

EVENTS = frozenset(
    ("opened", "resumed", "stopped", "closed", "wave_begun", "wave_passed", "wave_failed", "step_begun", "step_done", "step_failed")
    + ("cordon_begun", "cordoned", "drained", "drain_failed", "undrain_begun", "undrained", "reboot_begun", "rebooted")
    + ("gate_passed", "gate_failed", "verified", "rolled_back", "rollback_failed")
)
_TEXT_LIMIT = 2000


class JournalError(Exception):
    """The journal can't be read or written; the message names it and the remedy."""


def read(path: Path) -> list[dict[str, Any]]:
    """Its lines, none if there is no journal yet. A half-written last line is what a kill leaves, and is dropped. Raises JournalError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"{path} can't be read: {error.strerror}.") from error
    return [_line(text, path, number) for number, text in enumerate(_whole(content).splitlines(), 1)]


def _whole(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _line(text: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text)
        if not isinstance(line, dict) or line["event"] not in EVENTS or not isinstance(line["data"], dict):
            raise ValueError("it is no event")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(
            f"{path}, line {number}, can't be read ({printable(error, 80)}): without it, what was done is not known. "
            "Put it right from a backup, or look at the hosts of the plan by hand and make a new plan."
        ) from error
    return line


def append(
    path: Path, event: str, by: str, *, host: str | None = None, data: Mapping[str, Any] | None = None, **place: Any
) -> dict[str, Any]:
    """Add a line, and return when it is on the disk. Raises JournalError.

    :param by: controller and process
    :param place: ``wave``, ``step`` (index) and ``remedy``, where it has them
    """
    if event not in EVENTS:
        raise JournalError(f"{printable(event)} is no event of a journal: there are {', '.join(sorted(EVENTS))}.")
    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    where = {key: place.get(key) for key in ("wave", "step", "remedy")}
    line = {"at": at, "by": by, "host": host, **where, "event": event, "data": _bounded(dict(data or {}))}
    try:
        _write(path, json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
    except OSError as error:
        raise JournalError(
            f"{path} can't be written ({error.strerror}): nothing is done that it does not know of. Make room, and run it again."
        ) from error
    return line


def _write(path: Path, line: bytes) -> None:
    """One line of one of several forks: under a lock, behind the last whole line, and on the disk."""
    is_new = not path.exists()
    with open(path, "a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        _drop_half_a_line(stream)
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())
    if is_new:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _drop_half_a_line(stream: BinaryIO) -> None:
    """What a kill or a full disk left behind the last whole line."""
    size = stream.seek(0, os.SEEK_END)
    if not size:
        return
    stream.seek(size - 1)
    if stream.read(1) != b"\n":
        stream.seek(0)
        stream.truncate(len(_whole(stream.read())))


def _bounded(value: Any) -> Any:
    """What hosts say may be long."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_LIMIT else value[:_TEXT_LIMIT] + "…"
    if isinstance(value, dict):
        return {str(key): _bounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bounded(item) for item in value]
    return value
