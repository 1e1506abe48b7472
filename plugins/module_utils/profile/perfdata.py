# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples out of a perf.data file or stream, a block at a time.

Sources: tools/perf/Documentation/perf.data-file-format.txt and include/uapi/linux/perf_event.h of the kernel.
"""

from bisect import bisect_right
from struct import Struct, unpack_from
from typing import IO, Collection, Dict, Iterator, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols
from ansible_collections.fleet.stall.plugins.module_utils.profile.perfheader import (
    READ_ENABLED,
    READ_GROUP,
    READ_ID,
    READ_LOST,
    READ_RUNNING,
    Head,
    Layout,
    check_layouts,
    parse_attr,
    read_exactly,
    read_head,
    wanted,
)
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import UNKNOWN, USER, Counts, ProfileError, Sample, safe
from ansible_collections.fleet.stall.plugins.module_utils.profile.tasks import Change, Tasks

BLOCK_BYTES = 1 << 20
QUEUE_LIMIT = 300000
CACHE_LIMIT = 4096

LOST, COMM, FORK, SAMPLE, LOST_SAMPLES = 2, 3, 7, 9, 13
HEADER_ATTR, TRACING_DATA, FINISHED_ROUND = 64, 66, 68
REFUSED = {
    11: "hardware trace (AUX) data",
    71: "hardware trace (AUX) data",
    81: "compressed records; record without -z",
    83: "compressed records; record without -z",
}
# perf_callchain_context: from where the addresses after it are
MARKERS = (1 << 64) - 4095
USER_MARKERS = ((1 << 64) - 512, (1 << 64) - 640)
OTHER_MARKERS = {(1 << 64) - 32: "[hypervisor]", (1 << 64) - 2048: "[guest]", (1 << 64) - 2176: "[guest]", (1 << 64) - 2560: "[guest]"}
MODES = {2: USER, 3: "[hypervisor]", 4: "[guest]", 5: "[guest]"}


# kind, misc, block, start and end of the body in it, position of the record in the stream
Record = Tuple[int, int, bytes, int, int, int]


def read(stream: IO[bytes], symbols: Optional[Symbols], counts: Optional[Counts] = None) -> Iterator[Sample]:
    """In the order of the file: within a CPU oldest first, but newest first in a snapshot of perf record --overwrite.

    Without `symbols` kernel frames are hexadecimal addresses. ProfileError if it is no perf.data or one that is not
    understood (compressed, AUX); a broken one ends early (`counts.ended_at`). With tracepoints beside a clock, those are left out.
    """
    return (sample for sample in _read(stream, symbols, counts or Counts()) if sample is not None)


def in_time_order(
    stream: IO[bytes], symbols: Optional[Symbols], counts: Optional[Counts] = None, first: Collection[int] = ()
) -> Iterator[Sample]:
    """The same samples, oldest first over all CPUs, in bounded memory.

    perf marks the end of each round over the buffers of all CPUs; what comes after it is younger than what the round before it ended with.
    A snapshot of perf record --overwrite is one round. Where that is more than there is room for, no more samples are taken but those of
    the CPUs `first`, if there are any (counts.crowded).
    """
    counts = counts or Counts()
    queue: List[Sample] = []
    round_ended = begun = -1
    for sample in _read(stream, symbols, counts):
        if sample is not None:
            if sample.time_ns < begun:
                counts.unordered += 1
            elif not counts.crowded or sample.cpu in first:
                queue.append(sample)
        if sample is not None and len(queue) >= QUEUE_LIMIT and first and not counts.crowded:
            counts.crowded = True
            queue = [each for each in queue if each.cpu in first]
        if queue and (sample is None or len(queue) >= QUEUE_LIMIT):
            queue.sort(key=_time)
            until = bisect_right([each.time_ns for each in queue], round_ended) if sample is None else len(queue) // 2
            round_ended = queue[-1].time_ns
            if until:
                begun = queue[until - 1].time_ns
                yield from queue[:until]
                del queue[:until]
    queue.sort(key=_time)
    yield from queue


def _time(sample: Sample) -> int:
    return sample.time_ns


def _read(stream: IO[bytes], symbols: Optional[Symbols], counts: Counts) -> Iterator[Optional[Sample]]:
    """Samples, and None for the end of a round."""
    head = read_head(stream)
    if head.pipe:
        return _samples(_records(stream, head, counts), head, Tasks(), True, symbols, counts)
    check_layouts(head.layouts)
    tasks = Tasks()
    _require_data(stream, head)
    for record in _records(stream, head, Counts()):
        if record[0] == COMM or record[0] == FORK:
            _note_task(tasks, record, head.order, head.layouts[0])
    stream.seek(head.data_at)
    return _samples(_records(stream, head, counts), head, tasks, False, symbols, counts)


def _require_data(stream: IO[bytes], head: Head) -> None:
    size = stream.seek(0, 2)
    if head.data_at > size:
        raise ProfileError(f"perf.data says that its records begin at byte {head.data_at}, but has {size}")
    stream.seek(head.data_at)


def _records(stream: IO[bytes], head: Head, counts: Counts) -> Iterator[Record]:
    """Each record; ends where a length makes no sense, or the data ends in the middle of one."""
    unpack = Struct(head.order + "IHH").unpack_from
    position, left = head.data_at, head.data_bytes
    block, at, beside = b"", 0, 0
    while True:
        more = read_exactly(stream, BLOCK_BYTES if left is None else min(BLOCK_BYTES, left))
        left = None if left is None else left - len(more)
        block, at = block[at:] + more, 0
        while True:
            gone = min(beside, len(block) - at)
            at, position, beside = at + gone, position + gone, beside - gone
            if len(block) - at < 8:
                break
            kind, misc, size = unpack(block, at)
            if size < 8:
                counts.ended_at = position
                return
            if at + size > len(block):
                break
            yield kind, misc, block, at + 8, at + size, position
            if kind == TRACING_DATA and head.pipe and size >= 12:
                beside = -(-unpack_from(head.order + "I", block, at + 8)[0] // 8) * 8  # the data are not in the record
            at += size
            position += size
        if not more:
            if at < len(block) or left or beside:
                counts.ended_at = position
            return


def _note_task(tasks: Tasks, record: Record, order: str, layout: Layout) -> None:
    kind, _misc, block, start, end, _position = record
    if kind == FORK and end - start >= 24:
        _pid, _parent_pid, tid, parent, time_ns = unpack_from(order + "4iQ", block, start)
        tasks.add(Change(time_ns, tid, "", parent))
    elif kind == COMM and end - start > 8:
        tid = unpack_from(order + "i", block, start + 4)[0]
        comm = block[start + 8 : end].split(b"\0", 1)[0].decode("utf-8", "replace")
        time_at = -1 if layout.time_before_end is None else end - layout.time_before_end
        time_ns = unpack_from(order + "Q", block, time_at)[0] if time_at > start + 8 else 0
        tasks.add(Change(time_ns, tid, safe(comm), None))


def _samples(
    records: Iterator[Record], head: Head, tasks: Tasks, online: bool, symbols: Optional[Symbols], counts: Counts
) -> Iterator[Optional[Sample]]:
    chains = Chains(head.order, symbols)
    events = Events(head)
    count_of = Struct(head.order + "Q").unpack_from
    for record in records:
        kind, misc, block, start, end, position = record
        if kind != SAMPLE:
            if kind in REFUSED:
                raise ProfileError(f"perf.data at byte {position}: {REFUSED[kind]}")
            if kind == FINISHED_ROUND:
                yield None
            elif kind == LOST and end - start >= 16:
                counts.lost += count_of(block, start + 8)[0]
            elif kind == LOST_SAMPLES and end - start >= 8:
                counts.lost += count_of(block, start)[0]
            elif online and kind == HEADER_ATTR:
                events.add(block[start:end])
            elif online and kind in (COMM, FORK) and events.layouts:
                _note_task(tasks, record, head.order, events.layouts[0])
            continue
        layout = events.only or events.of(block, start, end)
        if layout is None:
            continue
        at = start + layout.fixed_bytes
        if at > end:
            counts.skipped += 1
            continue
        ip, pid, tid, time_ns, cpu = layout.fields(block, start)
        if layout.has_read:
            at = _after_read(block, at, end, layout, head.order)
        frames: Tuple[str, ...] = ()
        if layout.has_callchain:
            until = at + 8 + count_of(block, at)[0] * 8 if at + 8 <= end else end + 1
            if until > end:
                counts.skipped += 1
                continue
            frames = chains.frames(block[at + 8 : until])
        counts.samples += 1
        yield Sample(time_ns, cpu, pid, tid, tasks.comm(tid, time_ns), frames or chains.at(ip, misc))


class Events:
    """Which event a sample is of. `only`: the layout of all of them, where that need not be asked."""

    def __init__(self, head: Head) -> None:
        self._order = head.order
        self.layouts = head.layouts
        self._by_id = head.by_id
        self._wanted: Dict[int, Layout] = {}
        self.only: Optional[Layout] = None
        if head.layouts:
            self._decide()

    def add(self, raw: bytes) -> None:
        """A HEADER_ATTR record of a stream: perf_event_attr, by its own size, then the identifiers."""
        size = unpack_from(self._order + "I", raw, 4)[0] if len(raw) >= 8 else 0
        layout = Layout(parse_attr(raw[: size or 64], self._order), self._order)
        ids = raw[size or 64 :]
        self.layouts.append(layout)
        self._by_id.update(dict.fromkeys(unpack_from(f"{self._order}{len(ids) // 8}Q", ids), layout))
        self._decide()

    def _decide(self) -> None:
        check_layouts(self.layouts)
        useful = [layout for layout, use in zip(self.layouts, wanted(self.layouts)) if use]
        alike = all(layout.same_records(self.layouts[0]) for layout in self.layouts)
        self.only = self.layouts[0] if alike and (len(useful) == len(self.layouts) or self.layouts[0].id_at is None) else None
        self._wanted = {number: layout for number, layout in self._by_id.items() if layout in useful}

    def of(self, block: bytes, start: int, end: int) -> Optional[Layout]:
        """None if it is of no use."""
        if not self.layouts:
            raise ProfileError("perf.data has a sample before the description of its event")
        id_at = self.layouts[0].id_at
        if id_at is None or start + id_at + 8 > end:
            return None
        return self._wanted.get(unpack_from(self._order + "Q", block, start + id_at)[0])


def _after_read(block: bytes, at: int, end: int, layout: Layout, order: str) -> int:
    """Where the counter values of a sample end."""
    how = layout.attr.read_format
    times = 8 * (bool(how & READ_ENABLED) + bool(how & READ_RUNNING))
    each = 8 * (1 + bool(how & READ_ID) + bool(how & READ_LOST))
    if not how & READ_GROUP:
        return at + times + each
    return at + 8 + times + each * unpack_from(order + "Q", block, at)[0] if at + 8 <= end else end + 1


class Chains:
    """Call chains to frames. What is below a system call differs all the time and is one frame here, so a few thousand chains are all."""

    def __init__(self, order: str, symbols: Optional[Symbols]) -> None:
        self._order = order
        self._user = Struct(order + "Q").pack(USER_MARKERS[0])
        self._name = symbols.name if symbols is not None and symbols.available else None
        self._known: Dict[bytes, Tuple[str, ...]] = {}
        self._same: Dict[Tuple[str, ...], Tuple[str, ...]] = {}

    def frames(self, chain: bytes) -> Tuple[str, ...]:
        """Outermost first; empty if the chain holds no address."""
        user_at = chain.find(self._user)
        while user_at % 8 and user_at > 0:
            user_at = chain.find(self._user, user_at + 1)
        key = chain if user_at < 0 else chain[: user_at + 8]
        frames = self._known.get(key)
        if frames is None:
            if len(self._known) >= CACHE_LIMIT:
                self._known.clear()
                self._same.clear()
            frames = self._resolve(key)
            # chains that differ by the place within a function share their frames
            frames = self._known[key] = self._same.setdefault(frames, frames)
        return frames

    def at(self, ip: int, misc: int) -> Tuple[str, ...]:
        """The frame of a sample without a chain."""
        mode = MODES.get(misc & 7)
        return (mode,) if mode else (self.name(ip),) if ip >= 0 else ()

    def name(self, address: int) -> str:
        return f"0x{address:x}" if self._name is None else self._name(address) or UNKNOWN

    def _resolve(self, chain: bytes) -> Tuple[str, ...]:
        outer: List[str] = []
        kernel: List[str] = []
        where: Optional[str] = None
        for address in unpack_from(f"{self._order}{len(chain) // 8}Q", chain):
            if address >= MARKERS:
                where = USER if address in USER_MARKERS else OTHER_MARKERS.get(address, "")
                if where and where not in outer:
                    outer.append(where)
            elif where == "" or (where is None and address >= 1 << 63):
                kernel.append(self.name(address))
            elif where is None and USER not in outer:
                outer.append(USER)
        return tuple(outer + kernel[::-1])
