# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found, in the shape of capture.json: all times on the host's clock, stacks by number."""

import time
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.capture import gaps, load, stacks
from ansible_collections.fleet.stall.plugins.module_utils.capture.clock import Clock
from ansible_collections.fleet.stall.plugins.module_utils.capture.witness import Seen, Witness
from ansible_collections.fleet.stall.plugins.module_utils.profile import runs

MOST_GAPS = 1000
MOST_HANDLERS = 50
MOST_CALLS = 400
MOST_FOLDED = 300
# Files follow each other this closely where the recorder was only interrupted to write one.
APART_NS = 30000000
# For reading the recordings on a host with no time to spare: what comes after it has a deadline to meet (kind.GRACE_S).
READ_S = 10.0
# A smaller share of the window in the recordings is worth a word, where all of it was to be there.
WHOLE_SHARE = 0.95


def found(session: Any, files: List[str], straced: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """handlers, gaps, served, heard, recorded, cpus, stacks, runs, holes, folded, slow_calls, processes, strace, omitted (capture.json)."""
    plan, clock, witness = session.plan, session.clock, session.witness
    rows = session.rx.rows
    intervals, threshold_ns = gaps.intervals(plan["flows"]), int(plan["threshold_ms"] * 1e6)
    seen = gaps.find(rows, intervals, threshold_ns, gaps.sources(plan["flows"]))
    heard = gaps.heard(rows, intervals, threshold_ns)
    kept = sorted(sorted(seen, key=lambda gap: gap["start_ns"] - gap["end_ns"])[:MOST_GAPS], key=lambda gap: gap["start_ns"])
    handlers = gaps.handlers(rows)[:MOST_HANDLERS]
    period_ns = int(1e9 / plan["stack_hz"])
    recording = stacks.read(files, kept, period_ns, {gap["cpu"] for gap in seen}, time.monotonic() + READ_S)
    session.warnings += recording.problems
    if session.recorder.alone and files:
        session.warnings += filter(None, [unrecorded(recording.spans, session.window_ns)])
    holes = recording.holes
    table = Table()
    traced = [dict(row, start_ns=clock.steady(row["start_ns"])) for row in (straced or {}).get("slow_calls", [])]
    calls = [call_row(each, clock) for each in chosen(witness.calls, kept)] + traced
    wanted = known_first(handlers, session.connections, recording.runs, calls)
    for pid in wanted:
        witness.meet(pid)
    processes = witness.rows(wanted)
    return {
        "handlers": handlers,
        "gaps": [gap_row(gap, clock) for gap in kept],
        "gaps_omitted": len(seen) - len(kept),
        "served": served_row(load.served(rows, session.window_ns), clock),
        "heard": {str(flow): [[clock.real(start), clock.real(end)] for start, end in spans] for flow, spans in heard.items()},
        "recorded": [[clock.real(start), clock.real(end)] for start, end in stacks.joined(recording.spans, APART_NS)],
        "cpus": session.recorder.cpus if recording.cpus else [],
        "runs": [run_row(run, clock, table, witness) for run in recording.runs],
        "holes": None if holes is None else [[cpu, clock.real(start), clock.real(end)] for cpu, start, end in holes],
        "folded": folded_rows(recording.folded, table),
        "stacks": table.stacks,
        "slow_calls": sorted(calls, key=lambda call: call["start_ns"]),
        "processes": processes,
        "strace": straced and dict(straced["strace"], start_ns=clock.real(straced["strace"]["start_ns"])),
        "omitted": omitted(
            slow_calls=len(witness.calls) + witness.calls_omitted - min(len(witness.calls), MOST_CALLS),
            processes=len(witness.processes) - len(processes),
        ),
    }


def known_first(
    handlers: Iterable[Dict[str, Any]], connections: Iterable[Dict[str, Any]], found: Iterable[runs.Run], calls: Iterable[Dict[str, Any]]
) -> List[int]:
    """Whose identity matters, most of all first: who handles packets and owns connections, who had a CPU for long, who made slow calls."""
    longest = sorted(found, key=lambda run: run.start_ns - run.end_ns)
    pids = [row["tid"] for row in handlers] + [row["pid"] for row in connections]
    pids += [pid for run in longest for pid in (run.tid, run.pid)] + [call["pid"] for call in calls]
    return list(dict.fromkeys(pid for pid in pids if pid))


def unrecorded(spans: Iterable[stacks.Span], window_ns: stacks.Span) -> Optional[str]:
    """How much of the window the recordings hold, if that is not nearly all of it."""
    held_ns, window = stacks.Windows(spans).within([window_ns]).total(), window_ns[1] - window_ns[0]
    if held_ns >= WHOLE_SHARE * window:
        return None
    return f"the flight recorder kept {held_ns / 1e9:.0f} of {window / 1e9:.0f} s: stalls of the rest have no samples"


class Table:
    """Folded stacks by number."""

    def __init__(self) -> None:
        self.stacks: List[str] = []
        self._places: Dict[str, int] = {}

    def place(self, stack: str) -> int:
        if stack not in self._places:
            self._places[stack] = len(self.stacks)
            self.stacks.append(stack)
        return self._places[stack]


def served_row(served: Optional[Dict[str, Any]], clock: Clock) -> Optional[Dict[str, Any]]:
    return served and dict(served, start_ns=clock.real(served["start_ns"]), cpus={str(cpu): row for cpu, row in served["cpus"].items()})


def gap_row(gap: Dict[str, Any], clock: Clock) -> Dict[str, Any]:
    handled = [[clock.real(row.at_ns), row.cpu, row.pid, row.tid, row.comm, row.flow, row.number] for row in gap["handled"]]
    return {"start_ns": clock.real(gap["start_ns"]), "end_ns": clock.real(gap["end_ns"]), "cpu": gap["cpu"], "handled": handled}


def run_row(run: runs.Run, clock: Clock, table: Table, witness: Witness) -> Dict[str, Any]:
    return {
        "start_ns": clock.real(run.start_ns),
        "end_ns": clock.real(run.end_ns),
        "cpu": run.cpu,
        "pid": run.pid,
        "tid": run.tid,
        "comm": run.comm,
        "policy": (witness.processes.get(run.tid) or {}).get("policy"),
        "samples": run.samples,
        "kernel": round(run.kernel, 3),
        "stacks": [[table.place(stack), count] for stack, count in run.stacks],
    }


def folded_rows(folded: Dict[str, Any], table: Table) -> Dict[str, Any]:
    def rows(counts: Dict[Tuple[str, str], int]) -> List[List[Any]]:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_FOLDED]
        return [[comm, table.place(stack), count] for (comm, stack), count in ordered]

    return dict(folded, gaps=rows(folded["gaps"]), quiet=rows(folded["quiet"]))


def chosen(calls: List[Seen], kept: Iterable[Dict[str, Any]]) -> List[Seen]:
    """Those near gaps before the others, the longest first, as many as there is room for."""
    near = stacks.Windows(stacks.around(list(kept)))

    def worth(seen: Seen) -> Tuple[bool, int]:
        call = seen.call
        return (not near.touch(call.start_ns, call.start_ns + call.duration_ns), -call.duration_ns)

    return sorted(calls, key=worth)[:MOST_CALLS]


def call_row(seen: Seen, clock: Clock) -> Dict[str, Any]:
    call = seen.call
    return {
        "start_ns": clock.real(call.start_ns),
        "duration_ms": round(call.duration_ns / 1e6, 3),
        "on_cpu_ms": None if call.on_cpu_ns is None else round(min(call.on_cpu_ns, call.duration_ns) / 1e6, 3),
        "cpu": call.cpu,
        "pid": call.pid,
        "tid": call.tid,
        "comm": call.comm,
        "call": call.call,
        "fd": call.fd,
        "path": seen.path,
        "buffer": None,
        "how": call.how,
    }


def omitted(**counts: int) -> Dict[str, int]:
    return {part: count for part, count in counts.items() if count > 0}
