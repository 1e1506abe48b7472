"""Hold whom a capture names against who the injectors were, stall by stall."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .truth import Interval, overlap

MS = 1_000_000
# Below, an event may be this machine's own
LEAST_MS = 20.0
# From here on a stall can't fall between the probes; see truth.py
SURE_MS = 30.0


@dataclass
class Score:
    """`events`: stalls that an injector made while a host was captured; `misses`: a sentence for each told wrongly, or not at all."""

    events: int = 0
    misses: list[str] = field(default_factory=list)

    def __add__(self, other: Score) -> Score:
        return Score(self.events + other.events, self.misses + other.misses)

    @property
    def right(self) -> float:
        return 1 - len(self.misses) / self.events if self.events else 0.0

    def __str__(self) -> str:
        return "\n".join([f"{self.events - len(self.misses)} of {self.events} events are right", *self.misses])


def score(row: dict, truth: list[dict], expected: list[dict], stall_cpu: int, captured: Interval) -> Score:
    """Judge one host.

    :param row: of the findings
    :param truth: lines of the injectors' truth files
    :param expected: the culprits of the scenario, see tests/lab/scenario.py
    :param captured: begin and end of the time in which the host was both captured and probed; what reaches beyond is not judged
    """
    result = Score()
    culprits = (row["capture"] or {}).get("culprits", [])
    events = [(event, _span(event)) for event in row["events"] if event["window"] == "capture"]
    for event, span in events:
        made = max(truth, key=lambda entry: overlap(_made(entry), span), default=None)
        if event["duration_ms"] < LEAST_MS or not _within(span, captured) or made is None or overlap(_made(made), span) <= 0:
            continue
        result.events += 1
        want = next((culprit for culprit in expected if culprit["comm"] == made["comm"]), None)
        assert want, f"the scenario expects nobody called {made['comm']}"
        wrong = _wrong(event, made, want, culprits, stall_cpu)
        if wrong:
            result.misses.append(f"{row['host']} {event['start']} {event['duration_ms']:.0f} ms by {made['comm']}: {'; '.join(wrong)}")
    for entry in unseen(truth, [span for _event, span in events], captured):
        result.events += 1
        after_s, length_ms = (entry["start_ns"] - captured[0]) / 1e9, (entry["end_ns"] - entry["start_ns"]) / MS
        result.misses.append(f"{row['host']} {length_ms:.0f} ms by {entry['comm']}, {after_s:.3f} s after its capture began: no event")
    return result


def unseen(truth: list[dict], spans: Sequence[Interval], captured: Interval) -> Iterator[dict]:
    """The stalls wholly in the time of the capture that are long enough to be seen, and of which no event has any part."""
    for entry in truth:
        long = entry["end_ns"] - entry["start_ns"] >= SURE_MS * MS
        if long and _within(_made(entry), captured) and not any(overlap(_made(entry), span) > 0 for span in spans):
            yield entry


def _made(entry: dict) -> Interval:
    return entry["start_ns"], entry["end_ns"]


def _span(event: dict) -> Interval:
    return event["start_ns"], event["start_ns"] + int(event["duration_ms"] * MS)


def _within(span: Interval, window: Interval) -> bool:
    return window[0] <= span[0] and span[1] <= window[1]


def _wrong(event: dict, made: dict, want: dict, culprits: list[dict], stall_cpu: int) -> list[str]:
    if want["class"] == "R":
        # The service was late on no particular CPU: the event names nobody, the capture does for all of them
        late = next((culprit for culprit in culprits if culprit["class"] == "R"), {})
        return _differences(("class", "R", event["class"]), *((key, made[key], late.get(key)) for key in ("comm", "pid")))
    blocker = event["blocker"] or {}
    culprit = next((culprit for culprit in culprits if culprit["pid"] == blocker.get("pid")), {})
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
