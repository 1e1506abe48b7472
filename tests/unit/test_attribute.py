"""From a captured host to its culprit: the right process in words a person would use, and nobody who was merely there."""

import json
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import cases
from ansible_collections.fleet.stall.plugins.plugin_utils.culprits import Culprit
from tests.unit.simcapture import (
    CONTROL,
    HOST,
    IDLE,
    KSOFTIRQD,
    NAPI,
    POLL,
    SMAPS,
    STALLS,
    TIMER,
    UNLOCK,
    USER,
    Capture,
    attributed,
    stalled,
)
from tests.unit.simfleet import not_measured

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "findings.schema.json").read_text())
HOG = ("loud", 5000, 5000)
SWAPPER = ("swapper/1", 0, 0)


def run(capture, **more):
    built = attributed(capture, **more)
    jsonschema.validate(built, SCHEMA)
    json.dumps(built, allow_nan=False)
    return {row["host"]: row for row in built["hosts"]}


def row(capture, **more):
    host = more.get("host", HOST)
    return run(capture.json(host) if isinstance(capture, Capture) else capture, **more)[host]


def test_the_lab_s_receive_stall():
    found = row(stalled(STALLS))
    capture = found["capture"]
    assert capture["explained"] == {"events": 12, "of": 12} and (capture["class"], capture["confidence"]) == ("T", "high")
    (culprit,) = capture["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["cpu"], culprit["syscall"], culprit["path"]) == (
        "smaps-reader",
        4711,
        1,
        "read",
        "/proc/4712/smaps_rollup",
    )
    assert culprit["share"] > 0.95 and culprit["stack"][-1] == "smaps_pte_range"
    assert found["trigger"] == {
        "comm": "smaps-reader",
        "pid": 4711,
        "unit": "foo.service",
        "container": None,
        "syscall": "read",
        "path": "/proc/4712/smaps_rollup",
        "cpu": 1,
    }
    said = capture["sentence"]
    assert said.startswith("napi/eth0-12 on CPU 1 drained 10 probes after smaps-reader (pid 4711, foo.service) had kept that CPU for 12")
    assert "ms in read() of /proc/4712/smaps_rollup; it explains 12 of 12 stalls." in said
    assert [cause["id"] for cause in found["causes"]][:1] == ["smaps-clear-refs"] and "Known cause: " in said


def test_its_events_are_those_of_both_windows():
    found = row(stalled(STALLS))
    windows = [event["window"] for event in found["events"]]
    assert windows == ["observe"] * 12 + ["capture"] * 12
    first, last = found["events"][0], found["events"][-1]
    assert (first["cpu"], first["handled_by"], first["blocker"], first["class"]) == (None, None, None, None)
    assert (last["cpu"], last["handled_by"], last["class"], last["blocker"]["comm"]) == (1, "napi/eth0-12", "T", "smaps-reader")
    assert found["severity"]["events"] == 12, "the capture does not grade"


def test_two_culprits_share_the_stalls_between_them():
    other = ("stat-reader", 4800, 4801)
    capture = stalled(STALLS[::2])
    for start, length in STALLS[1::2]:
        capture.gap(start, start + length).run(start, start + length, other, SMAPS.replace("smaps", "stat"), policy="rr")
        capture.call(start, length * 1000, other, path="/sys/fs/cgroup/memory/memory.stat")
    found = row(capture)
    assert {(c["comm"], c["pid"], c["events"], c["path"]) for c in found["capture"]["culprits"]} == {
        ("smaps-reader", 4711, 6, "/proc/4712/smaps_rollup"),
        ("stat-reader", 4800, 6, "/sys/fs/cgroup/memory/memory.stat"),
    }
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and found["capture"]["confidence"] == "high"
    assert "Also: " in found["capture"]["sentence"]


