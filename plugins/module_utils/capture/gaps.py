# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own view of a stall: probes that were handled late, in a burst, after a silence. Pure.

That alone tells a stall of this host from one of the source (a source that did not send has nothing to catch up with) and from loss.
"""

import bisect
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

BEFORE_NS = 50000000
MOST_ROWS_BEFORE = 40
MOST_ROWS = 150
# Rows in which each flow's last one before a gap is looked for.
LOOK_BACK = 5000
# Of one CPU, for the live search of a suspect.
MOST_KNOWN = 1000
# Of one flow: more than the kernel takes from a device (64 at a time) before it hands the first of them on.
MOST_SEEN = 128
# A probe that comes so much after its turn was held
NOTABLE_NS = 1000000
# Probes of two hosts that come so close to each other after a silence were held together.
TOGETHER_NS = 1000000
# Of a CPU whose rows name no flow: all pauses but so many of them are its pace.
STALLED_SHARE = 0.25
MOST_HEARD = 2000


class Handled(NamedTuple):
    """One probe and who handled it. `flow` and `number` are None where the trace does not tell them."""

    at_ns: int
    cpu: int
    pid: int
    tid: int
    comm: str
    flow: Optional[int]
    number: Optional[int]


class Sightings:
    """Tells a probe from its second sighting: on a host with a bridge it passes the port, then the bridge. Rows come as time goes."""

    def __init__(self) -> None:
        self._seen: Dict[int, Dict[int, None]] = {}

    def is_first(self, row: Handled) -> bool:
        """Whether none of the flow's latest MOST_SEEN probes had this number. A row without flow or number can't be told from others."""
        if row.flow is None or row.number is None:
            return True
        seen = self._seen.setdefault(row.flow, {})
        if row.number in seen:
            return False
        seen[row.number] = None
        if len(seen) > MOST_SEEN:
            del seen[next(iter(seen))]
        return True


class Late(NamedTuple):
    """One flow's silence: from when its next probe was due until it was handled, on this CPU, with more on its heels."""

    start_ns: int
    end_ns: int
    cpu: int
    flow: Optional[int]


class _State:
    __slots__ = ("last_ns", "late")

    def __init__(self, last_ns: int) -> None:
        self.last_ns = last_ns
        self.late: Optional[Late] = None


class Finder:
    """Tells of a silence as soon as its end is certain. Rows of a flow must come in the order of time.

    A silence alone may be a loss, or a source that did not send. It was a backlog where two probes come out of it at once: of one flow,
    or of two sources where flows are so slow that a stall holds one probe of each.
    """

    def __init__(
        self, intervals_ns: Dict[Optional[int], int], threshold_ns: int, sources: Optional[Dict[Optional[int], str]] = None
    ) -> None:
        """`intervals_ns` by `key_of` a row; None: of all rows that name no flow. `sources`: flow -> the host that probes."""
        self._intervals, self._threshold, self._sources = intervals_ns, threshold_ns, sources or {}
        self._states: Dict[int, _State] = {}
        self._latest: Dict[int, Late] = {}

    def add(self, row: Handled) -> Optional[Late]:
        """The silence that this row proves to have been a backlog: the second one to come out of it."""
        key = key_of(row)
        interval = self._intervals.get(key) or self._intervals.get(row.flow)
        if not interval:
            return None
        state = self._states.get(key)
        if state is None:
            self._states[key] = _State(row.at_ns)
            return None
        silence = row.at_ns - state.last_ns
        found = None
        if silence >= interval + self._threshold:
            state.late = Late(state.last_ns + interval, row.at_ns, row.cpu, row.flow)
            found = self._beside_another(state.late)
        elif silence <= interval // 2:
            found, state.late = state.late, None
        else:
            state.late = None
        state.last_ns = max(state.last_ns, row.at_ns)
        return found

    def _beside_another(self, late: Late) -> Optional[Late]:
        """The silence, if a probe of another source came out of one on the same CPU a moment before."""
        before, self._latest[late.cpu] = self._latest.get(late.cpu), late
        if before is None or late.end_ns - before.end_ns > TOGETHER_NS:
            return None
        known = self._sources.get(before.flow), self._sources.get(late.flow)
        if None in known or known[0] == known[1]:
            return None
        return before._replace(start_ns=min(before.start_ns, late.start_ns))


