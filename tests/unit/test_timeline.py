"""Each stall is joined with what the captured host's CPU ran: the right task, CPU and class, or an honest reason why not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall
from ansible_collections.fleet.stall.plugins.plugin_utils.taken import with_firmware, with_steal
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import EXPLAINED, explain
from tests.unit.simcapture import IDLE, KSOFTIRQD, NAPI, POLL, READER, TIMER, UNLOCK, USER, Capture, stalled
from tests.unit.simfleet import EPOCH_S

HOG = ("hog", 5000, 5000)
SWAPPER = ("swapper/1", 0, 0)
OTHER = ("other", 6000, 6000)
RECEIVING = "asm_common_interrupt;common_interrupt;irq_exit_rcu;handle_softirqs;net_rx_action;__napi_poll;ixgbe_poll;ipt_do_table"


def stall(start, length, flows=(1,)):
    """As probes of these flows see it: the first delayed one up to 8 ms after it began."""
    first, last = round((EPOCH_S + start + 0.008) * 1e9), round((EPOCH_S + start + length) * 1e9)
    events = [Event(flow, first, last, first - 10**7, 11, 0, False, False) for flow in flows]
    return Stall(first, last, events)


def one(capture, flows=(1,), offset_ns=0, start=2.0, length=0.118):
    return explain([stall(start, length, flows)], capture.json(), offset_ns)[0]


def test_the_lab_s_receive_stall():
    found = one(stalled([(2.0, 0.118)]))
    assert (found.cpu, found.handler.comm, found.backlog) == (1, "napi/eth0-12", 10)
    assert (found.blocker.task.comm, found.blocker.task.pid, found.klass) == ("smaps-reader", 4711, "T")
    assert found.share > 0.95 and found.before.comm == "smaps-reader"


CASES = {
    "another vector, whatever task it interrupts": (
        Capture().gap(2, 2.118, KSOFTIRQD).run(2, 2.05, SWAPPER, TIMER).run(2.05, 2.118, OTHER, TIMER.partition(";asm_")[2]),
        "SI",
        "run_timer_softirq",
        None,
    ),
    "real-time task in user mode": (Capture().gap(2, 2.118).run(2, 2.118, HOG, USER), "Q", "hog", None),
    "ordinary task in user mode while a thread waits": (Capture().gap(2, 2.118).run(2, 2.118, HOG, USER, policy="other"), "Q", "hog", None),
    "softirqs off: drained in the task's own context": (Capture().gap(2, 2.118, READER).run(2, 2.118), "SI", "smaps-reader", None),
    "interrupts off": (
        Capture().gap(2, 2.118).hole(2.001, 2.117).run(2.117, 2.118, READER, UNLOCK),
        "I",
        "smaps-reader",
        None,
    ),
    "a hole that nobody is seen to end": (Capture().gap(2, 2.118).hole(2.001, 2.117), None, None, "hole"),
    "idle": (Capture().gap(2, 2.118).run(1.9, 2.118, SWAPPER, IDLE), None, None, "idle"),
    "loud on another CPU": (Capture().gap(2, 2.118).run(1.9, 2.118, SWAPPER, IDLE).run(1, 3, HOG, USER, cpu=0), None, None, "idle"),
    "the handler itself": (Capture().gap(2, 2.118).run(1.99, 2.118, NAPI, POLL), "SI", None, "handler"),
    "a flood received in another task's name": (Capture().gap(2, 2.118, KSOFTIRQD).run(2, 2.118, HOG, RECEIVING), "SI", None, "handler"),
    "two that share it": (Capture().gap(2, 2.118).run(2, 2.06).run(2.06, 2.118, HOG, USER), None, None, "several"),
    "a third of it": (Capture().gap(2, 2.118).run(2.08, 2.118), None, None, "little"),
    "after the drain": (Capture().gap(2, 2.118).run(2.119, 2.5, HOG, USER), None, None, "little"),
    "nothing recorded": (Capture(lacks=("recorder",)).gap(2, 2.118), None, None, "no_samples"),
    "handled on time": (Capture().run(2, 2.118), None, None, "on_time"),
    "a gap of another queue": (Capture().gap(2, 2.118, flows=(7,)).run(2, 2.118), None, None, "on_time"),
    "a gap at another time": (Capture().gap(3, 3.118).run(3, 3.118), None, None, "on_time"),
    "no trace": (Capture(lacks=("rx_trace",)).run(2, 2.118).run(1, 3, HOG, USER, cpu=0), "T", "smaps-reader", None),
    "no trace, and two CPUs fit": (Capture(lacks=("rx_trace",)).run(2, 2.118).run(2, 2.118, HOG, USER, cpu=0), None, None, "no_cpu"),
    "no trace, no samples": (Capture(lacks=("rx_trace", "recorder")), None, None, "no_samples"),
}


@pytest.mark.parametrize(("capture", "klass", "who", "note"), CASES.values(), ids=CASES.keys())
def test_what_kept_the_cpu(capture, klass, who, note):
    found = one(capture)
    assert (found.klass, found.note) == (klass, note)
    assert (found.blocker and (found.blocker.vector or found.blocker.task.comm)) == who
    assert (found.blocker is None) == (found.share < EXPLAINED or note is not None)


def test_a_stall_that_was_there_before_the_first_probe_has_no_silence():
    """The trace knows no earlier probe that it could have been silent after; the CPU that handles probes is looked at all the same."""
    capture, first = Capture().run(1.9, 2.118).run(1.9, 2.118, HOG, USER, cpu=0), stall(2.0, 0.118)
    since_the_drain = {"1": [[capture.at(2.118), capture.at(30)]]}
    (found,) = explain([first], {**capture.json(), "heard": since_the_drain}, 0)
    assert (found.blocker.task.comm, found.cpu, found.handler.comm, found.backlog) == ("smaps-reader", 1, "napi/eth0-12", 0)


def spans(*seconds):
    return [[Capture().at(start), Capture().at(end)] for start, end in seconds]


HEARD = {
    "all the time": ({"1": spans((0, 30))}, True, "on_time"),
    "by a clock that is not tied to it": ({"1": spans((0, 30))}, False, "no_cpu"),
    "never": ({}, True, "no_cpu"),
    "another flow alone": ({"2": spans((0, 30))}, True, "no_cpu"),
    "not while the trace was blind": ({"1": spans((0, 1.5), (2.6, 30))}, True, "no_cpu"),
    "until it began, and from its end on": ({"1": spans((0, 1.998), (2.118, 30))}, True, "no_cpu"),
    "the one request that it waits for": ({"1": spans((1.98, 2.008), (2.119, 30))}, True, "on_time"),
    "late in it": ({"1": spans((0, 1.998), (2.09, 30))}, True, "no_cpu"),
    "nonsense": ({"1": [[None, 3], 7, [1]], "x": spans((0, 30)), "2": None}, True, "no_cpu"),
    "no list at all": (7, True, "no_cpu"),
}


@pytest.mark.parametrize(("heard", "is_tied", "note"), HEARD.values(), ids=HEARD.keys())
def test_probes_were_handled_on_time_only_where_the_trace_saw_them_handled(heard, is_tied, note):
    (found,) = explain([stall(2.0, 0.118)], {**Capture().json(), "heard": heard}, 0, is_tied=is_tied)
    assert found.note == note


@pytest.mark.parametrize(("late", "note"), [((), "on_time"), ((7,), "on_time"), ((7, 8), "no_cpu"), ((5, 6, 7, 8), "no_cpu")])
def test_of_several_flows_most_were_handled_on_time(late, note):
    heard = {str(flow): spans((0, 1.998), (2.118, 30)) if flow in late else spans((0, 30)) for flow in (5, 6, 7, 8)}
    (found,) = explain([stall(2.0, 0.118, (5, 6, 7, 8, 9))], {**Capture().json(), "heard": heard}, 0)
    assert found.note == note


def test_a_thread_that_was_moved_to_an_idle_cpu_waited_where_it_is_otherwise():
    capture = Capture().gap(2, 2.118, cpu=0, before=None).run(1.9, 2.118, SWAPPER, IDLE, cpu=0).run(2, 2.117)
    found = one(capture)
    assert (found.blocker.task.comm, found.cpu, found.handler.comm, found.backlog) == ("smaps-reader", 1, "napi/eth0-12", 10)
    capture.run(2.117, 2.4)
    assert one(capture).note == "idle", "it kept on running: the thread was not waiting for it"


def test_a_hole_is_the_hypervisor_s_where_it_stole_as_much():
    capture = Capture().gap(2, 2.118).hole(2.001, 2.117).run(2.117, 2.118, READER, UNLOCK)
    stolen = with_steal([one(capture)], {1: 110_000_000})[0]
    assert (stolen.klass, stolen.blocker) == ("X", None)
    assert with_steal([one(capture)], {1: 10_000_000, 0: 10**9})[0].klass == "I"
    ran = with_steal([one(stalled([(2.0, 0.118)]))], {1: 10**9})[0]
    assert (ran.klass, ran.blocker.task.comm) == ("T", "smaps-reader")


TOLD = [
    # what was taken in each of 20 s, which of eight stalls of 60 ms the task that ends the holes was seen in: who is blamed
    ("some, spread out, and it is seen in all", [15] * 20, 8, "I"),
    ("some, spread out, and it is seen in few", [15] * 20, 2, "I"),
    ("as much as the holes, when they were", [60, 0, 0, 0, 0] * 4, 8, "X"),
    ("not by the second, and it is seen in all", None, 8, "I"),
    ("not by the second, and it is seen in three", None, 3, "I"),
    ("not by the second, and it is seen in few", None, 2, "X"),
    ("in all seconds of stalls alone, and it is seen in all", [300], 8, "I"),
]


@pytest.mark.parametrize(("by_second", "seen", "klass"), [case[1:] for case in TOLD], ids=[case[0] for case in TOLD])
def test_time_stolen_elsewhere_acquits_nobody(by_second, seen, klass):
    starts = [1.5 + 5 * (at // 2) + 0.2 * (at % 2) for at in range(8)]
    capture = Capture()
    for at, start in enumerate(starts):
        capture.gap(start, start + 0.06).hole(start + 0.001, start + 0.059)
        if at < seen:
            capture.run(start + 0.059, start + 0.06, READER, UNLOCK)
    explained = explain([stall(start, 0.06) for start in starts], capture.json(), 0)
    steps = {1: [(capture.at(at + 1), capture.at(at + 2), taken * 10**6) for at, taken in enumerate(by_second)]} if by_second else {}
    found = with_steal(explained, {1: 300_000_000}, steps)
    assert {one.klass for one in found[:seen]} == {klass}
    assert all((one.blocker is None) is (klass == "X") for one in found[:seen])


def holes(*cpus):
    capture = Capture().gap(2, 2.118)
    for cpu in cpus:
        capture.hole(2.001, 2.117, cpu=cpu)
    return capture


NONE_STOLEN = {0: 0, 1: 0}
FIRMWARE = {
    "of all CPUs at once": (holes(0, 1), NONE_STOLEN, False, "X"),
    "of one CPU alone, which may have interrupts off": (holes(1), NONE_STOLEN, False, None),
    "of a virtual machine": (holes(0, 1), NONE_STOLEN, True, None),
    "of a machine that does not say what it is": (holes(0, 1), NONE_STOLEN, None, None),
    "of which time was stolen": (holes(0, 1), {0: 10_000_000, 1: 0}, False, None),
    "of which it is not known whether time was stolen": (holes(0, 1), {}, False, None),
    "ended by a task that had interrupts off": (holes(0, 1).run(2.117, 2.118, READER, UNLOCK), NONE_STOLEN, False, "I"),
    "where only one CPU was sampled": (Capture(more={"cpus": [1]}).gap(2, 2.118).hole(2.001, 2.117), NONE_STOLEN, False, None),
}


@pytest.mark.parametrize(("capture", "stolen", "is_virtual", "klass"), FIRMWARE.values(), ids=FIRMWARE.keys())
def test_a_hole_is_the_firmware_s_where_no_cpu_ran_and_none_was_stolen(capture, stolen, is_virtual, klass):
    found = with_firmware([one(capture)], capture.json(), stolen, is_virtual)[0]
    assert (found.klass, found.note == "firmware") == (klass, klass == "X")


@pytest.mark.parametrize("offset_s", [0.0, 60.0, -3600.0])
def test_a_wrong_clock_is_put_right_by_its_offset(offset_s):
    capture = stalled([(2.0, 0.118)], offset_s=offset_s)
    assert one(capture, offset_ns=round(offset_s * 1e9)).blocker.task.comm == "smaps-reader"
    if offset_s:
        assert one(capture).note == "outside"


def test_each_queue_has_its_own_gap():
    capture = Capture().gap(2, 2.118, flows=(1,)).run(2, 2.118).gap(2, 2.11, flows=(2,), cpu=0).run(2, 2.11, HOG, USER, cpu=0)
    assert [one(capture, flows).cpu for flows in ((1,), (2,))] == [1, 0]


def test_the_article_s_listing_has_a_handler_and_who_was_there_before():
    """No samples, no time but the order: cadvisor handled two probes in its own context, then ksoftirqd/11 ten at once."""
    cadvisor, ksoftirqd = ("cadvisor", 10137, 10436), ("ksoftirqd/11", 76, 76)
    found = one(Capture(lacks=("recorder",)).gap(2, 2.118, ksoftirqd, cpu=11, before=cadvisor))
    assert (found.cpu, found.handler.comm, found.backlog, found.before.pid, found.note) == (11, "ksoftirqd/11", 10, 10137, "no_samples")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SECONDS = st.floats(1.5, 2.5)


@st.composite
def recorded(draw):
    """Runs in any order and overlapping, on the CPU of the gap and another."""
    capture = Capture(lacks=draw(st.sampled_from([(), ("rx_trace",), ("recorder",)])))
    if draw(st.booleans()):
        capture.gap(2, draw(st.floats(2.05, 2.2)), draw(st.sampled_from([NAPI, KSOFTIRQD, READER])))
    for _ in range(draw(st.integers(0, 8))):
        start, end = sorted((draw(SECONDS), draw(SECONDS)))
        task, stack = draw(st.sampled_from([READER, HOG, OTHER, SWAPPER, NAPI])), draw(st.sampled_from([USER, IDLE, TIMER, UNLOCK, POLL]))
        capture.run(start, end, task, stack, cpu=draw(st.integers(0, 1)))
    for _ in range(draw(st.integers(0, 2))):
        start, end = sorted((draw(SECONDS), draw(SECONDS)))
        capture.hole(start, end, cpu=draw(st.integers(0, 1)))
    return capture


@settings(deadline=None)
@given(recorded(), st.floats(0.001, 0.4))
def test_shares_are_shares(capture, length):
    found = explain([stall(2.0, length + 0.009)], capture.json(), 0)[0]
    assert all(0 <= run.share <= 1 for run in found.runs)
    assert sum(run.share for run in found.runs) <= 1 + 1e-9
    assert 0 <= found.share <= 1 and (found.blocker is None or found.blocker.share >= EXPLAINED)


PARTS = ("clock", "capabilities", "gaps", "heard", "recorded", "cpus", "stacks", "runs", "holes")


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, JUNK)))
def test_what_makes_no_sense_explains_nothing_and_raises_nothing(junk):
    for capture in (junk, {**stalled([(2.0, 0.118)]).json(), **junk}):
        found = explain([stall(2.0, 0.118)], capture, 0)[0]
        assert 0 <= found.share <= 1


@settings(deadline=None)
@given(
    st.sampled_from(["runs", "gaps"]),
    st.dictionaries(st.sampled_from(["start_ns", "end_ns", "cpu", "pid", "stacks", "handled", "comm"]), JUNK),
)
def test_one_row_that_makes_no_sense_costs_itself(part, junk):
    capture = stalled([(2.0, 0.118)]).json()
    capture[part] = [{**capture[part][0], **junk}, *capture[part]]
    found = explain([stall(2.0, 0.118)], capture, 0)[0]
    assert 0 <= found.share <= 1
