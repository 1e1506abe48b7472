"""Where packets are on time and a service is late: whose quota ran out, or who is late by itself."""

import pytest

from tests.unit.simcapture import IDLE, NAPI, READER, STALLS, SWAPPER, USER, Capture, row


def throttled(**lost):
    """Groups with how often, and for how many microseconds together, each was out of quota in the window."""
    before = {f"/{name}": {"periods": 10, "throttled": 0, "throttled_us": 0} for name in lost}
    after = {f"/{name}": {"periods": 300, "throttled": times, "throttled_us": spent_us} for name, (times, spent_us) in lost.items()}
    return {
        "throttled": {
            "available": True,
            "reason": None,
            "start": {"groups": before},
            "end": {"groups": after, "grown": len(lost), "complete": True},
            "start_ns": 0,
            "end_ns": 30 * 10**9,
            "series": None,
        }
    }


def process(comm, cpu_cgroup, unit=None):
    return {
        "comm": comm,
        "exe": None,
        "unit": unit,
        "cgroup": "/memory/of/all",
        "cpu_cgroup": cpu_cgroup,
        "container": None,
        "policy": "other",
        "priority": None,
        "cmdline": None,
    }


CONNECTION = {
    "local": "10.244.4.1:30080",
    "peer": "198.18.0.9:40001",
    "pid": 8000,
    "comm": "web",
    "rtt_ms": 0.1,
    "min_rtt_ms": 0.1,
    "retransmits": 0,
    "unread_bytes": 100,
    "unacked": 0,
}
LOST = (12, 1_300_000)


def spans(before=0.1, after=0.1, stalls=STALLS, polled=(0, 30)):
    """What a capture's `throttled` says of a group, seconds: out of quota from so long before each of the stalls until so long after it."""

    def row_of(capture):
        held = [[capture.at(start - before), capture.at(start + length + after)] for start, length in stalls]
        return {"path": "/pod", "polled": [capture.at(moment) for moment in polled], "spans": held}

    return row_of


IN_STALLS = spans()


def late(
    processes=None,
    connections=(CONNECTION,),
    observe=None,
    sampled=("batch-job", 7000, 7000),
    also=None,
    when=IN_STALLS,
    endpoints=None,
    **changes,
):
    """The row of the host, where a task runs out its quota just before each of twelve late answers of the service `web` (pid 8000).

    `also`: what else the capture has; `endpoints`: by service, where it listens; `when`: the row of the group /pod in its `throttled`,
    None: not measured.
    """
    capture = Capture(more={"processes": processes or {}, "connections": list(connections)}, **changes)
    for start, _length in STALLS if sampled else []:
        capture.run(start - 0.015, start, sampled, USER, policy="other")
    if also:
        also(capture)
    capture.more["throttled"] = [when(capture)] if when else None
    return row(capture, component="app:web", host="node-b1-1", observe=observe or throttled(pod=LOST), endpoints=endpoints)


def confidence(found, cause="cfs-throttle"):
    return next((known["confidence"] for known in found["causes"] if known["id"] == cause), None)


@pytest.mark.parametrize("serving", ["/pod", "/pod/web", "/docker/4711/pod"])
def test_a_service_whose_control_group_ran_out_of_quota(serving):
    found = late({"7000": process("batch-job", "/pod"), "8000": process("web", serving)})
    assert found["blame"]["side"] == "application" and found["capture"]["class"] == "R"
    assert {event["class"] for event in found["events"] if event["window"] == "capture"} == {"R"}
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["trigger"]["cpu"]) == ("batch-job", 7000, None)
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and found["capture"]["confidence"] == "medium"
    assert "its control group /pod was out of CPU quota 12 times" in found["capture"]["sentence"] and confidence(found) == "probable"


@pytest.mark.parametrize("serving", ["/web", "/podium", "/"])
def test_a_throttled_group_that_the_service_is_not_in_is_not_blamed(serving):
    found = late({"7000": process("batch-job", "/pod", "ci.service"), "8000": process("web", serving)})
    (culprit,) = found["capture"]["culprits"]
    assert (found["trigger"]["comm"], found["trigger"]["pid"], culprit["cgroup"], culprit["events"]) == ("web", 8000, serving, 0)
    assert confidence(found) is None and found["remedies"] == []


