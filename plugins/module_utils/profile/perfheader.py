# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The head of a perf.data file: where its records are, and how those of each event are laid out.

Sources: tools/perf/Documentation/perf.data-file-format.txt and include/uapi/linux/perf_event.h of the kernel.
"""

import struct
from io import SEEK_END
from typing import IO, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import ProfileError

MAGICS = {b"PERFILE2": "<", b"2ELIFREP": ">"}
VERSION_1 = (b"PERFFILE", b"ELIFFREP")
HEADER_BYTES = 104
PIPE_HEADER_BYTES = 16
ATTR_LIMIT = 4096
ID_LIMIT = 1 << 20

IP, TID, TIME, ADDR, READ, CALLCHAIN, ID, CPU, PERIOD, STREAM_ID, IDENTIFIER = (1 << bit for bit in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16))
# in the order in which a sample holds them, up to what has no fixed length
FIXED = ((IDENTIFIER, "8x"), (IP, "Q"), (TID, "ii"), (TIME, "Q"), (ADDR, "8x"), (ID, "8x"), (STREAM_ID, "8x"), (CPU, "I4x"), (PERIOD, "8x"))
# what follows the body of other records, if sample_id_all is set
TRAILER = ((TID, 8), (TIME, 8), (ID, 8), (STREAM_ID, 8), (CPU, 8), (IDENTIFIER, 8))
READ_ENABLED, READ_RUNNING, READ_ID, READ_GROUP, READ_LOST = 1, 2, 4, 8, 16
TRACEPOINT = 2
SOFTWARE = 1
NO_LOOK_AT_A_CPU = {(SOFTWARE, 9), (SOFTWARE, 10)}  # dummy, bpf-output
SAMPLE_ID_ALL = 18


class Attr(NamedTuple):
    """What of perf_event_attr is of use. `period`: nanoseconds or events, or a frequency in Hz if `frequency`."""

    kind: int
    config: int
    period: int
    frequency: bool
    sample_type: int
    read_format: int
    sample_id_all: bool


class Layout:
    """Where in the records of one event the fields are. A field that is not recorded is -1."""

    def __init__(self, attr: Attr, order: str) -> None:
        self.attr = attr
        kinds = attr.sample_type
        if not kinds & TIME:
            raise ProfileError("the samples carry no time; record without --no-timestamp")
        fixed = struct.Struct(order + "".join(code for bit, code in FIXED if kinds & bit))
        self.fixed_bytes = fixed.size
        self.fields: Callable[[bytes, int], Sequence[int]] = fixed.unpack_from
        if kinds & (IP | TID | TIME | CPU) != IP | TID | TIME | CPU:
            self.fields = _with_gaps(fixed, kinds)
        self.has_read = bool(kinds & READ)
        self.has_callchain = bool(kinds & CALLCHAIN)
        self.id_at = _id_at(kinds)
        self.time_before_end = _time_before_end(kinds) if attr.sample_id_all else None

    def same_records(self, other: "Layout") -> bool:
        return (self.attr.sample_type, self.attr.read_format) == (other.attr.sample_type, other.attr.read_format)


class Head(NamedTuple):
    """`order`: "<" or ">". `data_bytes` None: up to the end (a pipe, or perf was killed before it could say)."""

    order: str
    pipe: bool
    data_at: int
    data_bytes: Optional[int]
    layouts: List[Layout]
    by_id: Dict[int, Layout]


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Fewer only at the end of the stream. A pipe gives what it has."""
    parts = []
    while size > 0:
        part = stream.read(min(size, 1 << 20))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_head(stream: IO[bytes]) -> Head:
    """The stream stands at its begin, and at the first record afterwards if it is a pipe. ProfileError if it is no perf.data."""
    start = read_exactly(stream, PIPE_HEADER_BYTES)
    order = MAGICS.get(start[:8])
    if order is None:
        version_1 = start[:8] in VERSION_1
        raise ProfileError("perf.data of before 2010" if version_1 else f"no perf.data: it begins with {start[:8]!r}")
    if len(start) < PIPE_HEADER_BYTES:
        raise ProfileError(f"perf.data ends in its header, at byte {len(start)}")
    size = struct.unpack_from(order + "Q", start, 8)[0]
    if size == PIPE_HEADER_BYTES:
        return Head(order, True, PIPE_HEADER_BYTES, None, [], {})
    if not stream.seekable():
        raise ProfileError("this perf.data cannot be read from a pipe; give the file, or record with perf record -o -")
    rest = read_exactly(stream, HEADER_BYTES - PIPE_HEADER_BYTES)
    if size < HEADER_BYTES or len(rest) < HEADER_BYTES - PIPE_HEADER_BYTES:
        raise ProfileError(f"perf.data ends in its header, at byte {len(start) + len(rest)}")
    entry_bytes, attrs_at, attrs_bytes, data_at, data_bytes = struct.unpack_from(order + "5Q", rest)
    layouts, by_id = _read_attrs(stream, order, entry_bytes, attrs_at, attrs_bytes)
    return Head(order, False, data_at, data_bytes or None, layouts, by_id)


