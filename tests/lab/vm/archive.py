"""Files as they are put into a machine: a tar archive of root's files, made of pure data."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """`target`: the entry is a symbolic link to it."""

    content: bytes = b""
    mode: int = 0o644
    target: str = ""


def text(content: str, mode: int = 0o644) -> Entry:
    return Entry(content.encode(), mode)


def program(content: str) -> Entry:
    return text(content, 0o755)


def link(target: str) -> Entry:
    return Entry(target=target)


def of_directory(directory: Path) -> dict[str, Entry]:
    """The files under a directory of the checkout; of their modes only whether they are programs."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): Entry(path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644) for path in files}


def pack(entries: Mapping[str, Entry]) -> bytes:
    """The archive; directories are made by whoever unpacks it. `entries`: path without a leading slash -> entry."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, entry in sorted(entries.items()):
            member = tarfile.TarInfo(path)
            member.mode, member.size = entry.mode, len(entry.content)
            if entry.target:
                member.type, member.linkname = tarfile.SYMTYPE, entry.target
            archive.addfile(member, io.BytesIO(entry.content))
    return packed.getvalue()