class Known:
    """The latest MOST_KNOWN silences on each CPU, those that overlap as one: by time, so that one is found by bisection."""

    def __init__(self) -> None:
        self._starts: Dict[int, List[int]] = {}
        self._ends: Dict[int, List[int]] = {}

    @property
    def cpus(self) -> List[int]:
        return sorted(self._starts)

    def __len__(self) -> int:
        return sum(map(len, self._starts.values()))

    def add(self, late: Late) -> None:
        starts, ends = self._starts.setdefault(late.cpu, []), self._ends.setdefault(late.cpu, [])
        first, after = bisect.bisect_left(ends, late.start_ns), bisect.bisect_right(starts, late.end_ns)
        start, end = min([late.start_ns] + starts[first:after]), max([late.end_ns] + ends[first:after])
        starts[first:after], ends[first:after] = [start], [end]
        del starts[:-MOST_KNOWN], ends[:-MOST_KNOWN]

    def touch(self, cpu: Optional[int], start_ns: int, end_ns: int) -> bool:
        """Whether there was a silence on this CPU, or on any (None), at some time between these."""
        return any(self._touch(each, start_ns, end_ns) for each in (self._starts if cpu is None else [cpu]))

    def _touch(self, cpu: int, start_ns: int, end_ns: int) -> bool:
        starts = self._starts.get(cpu, [])
        place = bisect.bisect_right(self._ends.get(cpu, []), start_ns)
        return place < len(starts) and starts[place] < end_ns


def intervals(flows: Sequence[Dict[str, Any]]) -> Dict[Optional[int], int]:
    """{flow id: interval in ns}; rows that name no flow are as dense as the densest flow at the least."""
    found: Dict[Optional[int], int] = {flow["id"]: int(flow["interval_ms"] * 1e6) for flow in flows}
    if found:
        found[None] = min(found.values())
    return found


def sources(flows: Sequence[Dict[str, Any]]) -> Dict[Optional[int], str]:
    """{flow id: the host that probes}"""
    return {flow["id"]: flow["source"] for flow in flows}


def key_of(row: Handled) -> int:
    """The flow of a row; where the trace does not tell it, the CPU, below zero: what one CPU handles does not end another's silence."""
    return ~row.cpu if row.flow is None else row.flow


def paces(rows: Sequence[Handled], intervals_ns: Dict[Optional[int], int]) -> Dict[Optional[int], int]:
    """{key of the CPU: ns between the rows that name no flow, but for the few pauses that may be stalls}; `rows` by time."""
    least_ns = intervals_ns.get(None)
    if not least_ns:
        return {}
    last: Dict[int, int] = {}
    pauses: Dict[Optional[int], List[int]] = {}
    for row in rows:
        if row.flow is None:
            if row.cpu in last:
                pauses.setdefault(key_of(row), []).append(row.at_ns - last[row.cpu])
            last[row.cpu] = row.at_ns
    return {key: max(least_ns, sorted(found)[int(len(found) * (1 - STALLED_SHARE))]) for key, found in pauses.items()}


def heard(rows: Iterable[Handled], intervals_ns: Dict[Optional[int], int], threshold_ns: int) -> Dict[int, List[Tuple[int, int]]]:
    """{flow: [(start_ns, end_ns), ..]}: from when to when its probes were handled at their pace, rows in any order.

    What is not in it was late, lost or not sent, or the trace did not see it. Spans after the first MOST_HEARD are left out.
    """
    found: Dict[int, List[Tuple[int, int]]] = {}
    count = 0
    for row in sorted(rows, key=order):
        interval = intervals_ns.get(row.flow)
        if row.flow is None or not interval:
            continue
        spans = found.setdefault(row.flow, [])
        if spans and row.at_ns - spans[-1][1] <= interval + threshold_ns // 2:
            spans[-1] = (spans[-1][0], row.at_ns)
        elif count < MOST_HEARD:
            spans.append((row.at_ns, row.at_ns))
            count += 1
    return found


