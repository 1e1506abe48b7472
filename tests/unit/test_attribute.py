"""From a captured host to its verdict, in words a person would use; what a host sends that makes no sense costs its own capture."""

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import capture_words, control, culprits, observer_effect
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import explain
from tests.unit.simcapture import CONTROL, HOG, HOST, STALLS, SWAPPER, TIMER, USER, Capture, attributed, of_each, row, run, stalled
from tests.unit.simfleet import not_measured


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
    omitted = {"more": {"heard": {}}} if not packets else {}
    capture = of_each(lambda c, a, b: (c.gap(a, b, packets=packets) if packets else c).run(a, b), **omitted)
    assert row(capture)["capture"]["sentence"].startswith(said)


def test_a_control_never_gets_a_culprit():
    """Not even where its CPU is loud and the suspect's stalls are on."""
    rows = run(stalled(STALLS).json(), control=stalled(STALLS))
    clear = rows[CONTROL]
    assert clear["capture"]["role"] == "control" and clear["capture"]["culprits"] == [] and clear["trigger"] is None
    assert clear["causes"] == [] and clear["capture"]["sentence"].startswith("Control: no stall")
    assert all(row["capture"] is None for name, row in rows.items() if name not in (HOST, CONTROL))


def explained(capture):
    """Its stalls, without a fleet."""
    seen = [Event(1, capture.at(start), capture.at(start + length), 0, 11, 0, False, False) for start, length in STALLS]
    return explain([Stall(event.start_ns, event.end_ns, [event]) for event in seen], capture.json(), 0)


OTHER_READ = "entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_write;vfs_write;ext4_file_write_iter"
AGAIN = ("smaps-reader", 99, 99)


def busy(count, length, **changes):
    """A clear host whose CPU 0 is busy with something else, for so long at a time (s)."""
    capture = Capture(**changes)
    for at in range(count):
        capture.run(0.28 * at, 0.28 * at + length, HOG, USER, cpu=0)
    return capture


UNKNOWN = "does the same is not known: of its runs the longest alone were kept"
COMPARED = {
    "among as many runs as are kept, all of which are longer": (busy(100, 0.2), "high", UNKNOWN),
    "among as many, beside short ones next to a gap": (busy(103, 0.2).gap(5, 5.05).run(5, 5.01, HOG, USER), "high", UNKNOWN),
    "among fewer": (busy(99, 0.2), "high", "was not seen to do so"),
    "among as many that are not all as long": (busy(99, 0.2).run(28, 28.02, HOG, USER, cpu=0), "high", "was not seen to do so"),
    "among as many, one of them its own": (busy(99, 0.2).run(5, 5.3, AGAIN), "medium", "has the same: 1 run as long"),
    "among runs of which the shorter were left out": (busy(20, 0.2, more={"omitted": {"runs": 1}}), "high", UNKNOWN),
    "of which all runs were left out": (Capture(more={"omitted": {"runs": 300}}), "high", UNKNOWN),
    "the same": (Capture().run(5, 5.3, AGAIN).run(7, 7.2, AGAIN), "medium", "has the same: 2 runs as long met no stall there"),
    "another call of the same program": (Capture().run(5, 5.3, AGAIN, OTHER_READ), "high", "was not seen to do so in 30 s of samples"),
    "the same call of another program": (Capture().run(5, 5.3, HOG), "high", "was not seen to do so"),
    "at another priority": (Capture().run(5, 5.3, AGAIN, policy="other"), "high", "was not seen to do so"),
    "for less long": (Capture().run(5, 5.05, AGAIN), "high", "was not seen to do so"),
    "on a CPU that handles no probes": (Capture().run(5, 5.3, AGAIN, cpu=0), "high", "was not seen to do so"),
    "as nobody probed": (Capture().run(-2, -1.5, AGAIN), "high", "was not seen to do so"),
    "on a CPU that handles hardly any": (
        Capture(more={"handlers": [{"cpu": 1, "pid": 9, "tid": 9, "comm": "napi/x", "packets": 30}]}).run(5, 5.3, AGAIN), "high", None,
    ),
    "without samples": (Capture(lacks=("recorder",)), "high", None),
    "without a trace": (Capture(lacks=("rx_trace",)).run(5, 5.3, AGAIN), "high", None),
    "that sends nonsense": (Capture(more={"handlers": 5}), "high", None),
}  # fmt: skip


@pytest.mark.parametrize(("clear", "confidence", "said"), COMPARED.values(), ids=COMPARED.keys())
def test_what_a_clear_host_has_as_well_is_less_sure(clear, confidence, said):
    capture = run(stalled(STALLS).json(), control=clear)[HOST]["capture"]
    (culprit,) = capture["culprits"]
    assert (capture["confidence"], culprit["confidence"]) == (confidence, confidence)
    compared = [sentence for sentence in culprit["because"] if CONTROL in sentence]
    assert len(compared) == bool(said) and all(said in sentence for sentence in compared)
    assert all(sentence in capture["sentence"] for sentence in compared) and (CONTROL in capture["sentence"]) is bool(said)