def test_of_the_throttled_groups_the_service_s_own_counts():
    """Though another lost more."""
    lost = throttled(pod=LOST, ci=(200, 9_000_000))
    found = late({"7000": process("ci-job", "/ci"), "8000": process("web", "/pod")}, observe=lost, sampled=("ci-job", 7000, 7000))
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["cgroup"], culprit["confidence"], confidence(found)) == ("web", "/pod", "medium", "probable")


@pytest.mark.parametrize(
    ("processes", "connections"),
    [
        ({"7000": process("batch-job", "/pod")}, ()),
        ({"7000": process("batch-job", "/pod")}, (CONNECTION,)),
        ({"7000": process("batch-job", "/pod"), "8000": process("web", None) | {"cgroup": None}}, (CONNECTION,)),
    ],
    ids=["no connection", "of nobody known", "of a group not known"],
)
def test_where_it_is_not_known_who_serves_nothing_is_done_about_a_throttled_group(processes, connections):
    """It is what stall_remedy_confidence holds back: a suspected cause."""
    found = late(processes, connections)
    assert (found["trigger"]["comm"], found["capture"]["confidence"], confidence(found)) == ("batch-job", "low", "suspected")
    assert "whether the late service runs in that group is not known" in found["capture"]["sentence"]


def test_a_group_of_which_nobody_was_seen_is_named_as_a_group():
    found = row(Capture(), component="app:web", host="node-b1-1", observe=throttled(pod=LOST))
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["capture"]["confidence"]) == ("pod", None, "low")
    assert "who of it used that up was not seen" in found["capture"]["sentence"]


def test_a_service_that_is_late_by_itself_is_named_by_its_connections():
    found = row(Capture(more={"connections": [CONNECTION]}), component="app:web", host="node-b1-1")
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["class"], culprit["confidence"], culprit["events"]) == ("web", 8000, "R", "low", 0)


IN_POD = {"7000": process("batch-job", "/pod"), "8000": process("web", "/pod")}


