"""The smaller parts of a capture: plan, clock, recorder's command, stacks near gaps, suspects, size of the result."""

import base64
import copy
import gzip
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import encoding, evidence, recorder, stacks, witness
from ansible_collections.fleet.stall.plugins.module_utils.capture import plan as plans
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Late
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import SlowCall
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Sample
from tests.unit.perf_writer import Writer

MS = 1000000
FLOW = {
    "id": 1,
    "source": "b",
    "protocol": "tcp_syn",
    "family": 4,
    "port": 22,
    "source_address": "192.0.2.1",
    "source_port": None,
    "interval_ms": 10,
}
PLAN = {
    "schema_version": 1,
    "run": "r.capture",
    "host": "a",
    "token": 7,
    "starts_at": 1000.0,
    "ends_at": 1030.0,
    "dispatched_at": 995.0,
    "threshold_ms": 10,
    "addresses": ["192.0.2.2"],
    "flows": [FLOW],
    "stack_hz": 999,
    "strace_s": 5,
    "strace_bytes": 1 << 20,
    "slow_call_ms": 10,
    "memory_stat": True,
    "connections": True,
    "packets": [],
    "only_packets": False,
    "bytes_limit": 1 << 24,
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"flows": []},
        {"flows": [], "packets": [FLOW], "only_packets": True},
        {"strace_s": 0},
        {"flows": [dict(FLOW, protocol="icmp", port=None, source_address=None)]},
    ],
)
def test_sound_plans(change):
    assert plans.problems(dict(PLAN, **change)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "this module knows 1"),
        ({"host": ""}, "plan.host is ''"),
        ({"token": -1}, "plan.token is -1"),
        ({"stack_hz": 100000}, "plan.stack_hz is 100000: give an integer from 49 to 4999"),
        ({"strace_s": -1}, "give seconds, 0 for no strace"),
        ({"only_packets": None}, "plan.only_packets is None: give true or false"),
        ({"packets": None}, "plan.packets is None: give the list of flows that tcpdump is to record"),
        ({"packets": [7]}, "has no integer id"),
        ({"slow_call_ms": 0}, "plan.slow_call_ms is 0"),
        ({"ends_at": 1000.5}, "the window is 0.5 s long: give 1 s to 3600 s"),
        ({"flows": None}, "give the list of flows"),
        ({"flows": [7]}, "has no integer id"),
        ({"flows": [dict(FLOW, protocol="x")]}, "protocol 'x' is unknown"),
        ({"flows": [dict(FLOW, port=None)]}, "flow 1: port is None"),
        ({"flows": [dict(FLOW, port=70000)]}, "flow 1: port is 70000"),
        ({"flows": [dict(FLOW, source_address="1.2.3")]}, "source_address is '1.2.3'"),
        ({"flows": [dict(FLOW, interval_ms=0)]}, "interval_ms is 0"),
        ({"flows": [FLOW] * 501}, "at most 500"),
    ],
)
def test_unsound_plans(change, said):
    assert any(said in sentence for sentence in plans.problems(dict(copy.deepcopy(PLAN), **change)))


@given(
    st.dictionaries(
        st.sampled_from(sorted(PLAN)),
        st.one_of(st.none(), st.text(), st.floats(), st.lists(st.dictionaries(st.text(), st.text()))),
        min_size=1,
    )
)
def test_no_plan_breaks_the_check(change):
    assert isinstance(plans.problems(dict(PLAN, **change)), list)


@given(st.integers(1, 4096))
def test_rings_are_powers_of_two_and_bounded(cpus):
    pages = recorder.ring_pages(cpus)
    assert pages & (pages - 1) == 0
    assert pages * recorder.PAGE <= recorder.RING_BYTES
    assert pages == 8 or cpus * pages * recorder.PAGE <= recorder.RINGS_BYTES


def test_what_perf_is_called_with():
    words = recorder.arguments(999, [0, 3], "flight recorder", recorder.MODERN, 1 << 20, "/w/perf.1")
    assert words[:8] == ["record", "-q", "-e", "cpu-clock", "-F", "999", "-g", "-k"]
    assert "0,3" in words and "--overwrite" in words and "--switch-output=signal" in words and "--synth=task" in words
    plain = recorder.arguments(999, [0], "plain", (), 1 << 20, "/w/perf.1")
    assert "--overwrite" not in plain and f"--max-size={1 << 20}B" in plain


def sample(at_ms, cpu=0, pid=1, comm="a", frames=("x", "y")):
    return Sample(int(at_ms * MS), cpu, pid, pid, comm, frames)


def gap(start_ms, end_ms, cpu=0):
    return {"start_ns": start_ms * MS, "end_ns": end_ms * MS, "cpu": cpu, "handled": []}