def test_a_loud_process_on_another_cpu_is_never_named():
    capture = stalled(STALLS).run(0, 30, HOG, USER, cpu=0)
    for start, length in STALLS:
        capture.call(start, length * 1000, HOG, "write", "/dev/null")
    found = row(capture)
    assert [culprit["comm"] for culprit in found["capture"]["culprits"]] == ["smaps-reader"]
    assert "loud" not in json.dumps(found["capture"]["sentence"]) and "loud" not in json.dumps(found["trigger"])


def test_one_that_runs_as_much_while_nothing_stalls_is_not_the_cause():
    capture = Capture(quiet={("loud", USER): 28 * 700})
    for start, length in STALLS:
        capture.gap(start, start + length).run(start - 0.005, start + length, HOG, USER, policy="other")
    found = row(capture)
    assert found["trigger"] is None and found["causes"] == [] and found["capture"]["explained"]["events"] == 0
    assert "hardly the cause" in found["capture"]["sentence"] and found["capture"]["confidence"] == "low"


def test_one_whose_long_runs_mostly_meet_no_stall_is_not_the_cause():
    capture = stalled(STALLS)
    for start, length in STALLS:
        capture.run(start + 0.5, start + 0.5 + length).run(start + 1.0, start + 1.0 + length)
    (culprit,) = row(capture)["capture"]["culprits"]
    assert culprit["usual"] and any("met no stall" in sentence for sentence in culprit["because"])


def test_what_its_namesakes_or_its_own_program_do_meanwhile_does_not_speak_for_a_reader():
    """A stall is made in the kernel: to be busy in user mode, there or elsewhere, holds no packet up and excuses nothing."""
    capture = stalled(STALLS, quiet={("smaps-reader", USER): 28 * 3000})
    for start, length in STALLS:
        capture.run(start + 0.5, start + 0.5 + length, stack=USER).run(start + 1.0, start + 1.0 + length, stack=USER)
    (culprit,) = row(capture)["capture"]["culprits"]
    assert not culprit["usual"] and culprit["confidence"] == "high"


def test_a_program_that_is_started_anew_each_time():
    """Each stall has a process of its own, as of a script that calls `ss` or `iptables` once in a while."""
    capture = Capture()
    for number, (start, length) in enumerate(STALLS):
        task = ("ss", 7000 + number, 7000 + number)
        capture.gap(start, start + length).run(start, start + length, task).call(start, 1000 * length, task, on_cpu_ms=1000 * length)
    found = row(capture)
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["events"], culprit["confidence"]) == ("ss", None, 12, "high")
    assert culprit["calls"][0]["count"] == 12 and culprit["syscall"] == "read"
    assert "after ss (12 processes) had kept that CPU for" in found["capture"]["sentence"]
    assert "smaps-clear-refs" in [cause["id"] for cause in found["causes"]]


def test_one_of_few_of_many_stalls_is_doubtful():
    capture = stalled(STALLS[:3])
    for start, length in STALLS[3:]:
        capture.gap(start, start + length).run(start, start + length, SWAPPER, IDLE)
    found = row(capture)
    assert (found["capture"]["explained"]["events"], found["capture"]["confidence"]) == (3, "low")


def test_interrupts_off_are_not_excused_by_the_samples_of_quiet_time():
    """While they are off the CPU is not sampled, so that the samples elsewhere compare with nothing."""
    capture = Capture(quiet={("smaps-reader", UNLOCK): 28 * 50})
    for start, length in STALLS:
        capture.gap(start, start + length).hole(start + 0.001, start + length - 0.001).run(
            start + length - 0.001, start + length, stack=UNLOCK
        )
    found = row(capture)
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["class"], culprit["usual"], culprit["confidence"]) == ("I", False, "high")
    assert culprit["stacks"][0][1] == pytest.approx(culprit["held_ms"], rel=0.05)
    (cause,) = [cause for cause in found["causes"] if cause["id"] == "slabinfo"]
    assert not any("about as often" in sentence for sentence in cause["evidence"])