def find(
    rows: Iterable[Handled],
    intervals_ns: Dict[Optional[int], int],
    threshold_ns: int,
    sources_of: Optional[Dict[Optional[int], str]] = None,
) -> List[Dict[str, Any]]:
    """The gaps of rows in any order: [{start_ns, end_ns, cpu, handled [row, ..]}, ..] by time.

    A gap: what flows were late at the same time on the same CPU. It starts when the first of their probes was due and ends when the
    first was handled. `handled`: what that CPU handled from 50 ms before to the last of the backlog.
    """
    ordered = sorted(rows, key=order)
    finder = Finder({**intervals_ns, **paces(ordered, intervals_ns)}, threshold_ns, sources_of)
    late = [found for found in map(finder.add, ordered) if found]
    by_cpu: Dict[int, List[Handled]] = {}
    for row in ordered:
        by_cpu.setdefault(row.cpu, []).append(row)
    times = {cpu: [row.at_ns for row in on_it] for cpu, on_it in by_cpu.items()}
    return [_described(gap, by_cpu[gap.cpu], times[gap.cpu], intervals_ns) for gap in merged(late)]


def order(row: Handled) -> Tuple[int, int, int]:
    """Key to sort rows by time."""
    return row.at_ns, row.cpu, -1 if row.flow is None else row.flow


def merged(late: Sequence[Late]) -> List[Late]:
    """Silences that overlap on one CPU as one, by start."""
    found: List[Late] = []
    open_on: Dict[int, int] = {}
    for each in sorted(late, key=lambda silence: (silence.start_ns, silence.end_ns)):
        place = open_on.get(each.cpu)
        if place is not None and each.start_ns < found[place].end_ns:
            found[place] = found[place]._replace(end_ns=min(found[place].end_ns, each.end_ns))
        else:
            open_on[each.cpu] = len(found)
            found.append(each)
    return found


def _described(gap: Late, rows: Sequence[Handled], times: Sequence[int], intervals_ns: Dict[Optional[int], int]) -> Dict[str, Any]:
    first = bisect.bisect_left(times, gap.end_ns)
    before = bisect.bisect_left(times, gap.start_ns - BEFORE_NS)
    last = _end_of_backlog(rows, first, intervals_ns)
    handled = list(rows[max(before, first - MOST_ROWS_BEFORE) : first]) + list(rows[first : min(last, first + MOST_ROWS)])
    return {"start_ns": gap.start_ns, "end_ns": gap.end_ns, "cpu": gap.cpu, "handled": handled}


def _end_of_backlog(rows: Sequence[Handled], first: int, intervals_ns: Dict[Optional[int], int]) -> int:
    """Index after the last row that came after its turn, which is counted from its flow's last row before the gap's end."""
    turn_ns = {row.flow: row.at_ns for row in rows[max(0, first - LOOK_BACK) : first]}
    until, end = rows[first].at_ns + max(intervals_ns.values(), default=0), first + 1
    for index in range(first, len(rows)):
        row = rows[index]
        if row.at_ns > until:
            break
        turn_ns[row.flow] = turn_ns.get(row.flow, row.at_ns) + intervals_ns.get(row.flow, 0)
        if row.at_ns > turn_ns[row.flow] + NOTABLE_NS:
            end = index + 1
    return end


def handlers(rows: Iterable[Handled]) -> List[Dict[str, Any]]:
    """[{cpu, pid, tid, comm, packets}], most packets first."""
    counts: Dict[Tuple[int, int, int, str], int] = {}
    for row in rows:
        key = (row.cpu, row.pid, row.tid, row.comm)
        counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"cpu": cpu, "pid": pid, "tid": tid, "comm": comm, "packets": n} for (cpu, pid, tid, comm), n in ordered]
