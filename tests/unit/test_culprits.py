"""Whom the stalls of a captured host are put down to: the right process, and nobody who was merely there."""

import json

import pytest

from tests.unit.simcapture import (
    HOG,
    IDLE,
    KSOFTIRQD,
    NAPI,
    POLL,
    SMAPS,
    STALLS,
    SWAPPER,
    TIMER,
    UNLOCK,
    USER,
    Capture,
    of_each,
    row,
    stalled,
)


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


def test_who_ends_hole_after_hole_is_named_beside_the_hypervisor():
    """Fairly sure: 1 s of 30 was stolen, and nothing says in which seconds."""
    cpus = [{"1": {"irq": 0, "softirq": 0, "steal": steal, "idle": 0, "total": 3000}} for steal in (0, 100)]
    reading = [{"ticks_per_s": 100, "cpus": each} for each in cpus]
    steal = {"available": True, "reason": None, "start": reading[0], "end": reading[1], "series": None}
    capture = of_each(lambda c, a, b: c.gap(a, b).hole(a + 0.001, b - 0.001).run(b - 0.001, b, stack=UNLOCK))
    assert row(capture)["capture"]["confidence"] == "high"
    found = row(capture, observe={"cpu": steal})["capture"]
    (culprit,) = found["culprits"]
    assert (culprit["comm"], culprit["class"], found["confidence"], found["explained"]["events"]) == ("smaps-reader", "I", "medium", 12)
    assert any("the hypervisor took 1000 ms of that CPU" in sentence for sentence in culprit["because"])
    elsewhere = {"start_ns": capture.at(-20), "offsets_ms": list(range(1000, 51000, 1000)), "increments": {"1": [100] + [0] * 49}}
    found = row(capture, observe={"cpu": {**steal, "series": elsewhere}})["capture"]
    assert found["confidence"] == "high" and not any("hypervisor" in sentence for sentence in found["culprits"][0]["because"])


def asked(virtualisation):
    """Counters of a host that loses no time to a hypervisor."""
    cpus = {cpu: {"irq": 0, "softirq": 0, "steal": 0, "idle": 0, "total": 3000} for cpu in ("0", "1")}
    reading = {"ticks_per_s": 100, "cpus": cpus}
    machine = {"virtualisation": virtualisation, "cpus_online": "0-1"}
    return {
        "cpu": {"available": True, "reason": None, "start": reading, "end": reading, "series": None},
        "machine": {"available": True, "reason": None, "start": machine, "end": None, "series": None},
    }


def test_that_no_cpu_ran_is_the_firmware_s_on_bare_metal_alone():
    capture = of_each(lambda c, a, b: c.gap(a, b).hole(a, b, cpu=0).hole(a, b, cpu=1))
    found = row(capture, observe=asked(None))
    assert found["capture"]["class"] == "X" and found["trigger"] is None and found["capture"]["explained"] == {"events": 12, "of": 12}
    assert [(cause["id"], cause["confidence"]) for cause in found["causes"]] == [("smi", "suspected")]
    assert "no hypervisor had taken them: the firmware may have" in found["capture"]["sentence"]
    assert row(capture, observe=asked("KVM"))["causes"] == [] and row(capture)["causes"] == []
    alone = of_each(lambda c, a, b: c.gap(a, b).hole(a, b, cpu=1))
    assert row(alone, observe=asked(None))["capture"]["class"] is None, "one CPU that is not sampled may have interrupts off"
