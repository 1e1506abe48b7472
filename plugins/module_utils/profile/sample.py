# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at one CPU, however it was recorded, and what the readers of recordings have in common."""

from typing import IO, Iterator, NamedTuple, Optional, Tuple

USER = "[user]"
UNKNOWN = "[unknown]"
IDLE = "swapper"


class ProfileError(ValueError):
    """A recording that cannot be read; the message says where and why."""


class Sample(NamedTuple):
    """`frames`: outermost first; kernel symbols without offset, all of user mode as the one frame "[user]", first."""

    time_ns: int
    cpu: int
    pid: int
    tid: int
    comm: str
    frames: Tuple[str, ...]


class Counts:
    """What a reader met; pass one in to have it filled while you iterate."""

    def __init__(self) -> None:
        self.samples = 0
        self.lost = 0  # samples that the kernel says it dropped
        self.skipped = 0  # records or lines that made no sense, or were of no use
        self.unordered = 0  # samples that came too late to be put in order
        self.crowded = False  # whether samples were left out for want of room
        self.ended_at: Optional[int] = None  # byte (perf.data) where a broken recording ends; None: read to its end


def safe(name: str) -> str:
    """A task's or symbol's name that cannot be taken for the structure around it."""
    name = name.replace(";", ":")
    return name if name.isprintable() else "".join(character if character.isprintable() else "?" for character in name)


def lines(stream: IO[bytes], limit: int = 65536) -> Iterator[str]:
    """The lines of a log from anywhere, without their end: never more of one in memory than `limit` bytes, the rest of it is left out."""
    whole = True
    while True:
        line = stream.readline(limit)
        if not line:
            return
        if whole:
            yield line.decode("utf-8", "replace").rstrip("\r\n")
        whole = line.endswith(b"\n")