def test_what_ran_before_the_first_probe_speaks_for_nobody():
    capture = stalled(STALLS)
    for number in range(20):
        capture.run(-4 + 0.15 * number, -3.9 + 0.15 * number)
    (culprit,) = row(capture)["capture"]["culprits"]
    assert not culprit["usual"] and not any("met no stall" in sentence for sentence in culprit["because"])


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        (0, "On CPU 1: smaps"),
        (1, "napi/eth0-12 on CPU 1 drained 1 probe after"),
        (150, "napi/eth0-12 on CPU 1 drained at least 150 probes after"),
    ],
)
def test_how_many_probes_were_drained(packets, said):
    """None where the trace does not show it; a capture tells of no more than 150."""
    omitted = {"more": {"gaps_omitted": 12}} if not packets else {}
    capture = of_each(lambda c, a, b: (c.gap(a, b, packets=packets) if packets else c).run(a, b), **omitted)
    assert row(capture)["capture"]["sentence"].startswith(said)


@pytest.mark.parametrize(("count", "confidence"), [(1, "medium"), (2, "medium"), (3, "high")])
def test_few_stalls_count_for_less(count, confidence):
    found = row(stalled(STALLS[:count]), in_capture=STALLS[:count])
    assert found["capture"]["confidence"] == confidence and found["trigger"]["comm"] == "smaps-reader"
    assert found["capture"]["explained"] == {"events": count, "of": count}


def test_a_chance_meeting_is_no_pattern():
    """Two of twelve stalls are not enough to name somebody."""
    capture = stalled(STALLS[:2])
    for start, length in STALLS[2:]:
        capture.gap(start, start + length).run(start, start + length, SWAPPER, IDLE)
    found = row(capture)
    assert found["capture"]["culprits"] == [] and found["trigger"] is None
    assert "10 of 12 stalls the CPU that handled the probes was idle" in found["capture"]["sentence"]


def of_each(method, **changes):
    capture = Capture(**changes)
    for start, length in STALLS:
        method(capture, start, start + length)
    return capture


NOBODY = {
    "idle": (of_each(lambda c, a, b: c.gap(a, b).run(a - 0.1, b, SWAPPER, IDLE)), None, "was idle"),
    "a hole without an end": (of_each(lambda c, a, b: c.gap(a, b).hole(a, b)), None, "was not sampled"),
    "no run": (of_each(lambda c, a, b: c.gap(a, b)), None, "no task that was seen"),
    "the handler": (of_each(lambda c, a, b: c.gap(a, b).run(a, b, NAPI, POLL)), "SI", "napi/eth0-12 was at work itself, in veth_poll"),
    "no samples": (of_each(lambda c, a, b: c.gap(a, b), lacks=("recorder",)), None, "has no samples"),
    "on time": (Capture(), None, "handled on time, so that only the answers can have been late"),
}


@pytest.mark.parametrize(("capture", "klass", "said"), NOBODY.values(), ids=NOBODY.keys())
def test_nobody_is_named_out_of_nothing(capture, klass, said):
    found = row(capture)
    assert found["trigger"] is None and found["capture"]["culprits"] == [] and found["capture"]["class"] == klass
    assert said in found["capture"]["sentence"] and found["capture"]["explained"] == {"events": 0, "of": 12}


def test_the_raw_run_is_shown_where_nothing_fits():
    found = row(of_each(lambda c, a, b: c.gap(a, b).run(a + 0.06, b)))
    assert "The most that was seen: smaps-reader (pid 4711) in smaps_pte_range for" in found["capture"]["sentence"]


def test_tasks_that_only_together_fill_the_stalls_explain_none():
    found = row(of_each(lambda c, a, b: c.gap(a, b).run(a, (a + b) / 2).run((a + b) / 2, b, HOG, USER)))
    assert {culprit["comm"] for culprit in found["capture"]["culprits"]} == {"smaps-reader", "loud"}
    assert found["capture"]["explained"]["events"] == 0 and found["capture"]["confidence"] == "low"


def made_up(*rows):
    """A catalogue that gives these (id, confidence, symptom), whatever the case."""
    return lambda case: [{"id": name, "confidence": sure, "symptom": symptom, "remedies": []} for name, sure, symptom in rows]


