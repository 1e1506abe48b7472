"""Where probes came to: who ran where none was due is not to blame for stalls, nor excused by them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils.due import Due
from tests.unit.simcapture import HOG, IDLE, KSOFTIRQD, NAPI, SMAPS, STALLS, SWAPPER, USER, Capture, row, stalled

SECONDS = 30
FIRST, THEN = [100] * 15 + [0] * 15, [0] * 15 + [100] * 15
JOB = ("backup", 5100, 5100)


def bins(**cpus):
    return {"cpus": {name.removeprefix("cpu"): counts for name, counts in cpus.items()}}


def served(capture, **cpus):
    capture.served = {"start_ns": capture.at(0), "bin_ns": 10**9, **bins(**cpus)}
    return capture


@pytest.mark.parametrize("count", [4, 12])
def test_who_runs_beside_an_idle_cpu_is_not_to_blame_for_what_it_did_not_keep(count):
    """The idle task of each CPU has the same id, and another queue's packets are handled over it."""
    capture = Capture()
    for number, (start, length) in enumerate(STALLS):
        capture.gap(start, start + length, SWAPPER).run(start - 0.1, start + length, SWAPPER, IDLE)
        if number < count:
            capture.run(start, start + length, JOB, USER, cpu=2, policy="other")
    shown = capture.json()
    shown["handlers"] = [{"cpu": cpu, "pid": 0, "tid": 0, "comm": f"swapper/{cpu}", "packets": 1500} for cpu in (1, 2)]
    found = row(shown)
    assert found["trigger"] is None and found["capture"]["culprits"] == []
    assert "12 of 12 stalls the CPU that handled the probes was idle" in found["capture"]["sentence"]


def test_who_keeps_a_thread_that_is_then_moved_is_named_and_less_sure():
    capture = Capture()
    for start, length in STALLS:
        capture.gap(start, start + length, NAPI, cpu=2).run(start - 0.1, start + length, ("swapper/2", 0, 0), IDLE, cpu=2)
        capture.run(start - 0.002, start + length, HOG, SMAPS, policy="other")
    found = row(capture)
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["events"], culprit["confidence"], culprit["cpus"]) == ("loud", 12, "medium", [1])
    assert found["capture"]["sentence"].startswith(
        "napi/eth0-12, moved off CPU 1, drained 10 probes after loud (pid 5000) had kept that CPU"
    )
    assert "the thread that handles the probes there had to wait for it, and drained them on another CPU" in culprit["because"]


def reader_on_two(steady=False):
    """A reader that is at it on both CPUs all along; the queue is on one of them first, then on the other."""
    capture = served(Capture(), cpu1=[100] * 30, cpu2=[100] * 30) if steady else served(Capture(), cpu1=FIRST, cpu2=THEN)
    for start, length in STALLS:
        cpu = 1 if start < 15 else 2
        capture.gap(start, start + length, KSOFTIRQD, cpu=cpu).run(start - 0.002, start + length, cpu=cpu, policy="other")
        for later in (0.5, 1.0):
            capture.run(start + later, start + later + length, cpu=3 - cpu, policy="other")
    return capture


def test_a_reader_is_not_excused_by_what_it_does_where_the_queue_is_not():
    (culprit,) = row(reader_on_two())["capture"]["culprits"]
    assert (culprit["usual"], culprit["confidence"], culprit["events"]) == (False, "high", 12)


def test_it_is_where_probes_came_to_both():
    (culprit,) = row(reader_on_two(steady=True))["capture"]["culprits"]
    assert culprit["usual"] and any("24 runs of it there that were as long met no stall" in said for said in culprit["because"])


@pytest.mark.parametrize(
    ("rate", "usual"), [(100, True), (25, True), (15, False), (0, False), (None, True)], ids=["dense", "enough", "slow", "none", "unknown"]
)
def test_runs_that_met_no_stall_excuse_only_where_probes_were_due(rate, usual):
    """Runs of some 100 ms: at 15 probes a second they meet one or none."""
    capture = stalled(STALLS)
    for start, length in STALLS:
        capture.run(start + 0.5, start + 0.5 + length).run(start + 1.0, start + 1.0 + length)
    shown = served(capture, cpu1=[rate] * SECONDS).json() if rate is not None else dict(capture.json(), served=None)
    (culprit,) = row(shown)["capture"]["culprits"]
    assert culprit["usual"] is usual


