"""Counters become facts by name: growth, rates and shares where they were read twice, nothing where they were not measured."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import sampler
from ansible_collections.fleet.stall.plugins.plugin_utils.facts import facts, is_known, kernel_log

TEN_S = 10 * 10**9


def observe(**readers):
    """observe.json with readers of (start, end) or (start, end, increments), ten seconds apart."""
    rows = {}
    for name, (start, end, *series) in readers.items():
        rows[name] = {
            "available": True,
            "reason": None,
            "start": start,
            "end": end,
            "start_ns": 5,
            "end_ns": TEN_S + 5,
            "series": {"start_ns": 5, "offsets_ms": [], "increments": series[0]} if series else None,
        }
    return {"counters": rows}


def softnet(*rows):
    return {
        "cpu_from": "column",
        "cpus": {str(cpu): {"processed": row[0], "time_squeeze": row[1], "backlog": 3} for cpu, row in enumerate(rows)},
    }


def stolen(steal, total):
    return {"ticks_per_s": 100, "cpus": {"0": {"irq": 0, "softirq": 0, "steal": steal, "idle": 0, "total": total}}}


THREAD = {"name": "ksoftirqd/3", "run_ns": 0, "timeslices": 0}
QUEUES = observe(
    threads=(
        {"threads": {pid: {"name": f"napi/enp65s0f0np0-{pid}", "run_delay_ns": 0} for pid in ("8213", "8214")}},
        {
            "threads": {
                "8213": {"name": "napi/enp65s0f0np0-8213", "run_delay_ns": 800 * 10**6},
                "8214": {"name": "napi/enp65s0f0np0-8214", "run_delay_ns": 10**6},
            }
        },
        {"8213": [0, 300 * 10**6], "8214": [10**6]},
    )
)
CASES = [
    (observe(softnet=(softnet((0, 0), (0, 5)), softnet((9000, 1), (1000, 9)))), "softnet.time_squeeze.growth", 5),
    (observe(softnet=(softnet((0, 0), (0, 5)), softnet((9000, 1), (1000, 9)))), "softnet.time_squeeze.per_s", 0.5),
    (observe(softnet=(softnet((0, 0), (0, 5)), softnet((9000, 1), (1000, 9)))), "softnet.1.time_squeeze.growth", 4),
    (observe(softnet=(softnet((0, 0), (0, 5)), softnet((9000, 1), (1000, 9)))), "softnet.busiest_share", 0.9),
    (observe(softnet=(softnet((0, 0), (0, 0)), softnet((90, 0), (10, 0)))), "softnet.busiest_share", None),
    (observe(softnet=(softnet((0, 0)), softnet((9000, 0)))), "softnet.busiest_share", None),
    (observe(softnet=(softnet((0, 0)), None)), "softnet.time_squeeze.growth", None),
    (observe(softnet=(softnet((2**32 - 3000, 0), (0, 0)), softnet((6000, 0), (1000, 0)))), "softnet.busiest_share", 0.9),
    (
        observe(softirqs=({"cpus": [0, 1], "vectors": {"RCU": [2**32 - 50, 5]}}, {"cpus": [0, 1], "vectors": {"RCU": [50, 55]}})),
        "softirqs.RCU.per_s",
        15,
    ),
    (observe(softnet=(softnet((0, 0)), softnet((9000, 0)))), "softnet.backlog.growth", None),
    (
        observe(softirqs=({"cpus": [0, 1], "vectors": {"RCU": [5, 5]}}, {"cpus": [0, 1], "vectors": {"RCU": [105, 55]}})),
        "softirqs.RCU.per_s",
        15,
    ),
    (
        observe(
            threads=(
                {"threads": {"31": {**THREAD, "run_delay_ns": 0}}},
                {"threads": {"31": {**THREAD, "run_delay_ns": 800 * 10**6}}},
                {"31": [0, 5 * 10**6]},
            )
        ),
        "threads.ksoftirqd/3.run_delay.ms_per_s",
        80,
    ),
    (
        observe(
            threads=(
                {"threads": {"31": {**THREAD, "run_delay_ns": 0}}},
                {"threads": {"31": {**THREAD, "run_delay_ns": 800 * 10**6}}},
                {"31": [0, 5 * 10**6]},
            )
        ),
        "threads.ksoftirqd/3.run_delay.max_ms",
        5,
    ),
    # perf and BPF cut names, /proc of newer kernels does not; of those that then share a name the one that waited most counts
    (QUEUES, "threads.napi/enp65s0f0n.run_delay.ms_per_s", 80),
    (QUEUES, "threads.napi/enp65s0f0n.run_delay.max_ms", 300),
    (QUEUES, "threads.run_delay.worst_ms_per_s", 80),
    (observe(cpu=(stolen(100, 0), stolen(200, 1000))), "cpu.0.steal.share", 0.1),
    (observe(cpu=(stolen(100, 0), stolen(200, 1000))), "cpu.steal.worst_share", 0.1),
    (observe(cpu=(stolen(100, 0), stolen(100, 1000))), "cpu.steal.worst_share", 0),
    (observe(cpu=(stolen(100, 0), stolen(110, 1000), {"0": [0, 10, 1]})), "cpu.0.steal.max_ms", 100),
    (observe(cpu=(stolen(100, 0), stolen(110, 1000), {"0": [0, 10, 1], "1": [3]})), "cpu.steal.max_ms", 100),
    (observe(cpu=(stolen(100, 0), stolen(110, 1000))), "cpu.0.steal.max_ms", None),
    (observe(pressure=({"memory": {"full": {"total": 0}}}, {"memory": {"full": {"total": 10**6}}})), "pressure.memory.full.share", 0.1),
    (observe(sockets=({"TCP": {"inuse": 5}}, {"TCP": {"inuse": 7}})), "sockets.TCP.inuse", 7),
    (
        observe(conntrack=({"count": 10, "max": 100, "stats": {"drop": 4}}, {"count": 50, "max": 100, "stats": {"drop": 9}})),
        "conntrack.used_share",
        0.5,
    ),
    (
        observe(conntrack=({"count": 10, "max": 100, "stats": {"drop": 4}}, {"count": 50, "max": 100, "stats": {"drop": 9}})),
        "conntrack.drop.growth",
        5,
    ),
    (
        observe(conntrack=({"count": 10, "max": None, "stats": None}, {"count": 50, "max": None, "stats": None})),
        "conntrack.used_share",
        None,
    ),
    (observe(rules=({}, {"ip_tables": {"nat": 9, "filter": 4}, "ip6_tables": None, "nf_tables": None})), "rules.ip_tables", 13),
    (observe(rules=({}, {"ip_tables": {"nat": 9, "filter": 4}, "ip6_tables": None, "nf_tables": None})), "rules.ip6_tables", None),
    (observe(cgroups=({}, {"controllers": {"cpu": {"num_cgroups": 80}}, "memory": {"live": 3, "dying": None}})), "cgroups.cpu.num", 80),
    (observe(cgroups=({}, {"controllers": {}, "memory": {"live": 3, "dying": None}})), "memory_cgroups.dying", None),
    (observe(cgroups=({}, {"controllers": {}, "memory": {"live": 3, "dying": 0}})), "memory_cgroups.dying", 0),
    (
        observe(
            throttled=(
                {"groups": {"/a": {"throttled": 1, "throttled_us": 0}}},
                {"groups": {"/a": {"throttled": 21, "throttled_us": 10**6}}, "complete": True, "grown": 1},
            )
        ),
        "throttled.groups./a.ms_per_s",
        100,
    ),
    (
        observe(throttled=({"groups": {}}, {"groups": {"/a": {"throttled": 4, "throttled_us": 10**5}}})),
        "throttled.groups./a.ms_per_time",
        25,
    ),
    (observe(throttled=({"groups": {}}, {"groups": {"/a": {"throttled": 0, "throttled_us": 9}}})), "throttled.groups./a.ms_per_time", None),
    (
        observe(throttled=({"groups": {}}, {"groups": {"/new": {"throttled": 20, "throttled_us": 10**6}}, "complete": True, "grown": 1})),
        "throttled.worst.ms_per_s",
        100,
    ),
    (observe(throttled=({"groups": {}}, {"groups": {}, "complete": True, "grown": 0})), "throttled.worst.ms_per_s", 0),
    (observe(throttled=({"groups": {}}, {"groups": {}, "complete": False, "grown": 0})), "throttled.worst.ms_per_s", None),
    (observe(kernel_log=({"counts": {"drop_caches": 3}}, {"counts": {"drop_caches": 1}})), "kernel_log.drop_caches.day", 3),
    (observe(kernel_log=({"counts": {"drop_caches": 3}}, {"counts": {"drop_caches": 1}})), "kernel_log.drop_caches.growth", 1),
    (observe(kernel_log=({"counts": {}}, {"counts": {}})), "kernel_log.drop_caches.growth", None),
    (observe(vmstat=({"drop_slab": 4}, {"drop_slab": 6})), "vmstat.drop_slab.growth", 2),
    (observe(netstat=({"PruneCalled": 4}, {"PruneCalled": 24})), "netstat.PruneCalled.per_s", 2),
    (
        observe(neighbours=({"arp_cache": {"entries": 1, "forced_gc_runs": 4}}, {"arp_cache": {"entries": 9, "forced_gc_runs": 6}})),
        "neighbours.arp_cache.entries",
        9,
    ),
    (
        observe(neighbours=({"arp_cache": {"entries": 1, "forced_gc_runs": 4}}, {"arp_cache": {"entries": 9, "forced_gc_runs": 6}})),
        "neighbours.arp_cache.forced_gc_runs.growth",
        2,
    ),
    (observe(machine=({"cpus_online": "0-3,8", "virtualisation": None}, None)), "machine.cpus", 5),
    (observe(machine=({"cpus_online": "0-3,8", "virtualisation": None}, None)), "machine.virtual", 0),
    (observe(machine=({"cpus_online": "0", "virtualisation": "KVM"}, None)), "machine.virtual", 1),
    (observe(ipvs=({"services": 3}, {"services": 4, "destinations": 9, "run_estimation": None})), "ipvs.run_estimation", None),
    (observe(dentries=({}, {"negative": 7})), "dentries.negative", 7),
    ({"counters": {"vmstat": {"available": False, "start": {"drop_slab": 1}, "end": {"drop_slab": 2}}}}, "vmstat.drop_slab.growth", None),
    (None, "machine.cpus", None),
]


@pytest.mark.parametrize(("result", "name", "expected"), CASES)
def test_a_fact_is_what_the_counters_say(result, name, expected):
    found = facts(result, None).get(name)
    assert found is None if expected is None else found == pytest.approx(expected)
    assert is_known(name) or name.endswith("backlog.growth")


def test_a_counter_that_restarted_did_not_grow():
    assert facts(observe(vmstat=({"drop_slab": 6}, {"drop_slab": 4})), None)["vmstat.drop_slab.growth"] == 0


def test_the_capture_has_the_last_word_on_what_both_measured():
    counters = observe(cgroups=({}, {"controllers": {}, "memory": {"live": 3, "dying": 5}}))
    capture = {"memory_cgroups": {"live": None, "dying": 22502, "read_ms": 153.0}}
    assert facts(counters, capture) == {"memory_cgroups.live": 3, "memory_cgroups.dying": 22502, "memory_cgroups.read_ms": 153}


@pytest.mark.parametrize(
    "name", ["conntrack", "conntrack.counts", "memory_cgroups.zombies", "softnet.time_squeeze", "throttled.groups.", "Conntrack.count", ""]
)
def test_a_name_that_nothing_measures_is_not_known(name):
    assert not is_known(name)


def test_lines_of_the_kernel_log_come_once_and_in_order():
    old, new = {"sequence": 1, "text": "drop_caches: 3"}, {"sequence": 9, "text": "RT throttling activated"}
    assert kernel_log(observe(kernel_log=({"lines": [old]}, {"lines": [old, new]}))) == [old["text"], new["text"]]
    assert kernel_log(observe(kernel_log=({"lines": [old]}, None))) == [old["text"]]
    assert kernel_log(None) == kernel_log({}) == []


def test_the_readers_of_this_machine_give_known_facts():
    until = time.monotonic() + 0.1
    found = facts({"counters": sampler.collect(time.monotonic(), until, lambda seconds: time.sleep(seconds) or False)}, None)
    assert {"machine.cpus", "softnet.processed.growth", "vmstat.drop_slab.growth", "cpu.steal.worst_share"} <= set(found)
    assert [name for name in found if not is_known(name)] == []


KEYS = (
    "cpus",
    "threads",
    "vectors",
    "groups",
    "counts",
    "memory",
    "controllers",
    "stats",
    "arp_cache",
    "ip_tables",
    "TCP",
    "0",
    "31",
    "steal",
    "total",
)
KEYS += ("lines", "name", "text", "cpus_online", "run_delay_ns", "complete")
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("0-3")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    ),
    max_leaves=12,
)
READERS = sorted({name for result, _, _ in CASES if result for name in result["counters"]})
rows = st.fixed_dictionaries(
    {"available": st.just(True)}, optional=dict.fromkeys(("start", "end", "start_ns", "end_ns", "series"), anything)
)


@given(st.one_of(anything, st.fixed_dictionaries({"counters": st.dictionaries(st.sampled_from(READERS), rows)})), anything)
def test_whatever_a_host_sent_gives_numbers(result, capture):
    assert all(isinstance(value, float) for value in facts(result, capture).values())
    assert all(isinstance(line, str) for line in kernel_log(result))