def culprit(confidence="high", events=3, share=1.0, usual=False):
    return Culprit(
        comm="x", pid=1, tid=1, klass="T", events=events, share=share, cpus=[1], held_ms=1.0, longest_ms=1.0, policy=None, vector=None,
        stacks=[], calls=[], confidence=confidence, usual=usual, because=[], syscall=None,
    )  # fmt: skip


def test_a_symptom_comes_after_every_cause_however_sure():
    found = cases.causes(
        [culprit()], [], "T", {}, {}, made_up(("a", "suspected", False), ("b", "confirmed", True), ("c", "probable", False))
    )
    assert [cause["id"] for cause in found] == ["c", "a", "b"]


SURE = {
    "high": (culprit(), ["confirmed"]),
    "doubtful": (culprit("low", 3), ["probable"]),
    "with others": (culprit("low", 0), ["suspected"]),
    "without samples": (culprit("low", 0, None), ["probable"]),
    "usual": (culprit(usual=True), []),
}


@pytest.mark.parametrize(("who", "expected"), SURE.values(), ids=SURE.keys())
def test_no_cause_is_surer_than_its_culprit(who, expected):
    found = cases.causes([who], [], "T", {}, {}, made_up(("a", "confirmed", False)))
    assert [cause["confidence"] for cause in found] == expected


def test_a_softirq_is_named_whatever_task_it_interrupted():
    def timer(capture, start, end):
        task = SWAPPER if len(capture.gaps) % 2 else HOG
        capture.gap(start, end, KSOFTIRQD).run(start, end, task, TIMER if task is SWAPPER else TIMER.partition(";asm_")[2])

    found = row(of_each(timer))
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["softirq"], culprit["events"], culprit["class"]) == ("run_timer_softirq", 12, "SI")
    assert "after the softirq run_timer_softirq had kept that CPU" in found["capture"]["sentence"]
    assert "ipvs-est" in [cause["id"] for cause in found["causes"]]


def test_a_real_time_hog():
    found = row(of_each(lambda c, a, b: c.gap(a, b, KSOFTIRQD).run(a, b, HOG, USER).call(a, 100, HOG, "sched_yield", None)))
    assert found["trigger"]["syscall"] is None
    assert found["capture"]["class"] == "Q" and "in user mode, at real-time priority (fifo)" in found["capture"]["sentence"]
    assert "rt-hog" in [cause["id"] for cause in found["causes"]]


def test_time_that_the_hypervisor_stole_is_nobody_s():
    cpus = [{"1": {"irq": 0, "softirq": 0, "steal": steal, "idle": 0, "total": 3000}} for steal in (0, 120)]
    steal = {
        "available": True,
        "reason": None,
        "start": {"ticks_per_s": 100, "cpus": cpus[0]},
        "end": {"ticks_per_s": 100, "cpus": cpus[1]},
        "series": None,
    }
    found = row(of_each(lambda c, a, b: c.gap(a, b).hole(a, b)), observe={"cpu": steal})
    assert found["capture"]["class"] == "X" and found["trigger"] is None
    assert "the hypervisor had taken it" in found["capture"]["sentence"] and found["capture"]["explained"] == {"events": 12, "of": 12}


def test_a_control_never_gets_a_culprit():
    """Not even where its CPU is loud and the suspect's stalls are on."""
    rows = run(stalled(STALLS).json(), control=stalled(STALLS))
    control = rows[CONTROL]
    assert control["capture"]["role"] == "control" and control["capture"]["culprits"] == [] and control["trigger"] is None
    assert control["causes"] == [] and control["capture"]["sentence"].startswith("Control: no stall")
    assert all(row["capture"] is None for name, row in rows.items() if name not in (HOST, CONTROL))