@pytest.mark.parametrize(
    ("peer", "served"),
    [
        ("198.18.0.9:40001", True),
        ("[::ffff:198.18.0.9]:40001", True),
        ("198.18.0.1:40001", False),  # a host that does not ask this service
        ("10.244.9.1:40001", False),  # as behind NAT
        ("[2001:db8::9]:40001", False),
        ("[fe80::9%eth0]:40001", False),
        ("", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("observe", [None, {"throttled": {}}], ids=["a quota", "no quota"])
def test_who_serves_is_who_has_the_connections_of_the_stalled_flows(peer, served, observe):
    """And not who has others on the same port, in another network namespace than the service: it may be in another group."""
    found = late(IN_POD | {"8000": process("web", "/other")}, [CONNECTION | {"peer": peer}], observe)
    named = [culprit["comm"] for culprit in found["capture"]["culprits"]]
    assert named == (["web"] if served else ["batch-job"] if observe is None else [])
    assert found["capture"]["confidence"] in ("low", None) and (confidence(found) or "suspected") == "suspected"


@pytest.mark.parametrize(("listens", "sure"), [("10.244.4.10:8080", True), ("10.244.4.11:8080", False), ("10.244.4.10:8081", False)])
def test_who_serves_in_a_pod_is_who_has_the_connections_to_its_endpoint(listens, sure):
    """The NodePort's NAT has changed both of their ends."""
    within = CONNECTION | {"local": "10.244.4.10:8080", "peer": "10.244.4.1:61234"}
    found = late(IN_POD, [within], endpoints={"web": [listens]})
    assert (found["trigger"]["comm"], found["capture"]["confidence"]) == ("batch-job", "medium" if sure else "low")
    assert ("its control group /pod was out of CPU quota" in found["capture"]["sentence"]) is sure


def test_an_endpoint_tells_better_than_a_port():
    others = [CONNECTION | {"pid": 9000 + number, "comm": "other"} for number in range(3)]
    within = CONNECTION | {"local": "[::ffff:10.244.4.10]:8080", "peer": "10.244.4.1:61234"}
    found = late(IN_POD, [*others, within], observe={"throttled": {}}, endpoints={"web": ["10.244.4.10:8080"]})
    assert [(culprit["comm"], culprit["pid"]) for culprit in found["capture"]["culprits"]] == [("web", 8000)]


UNTRACED = ("The application was late, and no trace shows how its packets were handled", "no trace shows how its packets were handled")


@pytest.mark.parametrize(
    ("lacks", "of_group", "of_service"),
    [
        ((), "The host handled its packets on time and the application was late", "the host handled its packets on time"),
        (("rx_trace",), *UNTRACED),
        (("rx_trace", "recorder"), *UNTRACED),
    ],
)
def test_that_packets_were_handled_on_time_is_said_where_a_trace_shows_it(lacks, of_group, of_service):
    out_of_quota, by_itself = (late(IN_POD, observe=observe, lacks=lacks)["capture"] for observe in (None, {"throttled": {}}))
    assert out_of_quota["class"] == by_itself["class"] == "R"
    assert out_of_quota["sentence"].startswith(of_group) and of_service in by_itself["sentence"]


@pytest.mark.parametrize(
    ("when", "events", "sure", "said"),
    [
        (IN_STALLS, 12, "medium", "it was so in 12 of 12 stalls, more than chance would have it"),
        (spans(before=0.0, after=-0.02), 12, "medium", "it was so in 12 of 12 stalls, more than"),
        (spans(stalls=STALLS[:9]), 9, "medium", "it was so in 9 of 12 stalls, more than"),
        (spans(stalls=STALLS[6:], polled=(14, 30)), 6, "medium", "it was so in 6 of 6 stalls, more than"),
        (spans(before=0.9, after=0.9), 12, "low", "it was so in 12 of 12 stalls, which may be chance"),
        (spans(stalls=STALLS[10:], polled=(23, 30)), 2, "low", "it was so in 2 of 2 stalls, more than"),
        (spans(stalls=[], polled=(29, 30)), 0, "low", "whether it was throttled during the stalls was not measured"),
        (None, 0, "low", "whether it was throttled during the stalls was not measured"),
    ],
    ids=["about them", "for most of them", "in most", "half of the window", "nearly always", "in two", "at another time", "never"],
)
def test_a_group_is_to_blame_as_far_as_it_was_out_of_quota_in_the_stalls(when, events, sure, said):
    found = late(IN_POD, when=when)
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["events"], culprit["confidence"]) == ("batch-job", events, sure)
    assert said in found["capture"]["sentence"] and confidence(found) == ("probable" if sure == "medium" else "suspected")
    assert ("That explains" in found["capture"]["sentence"]) is (events > 0)


@pytest.mark.parametrize(
    "when",
    [spans(stalls=[(start + 1, length) for start, length in STALLS]), spans(stalls=STALLS[:8]), spans(after=-0.07), spans(stalls=[])],
    ids=["between them", "in too few", "for too little of each", "never"],
)
def test_a_group_that_was_out_of_quota_at_other_times_is_not_to_blame(when):
    """However much it was so in the whole window: neither as the culprit nor as a cause of who serves."""
    found = late(IN_POD, when=when)
    assert [(culprit["comm"], culprit["events"]) for culprit in found["capture"]["culprits"]] == [("web", 0)]
    assert confidence(found) is None and found["remedies"] == []
    assert late({"7000": IN_POD["7000"]}, (), when=when)["capture"]["culprits"] == []


def test_where_it_is_not_known_who_serves_the_times_alone_do_not_do():
    found = late({"7000": IN_POD["7000"]}, ())
    assert (found["capture"]["explained"]["events"], found["capture"]["confidence"], confidence(found)) == (12, "low", "suspected")


def of_the_host(note, stalls):
    """What the capture shows of stalls in which the host did not handle its packets on time."""

    def add(capture):
        for start, length in stalls:
            end = start + length
            if note == "stolen":
                capture.gap(start, end).hole(start, end)
                continue
            capture.gap(start, end, handler=("ksoftirqd/1", 23, 23) if note == "several" else NAPI)
            halves = [(start, start + length / 2), (start + length / 2, end)]
            for number, (since, until) in enumerate(halves if note == "several" else [(start, end)]):
                task = SWAPPER if note == "idle" else ("loud", 5000 + number, 5000 + number)
                capture.run(since, until, task, IDLE if note == "idle" else USER, policy="other")

    return add


def reader_in(stalls):
    """Stalls in which a task kept the receive CPU."""

    def add(capture):
        for start, length in stalls:
            capture.gap(start, start + length).run(start - 0.002, start + length)

    return add


@pytest.mark.parametrize(
    ("count", "names", "explained"),
    [
        (12, ["smaps-reader"], 12),
        (9, ["smaps-reader", "batch-job"], 12),
        (6, ["smaps-reader", "batch-job"], 12),
        (5, ["batch-job"], 7),
        (0, ["batch-job"], 12),
    ],
)
def test_a_task_that_keeps_the_receive_cpu_is_named_though_the_service_is_blamed(count, names, explained):
    found = late(IN_POD, also=reader_in(STALLS[:count]))
    assert [culprit["comm"] for culprit in found["capture"]["culprits"]] == names and found["trigger"]["comm"] == names[0]
    assert found["capture"]["explained"]["events"] == explained
    assert found["capture"]["class"] == ("R" if names[0] == "batch-job" else "T")
    if names[0] == READER[0]:
        assert "smaps-reader (pid 4711) had kept that CPU" in found["capture"]["sentence"]


STEAL = {
    "cpu": {
        "available": True,
        "reason": None,
        "start": {"ticks_per_s": 100, "cpus": {"1": {"steal": 0}}},
        "end": {"ticks_per_s": 100, "cpus": {"1": {"steal": 150}}},
        "start_ns": 0,
        "end_ns": 30 * 10**9,
        "series": None,
    }
}


@pytest.mark.parametrize("note", ["several", "idle", "stolen"])
@pytest.mark.parametrize("count", [2, 9])
def test_a_stall_whose_packets_the_host_held_is_not_the_application_s(note, count):
    """Each stall is explained once at most, and a group that explains few of them is doubtful."""
    found = late(IN_POD, observe=throttled(pod=LOST) | STEAL, also=of_the_host(note, STALLS[-count:]))
    (culprit,) = found["capture"]["culprits"]
    others = count if note == "stolen" else 0
    assert [shown["note"] for shown in found["capture"]["timeline"]].count(note) == min(count, 6)
    assert (culprit["events"], found["capture"]["explained"]) == (12 - count, {"events": 12 - count + others, "of": 12})
    assert culprit["confidence"] == ("medium" if count == 2 else "low")


SYSCALL = "entry_SYSCALL_64_after_hwframe;do_syscall_64"
COMPACT = "asm_exc_page_fault;handle_mm_fault;__alloc_pages_direct_compact;try_to_compact_pages;compact_zone;isolate_migratepages_block"
NUMA = "irqentry_exit_to_user_mode;task_work_run;task_numa_work;change_prot_numa;change_protection_range"
AUDIT = f"{SYSCALL};syscall_exit_work;__audit_syscall_exit;audit_log_exit;audit_log_start"
RTNL = f"{SYSCALL};__x64_sys_ioctl;dev_ioctl;rtnl_lock;__mutex_lock.constprop.0;mutex_spin_on_owner"
EEPROM = f"{SYSCALL};__x64_sys_ioctl;sock_ioctl;dev_ioctl;dev_ethtool;ethtool_get_any_eeprom;ixgbe_get_module_eeprom"
SMAPS = f"{SYSCALL};__x64_sys_read;ksys_read;vfs_read;seq_read_iter;show_smaps_rollup;smap_gather_stats;smaps_pte_range"
WEB = ("web", 8000, 8001)


def counted(reader, start, end):
    return {reader: {"available": True, "reason": None, "start": start, "end": end, "start_ns": 0, "end_ns": 30 * 10**9, "series": None}}


LOGGED = {"counts": {"audit_backlog": 1}, "lines": [{"sequence": 1, "text": "audit: backlog limit exceeded"}], "complete": True}
REACHED = {
    "thp-compaction": (COMPACT, counted("vmstat", {"compact_stall": 5}, {"compact_stall": 305}), "probable"),
    "numa-balancing": (NUMA, counted("vmstat", {"numa_pte_updates": 5}, {"numa_pte_updates": 900_005}), "probable"),
    "audit": (AUDIT, counted("kernel_log", {}, LOGGED), "probable"),
    "rtnl": (RTNL, None, "suspected"),
    "nic-eeprom": (EEPROM, None, "suspected"),
    "smaps-clear-refs": (SMAPS, None, "suspected"),
}


def ran(stack, share=0.9, task=WEB, stalls=STALLS, observe=None, quiet=None, calls=()):
    """The row of the host whose task ran so much of each stall of the service `web`, on a CPU that handles no probe."""
    capture = Capture(more={"connections": [CONNECTION], "processes": {"8000": process("web", "/web", "web.service")}})
    capture.quiet = quiet or {("other", USER): 500}
    for start, length in stalls:
        capture.run(start + 0.002, start + 0.002 + share * length, task, stack, cpu=0, policy="other")
    for start, path in calls:
        capture.call(start, 60.0, WEB, path=path, on_cpu_ms=60.0)
    return row(capture, component="app:web", host="node-b1-1", observe=observe)


@pytest.mark.parametrize("cause", REACHED)
def test_what_the_service_itself_ran_meanwhile_names_the_cause(cause):
    stack, observe, sure = REACHED[cause]
    found = ran(stack, observe=observe)
    assert [(known["id"], known["class"], known["confidence"]) for known in found["causes"]] == [(cause, "R", sure)]
    (culprit,) = found["capture"]["culprits"]
    assert culprit["stack"] == stack.split(";") and (culprit["comm"], culprit["unit"], culprit["events"]) == ("web", "web.service", 0)
    assert "it ran for 30% or more of 12 of 12 stalls" in found["capture"]["sentence"]


@pytest.mark.parametrize("cause", REACHED)
@pytest.mark.parametrize(
    "changes",
    [{"share": 0.2}, {"task": ("other", 9000, 9000)}, {"stalls": STALLS[:2]}, {"stalls": [(start + 1, 0.1) for start, _ in STALLS]}],
    ids=["a little", "of another", "in few stalls", "between the stalls"],
)
def test_what_did_not_keep_the_service_names_none(cause, changes):
    stack, observe, _sure = REACHED[cause]
    assert ran(stack, observe=observe, **changes)["causes"] == []


@pytest.mark.parametrize(("quiet", "as_often"), [({("web", COMPACT): 28_000}, True), ({("web", COMPACT): 2_800}, False)])
def test_what_the_service_runs_all_the_time_is_held_against_it(quiet, as_often):
    """By rates: hardly anything else may run on an idle host, so that shares would be alike."""
    (cause,) = ran(COMPACT, quiet=quiet)["causes"]
    assert any("which is about as often" in sentence for sentence in cause["evidence"]) is as_often


def test_slow_calls_of_the_service_are_its_own_where_they_are_many():
    starts = [start + 0.01 for start, _ in STALLS]
    found = ran(USER, share=0.1, calls=[(start, "/proc/self/smaps") for start in starts])
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["syscall"], culprit["path"], culprit["calls"][0]["count"]) == ("read", "/proc/self/smaps", 12)
    assert [(known["id"], known["confidence"]) for known in found["causes"]] == [("smaps-clear-refs", "suspected")]
    assert "which spends up to 60 ms in read() of /proc/self/smaps" in found["capture"]["sentence"]
    assert ran(USER, share=0.1, calls=[(start, "/proc/self/smaps") for start in starts[:2]])["causes"] == []