def parse_attr(raw: bytes, order: str) -> Attr:
    """perf_event_attr, of any version."""
    if len(raw) < 64:
        raise ProfileError(f"perf.data describes an event in {len(raw)} bytes, too few")
    kind, _size, config, period, sample_type, read_format, flags = struct.unpack_from(order + "IIQQQQQ", raw)

    def flag(bit: int) -> bool:
        # bit fields are allocated from the other end on big-endian machines
        return bool(flags >> (bit if order == "<" else 63 - bit) & 1)

    return Attr(kind, config, period, flag(10), sample_type, read_format, flag(SAMPLE_ID_ALL))


def check_layouts(layouts: List[Layout]) -> None:
    """ProfileError unless the event of each sample can be told."""
    if not layouts:
        raise ProfileError("perf.data describes no event")
    if any(not layout.same_records(layouts[0]) for layout in layouts) and (
        layouts[0].id_at is None or len({layout.id_at for layout in layouts}) > 1
    ):
        raise ProfileError("perf.data has events of several layouts and no identifier to tell their samples apart")


def wanted(layouts: List[Layout]) -> List[bool]:
    """Which of the events are looks at a CPU: tracepoints only if there is nothing else."""
    kinds = [(layout.attr.kind, layout.attr.config) for layout in layouts]
    clocks = [kind[0] != TRACEPOINT and kind not in NO_LOOK_AT_A_CPU for kind in kinds]
    return clocks if any(clocks) else [kind not in NO_LOOK_AT_A_CPU for kind in kinds]


def _read_attrs(stream: IO[bytes], order: str, entry_bytes: int, at: int, size: int) -> Tuple[List[Layout], Dict[int, Layout]]:
    file_bytes = stream.seek(0, SEEK_END)
    if not 80 <= entry_bytes <= ATTR_LIMIT or not entry_bytes <= size <= ATTR_LIMIT * entry_bytes or at + size > file_bytes:
        raise ProfileError(f"perf.data describes no event: {size} bytes at {at}, {entry_bytes} each")
    stream.seek(at)
    raw = read_exactly(stream, size)
    layouts: List[Layout] = []
    by_id: Dict[int, Layout] = {}
    for start in range(0, len(raw) - entry_bytes + 1, entry_bytes):
        entry = raw[start : start + entry_bytes]
        layout = Layout(parse_attr(entry[:-16], order), order)
        layouts.append(layout)
        ids_at, ids_bytes = struct.unpack_from(order + "QQ", entry, entry_bytes - 16)
        if ids_at + ids_bytes > file_bytes or len(by_id) + ids_bytes // 8 > ID_LIMIT:
            raise ProfileError(f"perf.data lists {ids_bytes} bytes of event identifiers at {ids_at}")
        stream.seek(ids_at)
        ids = read_exactly(stream, ids_bytes)
        by_id.update(dict.fromkeys(struct.unpack_from(f"{order}{len(ids) // 8}Q", ids), layout))
    return layouts, by_id


def _with_gaps(fixed: struct.Struct, kinds: int) -> Callable[[bytes, int], Sequence[int]]:
    def fields(block: bytes, at: int) -> Sequence[int]:
        values = iter(fixed.unpack_from(block, at))
        ip = next(values) if kinds & IP else -1
        pid, tid = (next(values), next(values)) if kinds & TID else (-1, -1)
        time = next(values)
        return ip, pid, tid, time, next(values) if kinds & CPU else -1

    return fields


def _id_at(kinds: int) -> Optional[int]:
    if kinds & IDENTIFIER:
        return 0
    if not kinds & ID:
        return None
    return sum(8 for bit in (IP, TID, TIME, ADDR) if kinds & bit)


def _time_before_end(kinds: int) -> int:
    following = TRAILER[[bit for bit, _size in TRAILER].index(TIME) :]
    return sum(size for bit, size in following if kinds & bit)
