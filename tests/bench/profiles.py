"""perf.data to time-ordered runs, holes and folded stacks as a capture makes them, against perf script piped into a stack collapser, in
turns on one recording.

The collapser is collapse.pl, our own: the usual stackcollapse-perf.pl is in no distribution's package.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from . import measure

HERTZ = 4999
SECONDS = (5, 20)
ROUNDS = 5
BUDGETS = {"wall_ratio": 0.5, "rss_growth": 1.1}
WORK = "while :; do cat /proc/kallsyms /proc/self/smaps; ls -lR /usr/share/doc; done >/dev/null 2>&1"


class Recorded(NamedTuple):
    """`begun_ns`: CLOCK_MONOTONIC, as in the file."""

    path: Path
    begun_ns: int


def compare() -> dict:
    absent = [tool for tool in ("perf", "perl") if not shutil.which(tool)]
    if absent:
        return {"skipped": f"no {' and no '.join(absent)}"}
    with tempfile.TemporaryDirectory() as scratch:
        small, large = (_record(Path(scratch) / f"{seconds}s.data", seconds) for seconds in SECONDS)
        rounds = {each.path: [(_ours(each), _peer(each.path)) for _ in range(ROUNDS)] for each in (small, large)}
        figures = {path.name: _summary(path, pairs) for path, pairs in rounds.items()}
    growth = figures[large.path.name]["rss_kb"] / figures[small.path.name]["rss_kb"]
    within = {
        "wall_ratio": all(figure["ratio"]["wall_s"]["median"] <= BUDGETS["wall_ratio"] for figure in figures.values()),
        "rss_growth": growth <= BUDGETS["rss_growth"],
    }
    return {
        "recording": f"perf record -a -e cpu-clock -g -F {HERTZ}, {ROUNDS} rounds in turns",
        "peer": "perf script | collapse.pl",
        "files": figures,
        "rss_growth": round(growth, 3),
        "budgets": BUDGETS,
        "within_budget": within,
    }


def _record(path: Path, seconds: int) -> Recorded:
    line = ["perf", "record", "-q", "-a", "-e", "cpu-clock", "-g", "-F", str(HERTZ), "-k", "CLOCK_MONOTONIC", "-o", str(path)]
    begun_ns = time.monotonic_ns()
    done = measure.run([*line, "--", "timeout", str(seconds), "sh", "-c", WORK])
    assert path.stat().st_size > 0, done.output
    return Recorded(path, begun_ns)


def _ours(recorded: Recorded) -> tuple[measure.Cost, dict]:
    done = measure.run(
        [sys.executable, "-m", "tests.bench.collapse", *map(str, (recorded.path, HERTZ, recorded.begun_ns))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([".", "collections"])},
    )
    assert done.rc == 0, done.output
    return done, json.loads(done.output.splitlines()[-1])


def _peer(path: Path) -> measure.Cost:
    collapser = Path(__file__).with_name("collapse.pl")
    pipe = f"perf script -i {shlex.quote(str(path))} 2>/dev/null | perl {shlex.quote(str(collapser))}"
    done = measure.run(["sh", "-c", pipe])
    assert done.rc == 0 and ";" in done.output, done.output
    return done


def _summary(path: Path, pairs: list[tuple[tuple[measure.Cost, dict], measure.Cost]]) -> dict:
    ours, peers = [own for (own, _), _ in pairs], [peer for _, peer in pairs]
    results = [result for (_, result), _ in pairs]
    return {
        "file_kb": path.stat().st_size // 1024,
        **{name: results[0][name] for name in ("runs", "holes", "folded_gaps", "folded_quiet")},
        "wall_s": [round(cost.wall_s, 3) for cost in ours],
        "peer_wall_s": [round(cost.wall_s, 3) for cost in peers],
        "rss_kb": max(result["rss_kb"] for result in results),
        "peer_rss_kb": max(cost.rss_kb for cost in peers),
        "ratio": {
            "wall_s": measure.ratio([cost.wall_s for cost in ours], [cost.wall_s for cost in peers]),
            "cpu_s": measure.ratio([cost.cpu_s for cost in ours], [cost.cpu_s for cost in peers]),
        },
    }


if __name__ == "__main__":
    print(json.dumps(compare(), indent=2))
