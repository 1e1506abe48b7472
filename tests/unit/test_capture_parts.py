"""The smaller parts of a capture: plan, recorder's command, suspects, what becomes of its stages."""

import copy
import os
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import (
    clock,
    evidence,
    gaps,
    recorder,
    rxtrace,
    session,
    witness,
)
from ansible_collections.fleet.stall.plugins.module_utils.capture import plan as plans
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Late
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import SlowCall
from ansible_collections.fleet.stall.plugins.module_utils.profile import runs

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
    "endpoints": [],
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
        ({"endpoints": None}, "plan.endpoints is None"),
        ({"endpoints": [["10.0.0.1", 0]]}, "plan.endpoints is [['10.0.0.1', 0]]"),
        ({"endpoints": [["web", 80]]}, "plan.endpoints is [['web', 80]]"),
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


MIB = 1 << 20


@pytest.mark.parametrize(
    ("free", "recordings", "strace", "said"),
    [
        (4096 * MIB, 16 * MIB, 1 * MIB, None),
        (64 * MIB, 16 * MIB, 1 * MIB, None),
        (32 * MIB, 8 * MIB, 1 * MIB, "only 32.0 MiB are free where the recordings are kept: they may take 8.0 MiB, not 16.0"),
        (1 * MIB, MIB // 4, MIB // 4, "only 1.0 MiB are free where the recordings are kept: they may take 0.2 MiB, not 16.0"),
    ],
)
def test_a_capture_leaves_room_where_its_files_lie(tmp_path, monkeypatch, free, recordings, strace, said):
    monkeypatch.setattr(session.statedir, "free_bytes", lambda path: free)
    found = session.Session(PLAN, str(tmp_path))
    assert (found.plan["bytes_limit"], found.recorder.bytes_limit, found.plan["strace_bytes"]) == (recordings, recordings, strace)
    assert found.rx._most_bytes == min(rxtrace.MOST_BYTES, free // 4)
    assert found.warnings == ([said] if said else [])


@given(st.integers(1, 4096), st.integers(0, 1 << 30))
def test_rings_are_powers_of_two_and_bounded(cpus, limit):
    pages = recorder.ring_pages(cpus, limit)
    assert pages & (pages - 1) == 0
    assert pages * recorder.PAGE <= recorder.RING_BYTES
    assert pages == 8 or cpus * pages * recorder.PAGE <= min(recorder.RINGS_BYTES, limit // recorder.LEAST_LOOKS)


def test_what_perf_is_called_with():
    words = recorder.arguments(999, [0, 3], "flight recorder", recorder.MODERN, 1 << 20, "/w/perf.1")
    assert words[:8] == ["record", "-q", "-e", "cpu-clock", "-F", "999", "-g", "-k"]
    assert "0,3" in words and "--overwrite" in words and "--switch-output=signal" in words and "--synth=task" in words
    plain = recorder.arguments(999, [0], "plain", (), 1 << 20, "/w/perf.1")
    assert "--overwrite" not in plain


def gap(start_ms, end_ms, cpu=0):
    return {"start_ns": start_ms * MS, "end_ns": end_ms * MS, "cpu": cpu, "handled": []}


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
    found = suspicions(calls, LATE, excused).named()
    assert (found.pid if found else None) == pid


def suspicions(calls, late, excused=(), calls_at_once=1, late_at_once=1):
    """What is suspected after these have come, so many in each look."""
    found = witness.Suspicions(excused)
    looks = max(len(calls) // calls_at_once, len(late) // late_at_once) + 1
    for look in range(looks):
        found.judge(
            calls[look * calls_at_once : (look + 1) * calls_at_once],
            late[look * late_at_once : (look + 1) * late_at_once],
        )
    return found


SPANS = st.tuples(st.integers(0, 400), st.integers(0, 60))


@given(
    st.lists(st.tuples(SPANS, st.integers(7, 9), st.sampled_from([0, 1, None]))),
    st.lists(st.tuples(SPANS, st.integers(0, 1))),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_who_is_suspected_does_not_hang_on_what_came_first(calls, late, calls_at_once, late_at_once):
    made = [call(start, length, pid=pid, cpu=cpu) for (start, length), pid, cpu in calls]
    silences = [Late(start * MS, (start + length) * MS, cpu, 1) for (start, length), cpu in late]
    total = {
        pid: [
            each.duration_ns
            for each in made
            if each.pid == pid
            and any(
                each.cpu in (None, gap.cpu)
                and each.start_ns < gap.end_ns
                and each.start_ns + each.duration_ns > gap.start_ns - witness.SLACK_NS
                for gap in silences
            )
        ]
        for pid in (7, 8, 9)
    }
    several = [(sum(lengths), pid) for pid, lengths in total.items() if len(lengths) >= witness.CALLS_TO_SUSPECT]
    found = suspicions(made, silences, (), calls_at_once, late_at_once).named()
    assert (found.pid if found else None) == max(several, default=(0, None))[1]


class Strace:
    """A strace that some processes are gone for: 8 when it is started, 7 when it attaches."""

    def __init__(self, *_):
        self.reason, self.pid = "strace was not called for", 0

    def start(self, pid, why):
        self.pid, self.reason = pid, "8 has ended" if pid == 8 else None
        return pid != 8

    def poll(self):
        self.reason = "7 has ended" if self.pid == 7 else self.reason
        return self.reason is None


@pytest.mark.parametrize(
    ("lengths", "traced", "reason"),
    [
        ({8: 100, 7: 80, 9: 60}, 9, "7 has ended"),
        ({9: 100, 8: 80}, 9, "no process was seen"),
        ({8: 100, 7: 80}, None, "7 has ended"),
        ({8: 100}, None, "8 has ended"),
    ],
)
def test_strace_is_not_spent_on_one_that_can_not_be_traced(tmp_path, monkeypatch, lengths, traced, reason):
    monkeypatch.setattr(session.strace_stage, "Stage", Strace)
    monkeypatch.setattr(session.rxperf.PerfTrace, "start", lambda trace: False)
    now = session.time.time()
    looking = session.Session(dict(PLAN, starts_at=now - 20, ends_at=now + 10), str(tmp_path))
    calls = [call(at, length, pid=pid) for pid, length in lengths.items() for at in (100, 500)]
    looking._suspicions.judge(calls, LATE)
    for _ in range(8):
        looking._look()
    assert (looking.strace and looking.strace.pid) == traced
    assert looking.strace_reason.startswith(reason)


def test_the_work_of_suspecting_grows_with_what_is_new_alone(monkeypatch):
    """A busy host: 3000 calls that overlap nothing, 900 silences of each of 20 flows, over 300 looks."""
    looked = []
    touch = gaps.Known.touch
    monkeypatch.setattr(gaps.Known, "touch", lambda *asked: looked.append(asked) or touch(*asked))
    calls = [call(90 * at, 30, cpu=1) for at in range(3000)]
    late = [Late((300 * at + flow) * MS, (300 * at + 50 + flow) * MS, 0, flow) for at in range(900) for flow in range(20)]
    found = suspicions(calls, late, calls_at_once=10, late_at_once=60)
    assert found.named() is None
    assert len(found.silences) == 900
    assert len(looked) < 3 * len(calls)


def test_the_silences_that_are_known_are_bounded(monkeypatch):
    monkeypatch.setattr(gaps, "MOST_KNOWN", 2)
    known = gaps.Known()
    for start in (0, 100, 150, 300):
        known.add(Late(start, start + 60, 5, 1))
    assert (known.cpus, len(known)) == ([5], 2)
    assert [known.touch(5, at, at + 1) for at in (30, 120, 220, 320)] == [False, True, False, True]


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


def test_who_matters_is_known_however_many_were_met_before(monkeypatch):
    monkeypatch.setattr(witness, "MOST_PROCESSES", 5)
    monkeypatch.setattr(witness.identity, "describe", lambda pid: {"comm": f"p{pid}", "policy": "fifo"})
    met = witness.Witness()
    for pid in range(100, 110):
        met.add(call(pid, 20, pid=pid))
    held = [runs.Run(0, length * MS, 1, pid, pid, "a", length, 1.0, []) for pid, length in ((30, 3), (0, 500), (31, 60))]
    wanted = evidence.known_first([{"tid": 9}], [{"pid": None}, {"pid": 8}], held, [{"pid": 105}])
    assert wanted == [9, 8, 31, 30, 105]
    for pid in wanted:
        met.meet(pid)
    assert list(met.rows(wanted[:4])) == ["9", "8", "31", "30", "100"]
    assert evidence.run_row(held[0], clock.Clock(), evidence.Table(), met)["policy"] == "fifo"


def test_who_has_a_connection_is_known_by_name_and_group(monkeypatch):
    own = os.getpid()
    rows = [{"local": "192.0.2.2:80", "pid": pid} for pid in (own, own, None)]
    found = {"rows": rows, "seen": 3, "complete": True, "unseen": "a pod was out of reach"}
    monkeypatch.setattr(session.connections, "survey", lambda asked, endpoints: found)
    looking = session.Session.__new__(session.Session)
    met = []
    looking.plan, looking.throttle = {"flows": [], "endpoints": []}, types.SimpleNamespace(meet=met.append)
    looking.witness, looking.capabilities, looking.warnings = witness.Witness(), {}, []
    looking._look_at_connections()
    assert looking.connections == rows and list(looking.witness.processes) == [own]
    assert looking.warnings == ["a pod was out of reach"]
    known = looking.witness.processes[own]
    assert known["comm"] and met == [{known["cpu_cgroup"] or known["cgroup"]} - {None}]