@pytest.mark.parametrize("host", [HOST, CONTROL])
def test_that_nobody_probed_it_meanwhile_is_not_that_nothing_stalled(host):
    """Its sources had no result of the second window."""
    answers = attributed(stalled([]), in_capture=[], control=Capture(), silent=True)
    capture = next(row["capture"] for row in answers["hosts"] if row["host"] == host)
    assert capture["sentence"] == "No probe to it was answered while it was captured: how it fared then is not known."


@pytest.mark.parametrize("component", [f"source:{HOST}", "path:rack_a1"])
def test_a_fault_of_the_source_or_the_path_gets_no_culprit_on_the_target(component):
    found = row(stalled(STALLS), component=component, host="node-a2-1" if component.startswith("source") else HOST)
    assert found["capture"]["culprits"] == [] and found["trigger"] is None and found["causes"] == []


def test_a_sender_gets_no_culprit_from_its_receive_side():
    found = row(stalled(STALLS), component=f"source:{HOST}")
    assert found["blame"]["side"] == "sender"
    assert found["capture"]["culprits"] == [] and "as a sender" in found["capture"]["sentence"]


@pytest.mark.parametrize("seconds", [60.0, -3600.0])
def test_a_host_with_a_wrong_clock(seconds):
    found = row(stalled(STALLS, offset_s=seconds), clocks={HOST: seconds})
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and found["trigger"]["pid"] == 4711


def test_without_a_trace_the_verdict_is_narrower_and_says_so():
    found = row(of_each(lambda c, a, b: c.run(a, b), lacks=("rx_trace",)))
    assert found["trigger"]["comm"] == "smaps-reader" and found["capture"]["confidence"] == "low"
    assert any("who handled the delayed probes" in sentence and "no rx_trace here" in sentence for sentence in found["capture"]["missing"])
    assert found["events"][-1]["handled_by"] is None


def test_a_stall_that_only_the_capture_saw_is_explained():
    """A rare one, on a host that was asked for by name; what the first window said of it stays."""
    found = row(stalled(STALLS[:1]), stalls=[], in_capture=STALLS[:1])
    assert (found["status"], found["severity"]["events"]) == ("clear", 0)
    assert found["trigger"]["comm"] == "smaps-reader" and found["capture"]["explained"] == {"events": 1, "of": 1}


def test_a_clear_host_that_stays_clear_gets_no_culprit():
    found = row(stalled(STALLS), stalls=[], in_capture=[])
    assert found["capture"]["culprits"] == [] and "nothing on it is blamed" in found["capture"]["sentence"]


def test_no_stall_in_the_capture_is_said_and_is_no_health():
    found = row(stalled([]), in_capture=[])
    assert found["status"] == "stalling" and found["capture"]["sentence"] == "No stall was seen while it was captured."


@pytest.mark.parametrize(
    "capture",
    [
        None,
        {},
        {"status": "not_captured", "reason": "no perf here", "remedy": "install it"},
        not_measured("capture", "no perf here", "install it"),
    ],
)
def test_a_host_without_a_capture_says_why(capture):
    found = row(capture)
    assert found["capture"]["status"] == "not_captured" and found["capture"]["missing"] and found["trigger"] is None
    assert ("no perf here; install it" if capture else "no result came from it") in found["capture"]["sentence"]


@pytest.mark.parametrize(
    "part",
    [
        "runs",
        "gaps",
        "stacks",
        "folded",
        "slow_calls",
        "processes",
        "capabilities",
        "clock",
        "cost",
        "memory_cgroups",
        "connections",
        "strace",
    ],
)
@pytest.mark.parametrize("junk", [None, 5, "x", [5], {"a": 5}, [[1, 2, 3]], [{}], {"4711": 5}])
def test_a_host_that_sends_nonsense_costs_its_own_capture(part, junk):
    run({**stalled(STALLS).json(), part: junk})


