"""Hold whom a capture names against who the injectors were, event by event."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .truth import overlap

MS = 1_000_000
# Below, an event may be this machine's own
LEAST_MS = 20.0


@dataclass
class Score:
    """`events`: stalls of a capture window that an injector made; `misses`: a sentence for each that is told wrongly."""

    events: int = 0
    misses: list[str] = field(default_factory=list)

    def __add__(self, other: Score) -> Score:
        return Score(self.events + other.events, self.misses + other.misses)

    @property
    def right(self) -> float:
        return 1 - len(self.misses) / self.events if self.events else 0.0

    def __str__(self) -> str:
        return "\n".join([f"{self.events - len(self.misses)} of {self.events} events are right", *self.misses])


def score(row: dict, truth: list[dict], expected: list[dict], stall_cpu: int, captured: tuple[int, int]) -> Score:
    """Judge one host.

    :param row: of the findings
    :param truth: lines of the injectors' truth files
    :param expected: the culprits of the scenario, see tests/lab/scenario.py
    :param captured: begin and end of the capture; what reaches beyond is not judged
    """
    result = Score()
    named = {culprit["pid"]: culprit for culprit in (row["capture"] or {}).get("culprits", [])}
    for event in row["events"]:
        span = (event["start_ns"], event["start_ns"] + int(event["duration_ms"] * MS))
        if event["window"] != "capture" or event["duration_ms"] < LEAST_MS or span[0] < captured[0] or span[1] > captured[1]:
            continue
        made = max(truth, key=lambda entry: overlap((entry["start_ns"], entry["end_ns"]), span), default=None)
        if made is None or overlap((made["start_ns"], made["end_ns"]), span) <= 0:
            continue
        result.events += 1
        want = next((culprit for culprit in expected if culprit["comm"] == made["comm"]), None)
        assert want, f"the scenario expects nobody called {made['comm']}"
        wrong = _wrong(event, made, want, named, stall_cpu)
        if wrong:
            result.misses.append(f"{row['host']} {event['start']} {event['duration_ms']:.0f} ms by {made['comm']}: {'; '.join(wrong)}")
    return result


def _wrong(event: dict, made: dict, want: dict, named: dict, stall_cpu: int) -> list[str]:
    if want["class"] == "R":
        return _differences(("class", "R", event["class"]))
    blocker = event["blocker"] or {}
    culprit = named.get(blocker.get("pid"), {})
    return [
        *_differences(
            ("comm", made["comm"], blocker.get("comm")),
            ("pid", made["pid"], blocker.get("pid")),
            ("class", want["class"], event["class"]),
            ("cpu", stall_cpu if want.get("on_stall_cpu") else event["cpu"], event["cpu"]),
        ),
        *(f"{key} is {culprit.get(key)}, not {want[key]}" for key in ("syscall", "path") if not matches(want[key], culprit.get(key))),
    ]


def matches(pattern: str | None, value: str | None) -> bool:
    return value is None if pattern is None else bool(value and re.fullmatch(pattern, value))


def _differences(*checks: tuple[str, object, object]) -> list[str]:
    return [f"{what} is {got}, not {want}" for what, want, got in checks if got != want]