@pytest.mark.parametrize(("stalls", "confidence"), [([], "medium"), ([(5.1, 5.2)], "high")])
def test_what_met_a_stall_of_the_control_s_own_is_nothing_ordinary(stalls, confidence):
    capture, (culprit,) = Capture().run(5, 5.3, AGAIN), culprits.judge(explained(stalled(STALLS)), stalled(STALLS).json())
    met = [(capture.at(start), capture.at(end)) for start, end in stalls]
    control.compare(culprit, control.of(CONTROL, capture.json(), met, (capture.at(0), capture.at(30))))
    assert culprit.confidence == confidence


@pytest.mark.parametrize(("policy", "confidence"), [("fifo", "medium"), ("other", "high")])
def test_a_hog_of_real_time_is_compared_with_one_of_real_time(policy, confidence):
    hog = of_each(lambda c, a, b: c.gap(a, b, before=None).run(a - 0.002, b, HOG, USER))
    capture = run(hog.json(), control=Capture().run(5, 5.3, HOG, USER, policy=policy))[HOST]["capture"]
    assert (capture["class"], capture["confidence"]) == ("Q", confidence)


def test_a_softirq_is_compared_whatever_it_interrupts():
    timer = of_each(lambda c, a, b: c.gap(a, b, before=None).run(a - 0.002, b, SWAPPER, TIMER))
    capture = run(timer.json(), control=Capture().run(5, 5.3, HOG, TIMER))[HOST]["capture"]
    assert (capture["class"], capture["confidence"]) == ("SI", "medium") and "has the same: 1 run as long" in capture["sentence"]


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


def test_the_cost_to_the_host_is_stated():
    effect = row(stalled(STALLS))["capture"]["observer_effect"]
    assert effect["rtt_ratio"] == 1.0 and effect["cpu_percent"] == 1.0
    assert "left the median round trip as it was" in effect["sentence"]


@pytest.mark.parametrize(
    ("cost", "percent"),
    [
        ({"cpu_s": 2.0, "setup_cpu_s": 1.5, "window_cpu_s": {"rx_trace": 0.2, "own": 0.1}, "traced_calls_cpu_s": 0.2}, 2.5),
        ({"cpu_s": 2.0, "setup_cpu_s": 1.5, "window_cpu_s": {}, "traced_calls_cpu_s": 0.1}, 3.0),
        ({"cpu_s": 2.0, "setup_cpu_s": 1.5}, 2.5),
        ({"traced_calls_cpu_s": 0.1}, None),
    ],
)
def test_what_the_traced_threads_spend_is_part_of_the_cost(cost, percent):
    given_capture = {"cost": cost, "clock": {"observed_s": 20}}
    assert observer_effect.effect(HOST, given_capture, None, ({"flows": []}, {}))["cpu_percent"] == percent


TRACED = {"pid": 4711, "comm": "smaps-reader", "seconds": 5.0, "bytes": 1, "calls": 2, "slowdown": 1234.5, "why": "x"}


@pytest.mark.parametrize(
    ("change", "slowdown", "said"),
    [
        ({}, 1234.5, "strace slowed smaps-reader (pid 4711) down 1234 times for 5 s"),
        ({"slowdown": None}, None, "strace was attached to smaps-reader (pid 4711) for 5 s: slowdown not measurable, too few calls"),
        ({"slowdown": 0.98}, 0.98, "strace was attached to smaps-reader (pid 4711) for 5 s and did not slow it down"),
    ],
)
def test_who_was_traced_is_said_whatever_it_did_to_it(change, slowdown, said):
    found = row(Capture(more={"strace": {**TRACED, **change}}), clocks={HOST: 3600.0})
    effect = found["capture"]["observer_effect"]
    assert effect["traced"] == {"pid": 4711, "comm": "smaps-reader", "seconds": 5.0}
    assert (effect["strace_slowdown"], effect["sentence"].rpartition("; ")[2]) == (slowdown, said)
    assert said in dict(capture_words.effects(found["capture"]))["observer effect"]


@pytest.mark.parametrize("strace", [None, [], "x"])
def test_no_process_was_traced(strace):
    effect = observer_effect.effect(HOST, {"strace": strace}, None, ({"flows": []}, {}))
    assert effect["traced"] is None and effect["strace_slowdown"] is None and "strace" not in effect["sentence"]


def test_nonsense_about_a_traced_process_is_not_known():
    strace = {"pid": "4711", "comm": 7, "seconds": True, "slowdown": "x"}
    effect = observer_effect.effect(HOST, {"strace": strace}, None, ({"flows": []}, {}))
    assert effect["traced"] == {"pid": None, "comm": None, "seconds": None}
    assert effect["sentence"].endswith("strace was attached to its process while it ran: slowdown not measurable, too few calls")