WORKER = "ret_from_fork;kthread;worker_thread;process_one_work;{};cgroup_rstat_flush;mem_cgroup_css_rstat_flush"


def workers(of, function="flush_memcg_stats_dwork", others=()):
    """Each of so many workers of the kernel in turn."""
    capture = Capture()
    for number, (start, length) in enumerate(STALLS):
        name = 900 + number % of
        task = (f"kworker/1:{number % of}", name, name)
        capture.gap(start, start + length, KSOFTIRQD).run(start, start + length, task, WORKER.format(function), policy="other")
    for start, length in others:
        capture.run(start, start + length, ("kworker/1:9", 990, 990), WORKER.format("wb_workfn"), policy="other")
    return capture


@pytest.mark.parametrize("of", [1, 2, 6, 12])
def test_the_kernel_s_workers_are_one_culprit_by_what_they_do(of):
    """And other work of theirs excuses nobody."""
    found = row(workers(of, others=[(start + 0.5, 0.2) for start, _ in STALLS] * 2))
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["events"], culprit["confidence"], culprit["usual"]) == (12, "high", False)
    assert "in flush_memcg_stats_dwork of a work queue" in found["capture"]["sentence"]
    assert any(f"{of} workers of the kernel did, in flush_memcg_stats_dwork" == said for said in culprit["because"]) is (of > 1)


def test_their_work_while_nothing_stalls_is_held_against_them():
    capture = workers(6)
    for number, (start, length) in enumerate(STALLS):
        task = (f"kworker/1:{20 + number}", 920 + number, 920 + number)
        capture.run(start + 0.5, start + 0.5 + length, task, WORKER.format("flush_memcg_stats_dwork"), policy="other")
    (culprit,) = row(capture)["capture"]["culprits"]
    assert culprit["usual"]


def due(counts, start=10**9):
    return Due({"served": {"start_ns": start, "bin_ns": 10**9, "cpus": {"1": counts}}})


@pytest.mark.parametrize(
    ("cpu", "start", "end", "probes"),
    [
        (1, 1.0, 2.0, 10.0),
        (1, 1.5, 2.5, 15.0),
        (1, 2.0, 2.1, 2.0),
        (1, 0.0, 1.5, 5.0),
        (1, 2.5, 9.0, 10.0),
        (1, 5.0, 6.0, 0.0),
        (2, 1.0, 2.0, 0.0),
    ],
)
def test_probes_that_were_due_on_a_cpu(cpu, start, end, probes):
    assert due([10, 20]).within(cpu, round(start * 1e9), round(end * 1e9)) == pytest.approx(probes)


@pytest.mark.parametrize("stated", [None, [], {}, {"start_ns": 1, "bin_ns": 0, "cpus": {}}, {"start_ns": None, "bin_ns": 1, "cpus": {}}])
def test_without_counts_it_is_not_known(stated):
    found = Due({"served": stated})
    assert found.within(1, 0, 10) is None and not found.is_steady([1])


@pytest.mark.parametrize(("counts", "steady"), [([5] * 10, True), ([5] * 9 + [0], True), ([5] * 8 + [0] * 2, False), ([], False)])
def test_a_cpu_that_handles_probes_all_along(counts, steady):
    assert due(counts).is_steady([1]) is steady and not due(counts).is_steady([1, 2])


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_what_makes_no_sense_is_not_known_or_none(junk):
    for stated in (junk, {"start_ns": 1, "bin_ns": 5, "cpus": junk}, {"start_ns": 1, "bin_ns": 5, "cpus": {"1": junk}}):
        assert (Due({"served": stated}).within(1, 0, 100) or 0) >= 0
