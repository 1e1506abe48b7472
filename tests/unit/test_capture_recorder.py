"""When the flight recorder looks, and which CPUs it watches: with a tool that only notes what it is told."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import evidence, recorder

MIB = 1 << 20


class Perf:
    """Writes `FILE_BYTES` when it is nudged or ends, like a perf whose ring is full."""

    FILE_BYTES = 0
    started = []

    def __init__(self, argv, seconds, max_bytes, output, to_stdout=False):
        self.argv, self.max_bytes = argv, max_bytes
        self.cpus = argv[argv.index("-C") + 1]
        self.output, self.looks, self.ended = output, itertools.count(), None
        self.started.append(self)

    def poll(self):
        return self.ended is None

    def nudge(self):
        with open(f"{self.output}.{next(self.looks)}", "wb") as file:
            os.truncate(file.fileno(), self.FILE_BYTES)

    def finish(self):
        self.ended = 1.0
        self.nudge()

    def size(self):
        return 0

    def complaint(self):
        return ""


@pytest.fixture
def host(monkeypatch):
    """A host with `cpus` CPUs, of which perf's rings are full: recording(seconds, limit, cpus) is a recorder that has started."""

    class Tool(Perf):
        started = []

    now = {"s": 1000.0}
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now["s"])
    monkeypatch.setattr(recorder.bounded, "Tool", Tool)
    monkeypatch.setattr(recorder.bounded, "find", lambda name: name)
    monkeypatch.setattr(recorder, "unavailable", lambda: None)

    def recording(workdir, seconds=300, limit=256 * MIB, cpus=2):
        monkeypatch.setattr(recorder.source, "online_cpus", lambda: list(range(cpus)))
        Tool.FILE_BYTES = cpus * recorder.ring_pages(cpus, limit) * recorder.PAGE
        found = recorder.Recorder(999, seconds, limit, str(workdir))
        assert found.start()
        return found, Tool.started, now

    return recording


def looks_of(found, now, seconds):
    """When it looked, in seconds from its start."""
    looks, began = [], now["s"]
    while now["s"] < began + seconds:
        before = len(found.files())
        found.poll()
        if len(found.files()) > before:
            looks.append(now["s"] - began)
        now["s"] += 0.1
    return looks


@pytest.mark.parametrize(
    ("limit", "cpus", "is_whole"),
    [(256 * MIB, 2, True), (256 * MIB, 1, True), (64 * MIB, 2, False), (256 * MIB, 64, False), (2 * MIB, 2, False)],
)
def test_without_a_live_trace_the_whole_window_is_recorded_where_there_is_room(host, tmp_path, limit, cpus, is_whole):
    found, _, now = host(tmp_path, limit=limit, cpus=cpus)
    found.alone = True
    looks = looks_of(found, now, 300)
    found.finish()
    longest = max(after - before for before, after in itertools.pairwise([0.0, *looks, 300.0]))
    assert (longest <= recorder.ring_s(999, cpus, limit)) is is_whole
    assert found.bytes_written <= limit
    assert is_whole or found.bytes_written >= limit // 2
    assert longest <= 3 * 300 / len(looks)


def test_with_a_live_trace_quiet_looks_are_few(host, tmp_path):
    found, _, now = host(tmp_path)
    assert len(looks_of(found, now, 299)) == recorder.QUIET_LOOKS - 1


def test_a_recording_that_perf_renames_meanwhile_costs_nothing(host, tmp_path, monkeypatch):
    found, _, _ = host(tmp_path)
    for name in ("perf.1", "perf.1.2019112200", "perf.1.err"):
        (tmp_path / name).write_bytes(b"12345")
    stat = os.stat

    def renamed(path, **more):
        if str(path).endswith("perf.1"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return stat(path, **more)

    monkeypatch.setattr(recorder.os, "stat", renamed)
    assert found.files() == [str(tmp_path / "perf.1.2019112200")] and found._written() == 5


@pytest.mark.parametrize(("written", "reason"), [(0, "it ended without a word"), (MIB, "its file was full")])
def test_a_plain_recording_is_bounded_by_us(host, tmp_path, monkeypatch, written, reason):
    """The perf that knows of no ring knows of no --max-size, either."""
    monkeypatch.setattr(recorder, "WAYS", (("plain", ()),))
    found, started, now = host(tmp_path, limit=MIB)
    (perf,) = started
    assert perf.max_bytes == MIB and not any("--max-size" in word or "--overwrite" in word for word in perf.argv)
    now["s"] += 2
    found.poll()
    perf.size, perf.ended = lambda: written, 1.0
    found.poll()
    assert found.capability()["available"] and found.reason == f"perf ended before the window did: {reason}"


def test_cpus_that_can_not_be_read_cost_the_recording_alone(tmp_path, monkeypatch):
    def unreadable():
        raise recorder.source.Unavailable("/sys/devices/system/cpu/online: Permission denied")

    monkeypatch.setattr(recorder, "unavailable", lambda: None)
    monkeypatch.setattr(recorder.source, "online_cpus", unreadable)
    found = recorder.Recorder(999, 10, MIB, str(tmp_path))
    assert not found.start() and "Permission denied" in found.capability()["reason"]
    found.poll()
    assert found.finish() == []


@given(st.floats(0, 100), st.floats(0, 3600), st.integers(-MIB, 1 << 30), st.integers(0, 1 << 26))
def test_looks_are_never_closer_than_the_ring_reaches(reach_s, left_s, room, each):
    found = recorder.covering_s(reach_s, left_s, room, each)
    assert found >= max(reach_s, recorder.BETWEEN_S)


@pytest.mark.parametrize(
    ("cpus", "at_fault", "expected"),
    [
        (2, [[0], [0, 1]], ["0,1"]),
        (4, [[1]], ["0,1,2,3"]),
        (8, [[5]], ["all", "5"]),
        (8, [[5], [5], [5]], ["all", "5"]),
        (8, [[5], [5, 7]], ["all", "5", "5,7"]),
        (8, [[5], [5, 7], [2, 5, 7], [2, 3, 5, 7], [1, 2, 3, 5, 7]], ["all", "5", "5,7", "2,5,7", "all"]),
        (8, [[5, 6], [6, 7]], ["all", "5,6", "5,6,7"]),
    ],
)
def test_the_cpus_at_fault_are_watched_alone_and_others_join_them(host, tmp_path, cpus, at_fault, expected):
    found, started, _ = host(tmp_path, cpus=cpus)
    for each in at_fault:
        found.narrow(each)
    every = ",".join(map(str, range(cpus)))
    assert [tool.cpus for tool in started] == [every if which == "all" else which for which in expected]
    assert [tool.poll() for tool in started] == [False] * (len(expected) - 1) + [True]
    assert ",".join(map(str, found.cpus)) == started[-1].cpus


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([], "the flight recorder kept 0 of 300 s"),
        ([(0, 300)], None),
        ([(2, 150), (150, 300)], None),
        ([(-20, 10), (290, 400)], "the flight recorder kept 20 of 300 s"),
    ],
)
def test_what_share_of_the_window_was_recorded(spans, said):
    found = evidence.unrecorded([(int(start * 1e9), int(end * 1e9)) for start, end in spans], (0, int(300e9)))
    assert (found or "").startswith(said) if said else found is None