def recording(samples, spans):
    return stacks.Recording(sorted(samples), [(start * MS, end * MS) for start, end in spans], [0, 1], [])


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
    assert [(start // MS, end // MS) for start, end in stacks.covered(samples)] == expected


@pytest.mark.parametrize(
    ("room", "cpus", "expected", "whole"),
    [
        (8, {1}, [(at, cpu) for at in range(4) for cpu in (0, 1)], True),
        (7, {1}, [(at, 1) for at in range(4)], False),
        (3, {1}, [(at, 1) for at in range(3)], False),
        (3, set(), [(0, 0), (0, 1), (1, 0)], False),
        (0, {1}, [], False),
    ],
)
def test_of_too_many_samples_those_of_the_cpus_at_fault_are_kept(room, cpus, expected, whole):
    samples = [sample(at, cpu=cpu) for at in range(4) for cpu in (0, 1)]
    kept, was_whole = stacks._within(iter(samples), room, cpus)
    assert ([(each.time_ns // MS, each.cpu) for each in kept], was_whole) == (expected, whole)


def test_samples_are_bounded_over_all_recordings_of_a_host_with_many_cpus(tmp_path, monkeypatch):
    """128 CPUs, three stalls: none of the recordings is given up for the ones before it."""
    monkeypatch.setattr(stacks, "MOST_SAMPLES", 1000)
    paths = [tmp_path / str(number) for number in range(3)]
    for number, path in enumerate(paths):
        writer = Writer()
        for cpu in range(128):
            for at in range(10):
                writer.sample((1000 * number + at) * MS, cpu, 10)
        path.write_bytes(writer.file())
    found = stacks.read([str(path) for path in paths], {3, 77})
    assert len(found.samples) == 60
    assert [(start // MS, end // MS) for start, end in found.spans] == [(0, 9), (1000, 1009), (2000, 2009)]
    assert found.problems[-1] == (
        "of 3 recordings 3 held more samples than there is room for (1000): only the CPUs whose probes waited (3, 77) were read"
    )


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
    found, holes = stacks.timed(recording(near + far, [(0, 5000)]), [gap(1000, 1100)], MS)
    assert [(run.comm, run.samples) for run in found] == [("a", 100), ("d", 40)]
    assert holes is None


def test_holes_are_those_within_one_recording_and_near_a_gap():
    idle = [Sample(at * MS, 0, 0, 0, "swapper", ("cpu_idle",)) for at in list(range(1000, 1020)) + list(range(1080, 1100))]
    given_recording = recording(idle, [(1000, 1099)])
    assert [hole[0] for hole in stacks.timed(given_recording, [gap(1020, 1080)], MS)[1]] == [0]
    assert stacks.timed(given_recording, [gap(3000, 3100)], MS)[1] == []
    assert stacks.timed(given_recording._replace(spans=[(1000 * MS, 1019 * MS), (1080 * MS, 1099 * MS)]), [gap(1020, 1080)], MS)[1] == []


def test_folded_in_gaps_and_in_quiet():
    samples = [sample(at) for at in range(1000, 1100)] + [sample(at, pid=2, comm="b") for at in range(2000, 2010)]
    samples += [sample(at, cpu=1, pid=3, comm="c") for at in range(1000, 1100)] + [Sample(2500 * MS, 0, 0, 0, "swapper", ("idle",))]
    found = stacks.folded(recording(samples, [(500, 3000)]), [gap(1000, 1099)])
    assert found["gaps"] == {("a", "x;y"): 100}
    assert found["quiet"] == {("b", "x;y"): 10}
    assert found["gaps_s"] == pytest.approx(0.099)
    assert found["quiet_s"] == pytest.approx(2.5 - 0.169)


def test_folded_without_gaps_is_quiet_on_all_cpus():
    found = stacks.folded(recording([sample(1), sample(2, cpu=1)], [(0, 1000)]), [])
    assert (found["gaps"], found["gaps_s"], found["quiet"], found["quiet_s"]) == ({}, 0.0, {("a", "x;y"): 2}, 2.0)


def call(start_ms, length_ms, pid=9, cpu=0, name="read"):
    return SlowCall(start_ms * MS, length_ms * MS, length_ms * MS, cpu, pid, pid, f"p{pid}", name, None, ())


LATE = [Late(100 * MS, 200 * MS, 0, 1), Late(500 * MS, 600 * MS, 0, 1)]


@pytest.mark.parametrize(
    ("calls", "excused", "pid"),
    [
        ([], [], None),
        ([call(100, 100), call(500, 100)], [], 9),
        ([call(100, 100)], [], None),
        ([call(300, 100), call(700, 100)], [], None),
        ([call(100, 100, cpu=1), call(500, 100, cpu=1)], [], None),
        ([call(100, 100), call(500, 100)], [9], None),
        ([call(100, 100, pid=1), call(500, 100, pid=1)], [], None),
        ([call(100, 20), call(120, 20), call(140, 20), call(100, 100, pid=8), call(500, 100, pid=8)], [], 8),
    ],
)
def test_suspect(calls, excused, pid):
    found = witness.suspect(calls, LATE, excused)
    assert (found.pid if found else None) == pid


def test_calls_near_gaps_come_before_longer_ones_elsewhere(monkeypatch):
    monkeypatch.setattr(evidence, "MOST_CALLS", 2)
    calls = [witness.Seen(each, None) for each in (call(5000, 900), call(100, 50), call(500, 60))]
    assert [seen.call.start_ns // MS for seen in evidence.chosen(calls, [gap(100, 200), gap(500, 600)])] == [500, 100]


def test_a_witness_asks_once_and_knows_threads():
    met = witness.Witness()
    met.add(call(1, 2, pid=1))
    assert met.processes[1]["comm"]
    assert met.meet(1) is met.processes[1]
    assert met.meet(2**22 + 7)["comm"] is None


def result(gaps=0, runs=0, folded=0, calls=0):
    draw = random.Random(7)

    def text(size):
        return "".join(draw.choice("abcdefghijklmnop_;") for _ in range(size))

    handled = [[draw.getrandbits(60), 1, 2, 3, text(10), 4, draw.getrandbits(30)] for _ in range(100)]
    return {
        "schema_version": 1,
        "status": "measured",
        "gaps": [{"start_ns": at * 1000, "end_ns": at * 1000 + 10 + at, "cpu": 1, "handled": handled[: at % 100]} for at in range(gaps)],
        "gaps_omitted": 0,
        "stacks": [text(300) for _ in range(max(runs, folded))],
        "runs": [
            {"start_ns": at, "end_ns": at + 1 + at % 97, "cpu": 0, "pid": 1, "tid": 1, "comm": "a", "stacks": [[at, 3], [0, 1]]}
            for at in range(runs)
        ],
        "folded": {
            "gaps": [["a", at, 1] for at in range(folded)],
            "quiet": [["b", at, 1] for at in range(folded)],
            "gaps_s": 1,
            "quiet_s": 1,
        },
        "slow_calls": [{"start_ns": at, "duration_ms": at, "path": text(60)} for at in range(calls)],
        "processes": {str(at): {"comm": text(12), "cmdline": text(150)} for at in range(calls)},
        "connections": [],
        "packets": None,
        "omitted": {"slow_calls": 2},
    }


def unpacked(packed):
    return json.loads(gzip.decompress(packed))


def test_what_fits_is_left_alone():
    given_result = result(gaps=3, runs=5, folded=5, calls=3)
    found = unpacked(encoding.encode(given_result))
    for part in ("gaps", "slow_calls", "processes", "omitted"):
        assert found[part] == given_result[part]
    stacks_of = [[found["stacks"][at] for at, _n in run["stacks"]] for run in found["runs"]]
    assert stacks_of == [[given_result["stacks"][at] for at, _n in run["stacks"]] for run in given_result["runs"]]


@pytest.mark.parametrize("limit", [100000, 30000, 3000])
@pytest.mark.parametrize(
    "size", [{"gaps": 900}, {"runs": 1500}, {"folded": 300}, {"calls": 400}, {"gaps": 900, "runs": 1500, "folded": 300, "calls": 400}]
)
def test_what_does_not_fit_is_left_out_and_counted(size, limit):
    given_result = result(**size)
    before = copy.deepcopy(given_result)
    packed = encoding.encode(given_result, limit)
    found = unpacked(packed)
    assert given_result == before
    assert len(base64.b64encode(packed)) <= limit
    assert len(found["gaps"]) + found["gaps_omitted"] == len(before["gaps"])
    assert len(found["runs"]) + found["omitted"].get("runs", 0) == len(before["runs"])
    assert len(found["slow_calls"]) + found["omitted"]["slow_calls"] == len(before["slow_calls"]) + 2
    pointed = {at for run in found["runs"] for at, _n in run["stacks"]} | {
        row[1] for part in ("gaps", "quiet") for row in found["folded"][part]
    }
    assert pointed == set(range(len(found["stacks"])))


@pytest.mark.parametrize(("limit", "kept"), [(100000, [400, 200]), (2500, [200, 100]), (1200, [100, 50]), (300, [])])
def test_of_the_packets_the_first_of_each_flow_stay(limit, kept):
    chance = random.Random(1)
    packets = [
        {"flow": flow, "numbers": [1] * many, "at_us": [chance.randrange(2**16) for _ in range(many)]}
        for flow, many in ((1, 400), (2, 200))
    ]
    found = unpacked(encoding.encode(dict(result(), packets=packets), limit))
    assert [len(row["numbers"]) for row in found["packets"]] == [len(row["at_us"]) for row in found["packets"]] == kept
    assert [row["at_us"] for row in found["packets"]] == [row["at_us"][:many] for row, many in zip(packets, kept, strict=False)]
    assert found["omitted"].get("packets", 0) == 600 - sum(kept)


def test_handled_rows_next_to_the_end_of_the_gap_stay():
    rows = [[at, 0, 1, 1, "a", 1, at] for at in range(100)]
    found = {"gaps": [{"start_ns": 10, "end_ns": 50, "cpu": 0, "handled": rows}], "omitted": {}}
    encoding._fewer_handled(found, 12)
    assert [row[0] for row in found["gaps"][0]["handled"]] == list(range(47, 59))
    assert found["omitted"] == {"handled": 88}
