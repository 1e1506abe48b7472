"""What the flight recorder wrote down: the runs and holes near gaps, the stacks in gaps and in quiet, in one pass over the samples."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import stacks
from ansible_collections.fleet.stall.plugins.module_utils.profile import perfdata, runs
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Sample
from tests.unit.perf_writer import Writer

MS = 1000000


def sample(at_ms, cpu=0, pid=1, comm="a", frames=("x", "y")):
    return Sample(int(at_ms * MS), cpu, pid, pid, comm, frames)


def gap(start_ms, end_ms, cpu=0):
    return {"start_ns": start_ms * MS, "end_ns": end_ms * MS, "cpu": cpu, "handled": []}


def told(samples, spans, gaps):
    return stacks.told(sorted(samples), gaps, MS, [(start * MS, end * MS) for start, end in spans])


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], []),
        ([sample(1)], []),
        ([sample(1), sample(5)], [(1, 5)]),
        ([sample(1), sample(3, cpu=1), sample(8), sample(9, cpu=1)], [(3, 8)]),
        ([sample(1), sample(2), sample(8, cpu=1), sample(9, cpu=1)], []),
    ],
)
def test_covered(samples, expected):
    spans = []
    assert list(stacks.covered(samples, spans)) == samples
    assert [(start // MS, end // MS) for start, end in spans] == expected


def test_a_crowded_recording_gives_up_none_for_the_ones_before_it(tmp_path, monkeypatch):
    """128 CPUs, three stalls."""
    monkeypatch.setattr(perfdata, "QUEUE_LIMIT", 1000)
    paths = [tmp_path / str(number) for number in range(3)]
    for number, path in enumerate(paths):
        writer = Writer()
        for cpu in range(128):
            for at in range(10):
                writer.sample((1000 * number + at) * MS, cpu, 10)
        path.write_bytes(writer.file())
    found = stacks.read([str(path) for path in paths], [gap(0, 3000, cpu=3)], MS, {3, 77})
    assert found.cpus == [3, 77] and sum(found.folded["gaps"].values()) == 30
    assert [(start // MS, end // MS) for start, end in found.spans] == [(0, 9), (1000, 1009), (2000, 2009)]
    assert found.problems[-1] == (
        "of 3 recordings 3 held more samples than there is room for (1000): only the CPUs whose probes waited (3, 77) were read"
    )


def test_what_cannot_be_read_does_not_hide_the_rest(tmp_path):
    writer = Writer()
    for at in range(10):
        writer.sample(at * MS, 0, 10)
    (tmp_path / "whole").write_bytes(writer.file())
    (tmp_path / "broken").write_bytes(b"no recording")
    found = stacks.read([str(tmp_path / name) for name in ("broken", "absent", "whole")], [], MS)
    assert sum(found.folded["quiet"].values()) == 10 and found.spans == [(0, 9 * MS)]
    assert len([problem for problem in found.problems if "a recording of perf can't be read" in problem]) == 2


def test_recordings_that_there_is_no_time_for_are_not_begun(tmp_path, monkeypatch):
    """A look at the clock before each of three: the third is too late."""
    clock = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(stacks.time, "monotonic", lambda: next(clock))
    paths = [tmp_path / str(number) for number in range(3)]
    for number, path in enumerate(paths):
        writer = Writer()
        writer.sample(number * MS, 0, 10)
        path.write_bytes(writer.file())
    found = stacks.read([str(path) for path in paths], [], MS, (), 3.0)
    assert sum(found.folded["quiet"].values()) == 2
    assert found.problems[-1] == "of 3 recordings the last 1 were not read: there was no time"


def test_no_recording():
    found = stacks.read([], [gap(1000, 1100)], MS)
    assert found == ([], None, {"gaps": {}, "quiet": {}, "gaps_s": 0.0, "quiet_s": 0.0}, [], [], [])


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)).map(lambda at: (at[0], at[0] + at[1]))),
    st.integers(0, 120),
    st.integers(0, 30),
)
def test_windows_touch_as_their_definition_says(spans, start, length):
    expected = any(a <= start + length and start <= b for a, b in spans)
    assert stacks.Windows(spans).touch(start, start + length) == expected


@pytest.mark.parametrize(("apart", "expected"), [(0, [(0, 5), (7, 9)]), (2, [(0, 9)])])
def test_joined(apart, expected):
    assert stacks.joined([(7, 9), (0, 4), (3, 5)], apart) == expected


def test_runs_near_gaps_are_kept_and_the_longest_elsewhere(monkeypatch):
    monkeypatch.setattr(stacks, "MOST_ELSEWHERE", 1)
    near = [sample(at) for at in range(1000, 1100)] + [sample(at, pid=2, comm="b") for at in range(1100, 1102)]
    far = [sample(at, pid=3, comm="c") for at in range(3000, 3010)] + [sample(at, pid=4, comm="d") for at in range(3010, 3050)]
    found = told(near + far, [(0, 5000)], [gap(1000, 1100)])
    assert [(run.comm, run.samples) for run in found.runs] == [("a", 100), ("d", 40)]
    assert found.holes is None


def test_holes_are_those_within_one_recording_and_near_a_gap():
    idle = [Sample(at * MS, 0, 0, 0, "swapper", ("cpu_idle",)) for at in list(range(1000, 1020)) + list(range(1080, 1100))]
    whole = [(1000, 1099)]
    assert [hole[0] for hole in told(idle, whole, [gap(1020, 1080)]).holes] == [0]
    assert told(idle, whole, [gap(3000, 3100)]).holes == []
    assert told(idle, [(1000, 1019), (1080, 1099)], [gap(1020, 1080)]).holes == []


def test_folded_in_gaps_and_in_quiet():
    samples = [sample(at) for at in range(1000, 1100)] + [sample(at, pid=2, comm="b") for at in range(2000, 2010)]
    samples += [sample(at, cpu=1, pid=3, comm="c") for at in range(1000, 1100)] + [Sample(2500 * MS, 0, 0, 0, "swapper", ("idle",))]
    found = told(samples, [(500, 3000)], [gap(1000, 1099)]).folded
    assert found["gaps"] == {("a", "x;y"): 100}
    assert found["quiet"] == {("b", "x;y"): 10}
    assert found["gaps_s"] == pytest.approx(0.099)
    assert found["quiet_s"] == pytest.approx(2.5 - 0.169)


def test_folded_without_gaps_is_quiet_on_all_cpus():
    found = told([sample(1), sample(2, cpu=1)], [(0, 1000)], []).folded
    assert (found["gaps"], found["gaps_s"], found["quiet"], found["quiet_s"]) == ({}, 0.0, {("a", "x;y"): 2}, 2.0)


def test_of_different_stacks_there_is_a_limit_and_those_met_before_go_on_counting(monkeypatch):
    monkeypatch.setattr(stacks, "MOST_FOLDED", 2)
    samples = [sample(at, frames=(f"f{min(at, 9 - at)}",)) for at in range(10)]
    assert told(samples, [(0, 9)], []).folded["quiet"] == {("a", "f0"): 2, ("a", "f1"): 2}


READ, IDLE = ("[user]", "entry_SYSCALL_64", "do_syscall_64", "sys_read", "vfs_read"), ("cpu_startup_entry", "do_idle")
TASKS = {"reader": (7, READ), "busy": (8, ("[user]",)), "swapper": (0, IDLE), "ksoftirqd/0": (9, ("ret_from_fork", "run_ksoftirqd"))}
PIECE = st.tuples(st.sampled_from([*TASKS, None]), st.integers(1, 15))
GAP = st.builds(lambda start, length, cpu: gap(start, start + length, cpu), st.integers(0, 600), st.integers(1, 60), st.integers(0, 1))


def timeline(pieces, cpu):
    """Samples of pieces (comm, how many milliseconds); None: no samples."""
    at, samples = 0, []
    for comm, length in pieces:
        if comm:
            samples += [sample(at + step, cpu, TASKS[comm][0], comm, TASKS[comm][1]) for step in range(length)]
        at += length
    return samples


def by_sorting(samples, gaps, spans, most):
    """(runs, holes, in gaps, in quiet) as their definitions say, of all samples at once."""
    found = {}
    every = sorted(runs.stream(samples, MS, found), key=lambda run: run.start_ns - run.end_ns)
    near = [(each["start_ns"] - stacks.BEFORE_NS, each["end_ns"] + stacks.AFTER_NS) for each in gaps]

    def touches(start, end):
        return any(a <= end and start <= b for a, b in near)

    holes = [(cpu, start, end) for (cpu, end), start in found.items() if touches(start, end)]
    holes = [hole for hole in holes if any(a <= hole[1] and hole[2] <= b for a, b in spans)]
    ends = {(cpu, end) for cpu, _start, end in holes}
    rest = sorted(
        (run for run in every if (run.cpu, run.start_ns) not in ends), key=lambda run: (run.start_ns - run.end_ns, run[0], run.cpu)
    )
    kept = [run for run in every if (run.cpu, run.start_ns) in ends]
    kept += [run for run in rest if touches(run[0], run[1]) and run.end_ns - run.start_ns >= stacks.SHORTEST_NS][: most[0]]
    kept += [run for run in rest if not touches(run[0], run[1]) and not runs.idle(run)][: most[1]]
    cpus = {each["cpu"] for each in gaps} or {0, 1}
    busy = [each for each in samples if each.cpu in cpus and each.pid]
    during = [each for each in busy if any(g["cpu"] == each.cpu and g["start_ns"] <= each.time_ns <= g["end_ns"] for g in gaps)]
    quiet = [each for each in busy if not touches(each.time_ns, each.time_ns)]
    counts = [dict(collections.Counter((each.comm, ";".join(each.frames)) for each in some)) for some in (during, quiet)]
    idled = any(each.pid == 0 for each in samples)
    return sorted(kept), sorted(holes, key=lambda hole: (hole[1], hole[0])) if idled else None, *counts


@given(
    st.lists(PIECE, max_size=40),
    st.lists(PIECE, max_size=40),
    st.lists(GAP, max_size=5),
    st.lists(st.integers(0, 600), min_size=2, max_size=2),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_one_pass_tells_what_all_samples_at_once_do(one, other, gaps, span, most):
    samples = sorted(timeline(one, 0) + timeline(other, 1))
    spans = [(min(span) * MS, max(span) * MS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "MOST_NEAR", most[0])
        patch.setattr(stacks, "MOST_ELSEWHERE", most[1])
        found = stacks.told(iter(samples), gaps, MS, spans)
    folded = found.folded
    assert (sorted(found.runs), found.holes, folded["gaps"], folded["quiet"]) == by_sorting(samples, gaps, spans, most)