def test_the_article_s_listings_without_samples():
    """Who handled the probes before the silence, and slow reads whose content is known: a likely culprit, and not more."""
    cadvisor, ksoftirqd = ("cadvisor", 10137, 10436), ("ksoftirqd/11", 76, 76)
    capture = Capture(lacks=("recorder",))
    for start, length in STALLS[:2]:
        capture.gap(start, start + length, ksoftirqd, cpu=11, before=cadvisor)
    capture.call(None, 228.1, cadvisor, path=None, buffer="cache 0\nrss 0\nrss_huge 0\nmapped_", how="strace")
    capture.call(None, 678.4, cadvisor, "futex", path=None, how="strace")
    found = row(capture, in_capture=STALLS[:2])
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["syscall"], culprit["cpu"], culprit["share"]) == ("cadvisor", 10137, "read", 11, None)
    assert (culprit["confidence"], culprit["class"], found["capture"]["explained"]["events"]) == ("low", "T", 0)
    assert culprit["buffer"].startswith("cache 0") and "ksoftirqd/11 on CPU 11 drained 10 probes" in found["capture"]["sentence"]


def throttled(times, spent_us):
    groups = [
        {"/pod": {"periods": 10, "throttled": 0, "throttled_us": 0}},
        {"/pod": {"periods": 300, "throttled": times, "throttled_us": spent_us}},
    ]
    return {
        "throttled": {
            "available": True,
            "reason": None,
            "start": {"groups": groups[0]},
            "end": {"groups": groups[1], "grown": 1},
            "start_ns": 0,
            "end_ns": 30 * 10**9,
            "series": None,
        }
    }


def test_a_service_whose_control_group_ran_out_of_quota():
    batch = {
        "comm": "batch-job",
        "exe": None,
        "unit": None,
        "cgroup": "/memory/of/all",
        "cpu_cgroup": "/pod",
        "container": None,
        "policy": "other",
        "priority": None,
        "cmdline": None,
    }
    capture = Capture(more={"processes": {"7000": batch}})
    for start, _length in STALLS:
        capture.run(start - 0.015, start, ("batch-job", 7000, 7000), USER, policy="other")
    found = row(capture, component="app:web", host="node-b1-1", observe=throttled(12, 1_300_000))
    assert found["blame"]["side"] == "application" and found["capture"]["class"] == "R"
    assert {event["class"] for event in found["events"] if event["window"] == "capture"} == {"R"}
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["trigger"]["cpu"]) == ("batch-job", 7000, None)
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and found["capture"]["confidence"] == "medium"
    assert "out of CPU quota 12 times" in found["capture"]["sentence"] and "cfs-throttle" in [cause["id"] for cause in found["causes"]]


def test_a_group_of_which_nobody_was_seen_is_named_as_a_group():
    found = row(Capture(), component="app:web", host="node-b1-1", observe=throttled(12, 1_300_000))
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["capture"]["confidence"]) == ("pod", None, "low")
    assert "who of it used that up was not seen" in found["capture"]["sentence"]


def test_a_service_that_is_late_by_itself_is_named_by_its_connections():
    connection = {
        "local": "10.244.4.1:30080",
        "peer": "198.18.0.1:40001",
        "pid": 8000,
        "comm": "web",
        "rtt_ms": 0.1,
        "min_rtt_ms": 0.1,
        "retransmits": 0,
        "unread_bytes": 100,
        "unacked": 0,
    }
    found = row(Capture(more={"connections": [connection]}), component="app:web", host="node-b1-1")
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["class"], culprit["confidence"], culprit["events"]) == ("web", 8000, "R", "low", 0)


def test_the_cost_to_the_host_is_stated():
    effect = row(stalled(STALLS))["capture"]["observer_effect"]
    assert effect["rtt_ratio"] == 1.0 and effect["cpu_percent"] == 1.0
    assert "left the median round trip as it was" in effect["sentence"]


def test_no_figure_is_a_power_of_ten():
    traced = {"pid": 4711, "comm": "smaps-reader", "seconds": 5.0, "bytes": 1, "calls": 2, "slowdown": 1234.5, "why": "x"}
    found = row(Capture(more={"strace": traced}), clocks={HOST: 3600.0})
    assert "strace slowed smaps-reader down 1234 times" in found["capture"]["observer_effect"]["sentence"]
