"""perf.data to time-ordered runs: our reader, against perf script piped into a stack collapser, in turns on one recording.

The collapser is collapse.pl, our own: the usual stackcollapse-perf.pl is in no distribution's package.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from . import measure

HERTZ = 4999
SECONDS = (5, 20)
ROUNDS = 5
BUDGETS = {"wall_ratio": 0.5, "rss_growth": 1.1}
WORK = "while :; do cat /proc/kallsyms /proc/self/smaps; ls -lR /usr/share/doc; done >/dev/null 2>&1"


def compare() -> dict:
    absent = [tool for tool in ("perf", "perl") if not shutil.which(tool)]
    if absent:
        return {"skipped": f"no {' and no '.join(absent)}"}
    with tempfile.TemporaryDirectory() as scratch:
        small, large = (_record(Path(scratch) / f"{seconds}s.data", seconds) for seconds in SECONDS)
        rounds = {path: [(_ours(path), _peer(path)) for _ in range(ROUNDS)] for path in (small, large)}
        figures = {path.name: _summary(path, pairs) for path, pairs in rounds.items()}
    growth = figures[large.name]["rss_kb"] / figures[small.name]["rss_kb"]
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


def _record(path: Path, seconds: int) -> Path:
    line = ["perf", "record", "-q", "-a", "-e", "cpu-clock", "-g", "-F", str(HERTZ), "-o", str(path)]
    done = measure.run([*line, "--", "timeout", str(seconds), "sh", "-c", WORK])
    assert path.stat().st_size > 0, done.output
    return path


def _ours(path: Path) -> tuple[measure.Cost, dict]:
    done = measure.run(
        [sys.executable, "-m", "tests.bench.collapse", str(path), str(HERTZ)],
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
        "samples": results[0]["samples"],
        "runs": results[0]["runs"],
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
