"""Which lines of the kernel log are kept, and as what."""

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.counters import kernel_log

KMSG = [
    "6,339,5140900,-;NET: Registered PF_INET6 protocol family\n SUBSYSTEM=net\n",
    "0,400,90000000,-;watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:123]\n",
    "4,401,95000000,-;workqueue: vmstat_update hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND\n",
    "6,402,99000000,c;bash (77): drop_caches: 3\n",
    "4,403,99500000,-;nf_conntrack: nf_conntrack: table full, dropping packet\x1b[31m\n",
    "not a record",
]


def test_kernel_log_keeps_the_lines_that_matter_without_control_characters():
    found = kernel_log.select(KMSG, uptime_s=100.0)
    assert found["counts"] == {"soft_lockup": 1, "hogged_cpu": 1, "drop_caches": 1, "conntrack_full": 1}
    assert found["last_sequence"] == 403
    assert found["lines"][0]["age_s"] == 10.0
    assert "\x1b" not in found["lines"][-1]["text"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("NMI watchdog: BUG: soft lockup - CPU#0 stuck for 23s! [java:3912]", "soft_lockup"),
        ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 4", "hard_lockup"),
        ("INFO: rcu_sched self-detected stall on CPU { 3}", "rcu_stall"),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "rcu_stall"),
        ("rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 3-... } 21 jiffies s: 77 root: 0x8/.", "rcu_stall"),
        ("sched: RT throttling activated", "rt_throttling"),
        ("perf: interrupt took too long (2501 > 2500), lowering kernel.perf_event_max_sample_rate to 79750", "perf_slow"),
        ("ena 0000:00:05.0 eth0: TX q 3 is paused for too long (threshold 5000000)", "tx_paused"),
        ("e1000e 0000:00:19.0 eth0: Detected Hardware Unit Hang", "tx_hang"),
        ("NETDEV WATCHDOG: eth0 (igb): transmit queue 2 timed out", "netdev_watchdog"),
        ("INFO: task kworker/0:1:77 blocked for more than 120 seconds.", "hung_task"),
        ("neighbour: arp_cache: neighbor table overflow!", "neighbour_full"),
        ("Out of memory: Killed process 77 (java)", "out_of_memory"),
        ("eth0: renamed from veth7", None),
    ],
)
def test_kernel_log_kinds(message, kind):
    assert kernel_log.kind_of(message) == kind


def test_kernel_log_of_long_ago_does_not_count():
    assert kernel_log.select(KMSG, uptime_s=100.0 + kernel_log.DAY_S)["counts"] == {}


def test_what_a_program_wrote_into_the_log_is_not_the_kernels_word():
    """Facility 1 (user) and 3 (daemon); the sequence goes on, so that nothing is taken for new twice."""
    records = [
        "12,7,1000,-;drop_caches: 3",
        "28,8,2000,-,caller=T9;systemd[1]: Out of memory",
        "6,9,3000,-,caller=T9;bash (7): drop_caches: 3",
    ]
    found = kernel_log.select(records, uptime_s=1.0)
    assert (found["counts"], found["last_sequence"]) == ({"drop_caches": 1}, 9)


def test_of_a_log_that_holds_too_much_the_newest_is_kept(monkeypatch):
    records = iter([f"6,{number},1000,-;line {number}".encode() for number in range(9)])

    def read(descriptor, size):
        try:
            return next(records)
        except StopIteration:
            raise BlockingIOError from None

    monkeypatch.setattr(kernel_log, "MOST_RECORDS", 4)
    monkeypatch.setattr(kernel_log.os, "read", read)
    found, complete = kernel_log._records(3)
    assert [kernel_log.parse(record)[0] for record in found] == [5, 6, 7, 8]
    assert not complete


def test_a_line_that_grew_older_than_a_day_hides_no_new_one():
    start = kernel_log.select(["4,1,1000000,-;drop_caches: 1"], uptime_s=kernel_log.DAY_S + 0.5)
    later = ["4,1,1000000,-;drop_caches: 1", f"4,2,{int(kernel_log.DAY_S * 1e6) + 1500000},-;drop_caches: 3"]
    _, end = kernel_log.reduce(start, kernel_log.select(later, uptime_s=kernel_log.DAY_S + 2.0))
    assert end["counts"] == {"drop_caches": 1}


def test_kernel_log_second_reading_holds_only_what_is_new():
    start = kernel_log.select(KMSG[:3], uptime_s=95.0)
    _, end = kernel_log.reduce(start, kernel_log.select(KMSG, uptime_s=100.0))
    assert end["counts"] == {"drop_caches": 1, "conntrack_full": 1}
    assert [line["kind"] for line in end["lines"]] == ["drop_caches", "conntrack_full"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("audit: audit_backlog=326 > audit_backlog_limit=320", "audit_backlog"),
        ("audit: backlog limit exceeded", "audit_backlog"),
        ("ena 0000:00:05.0 ens5: The napi handler hasn't been called for a long time but the interrupt was", "tx_paused"),
        ("mce: [Hardware Error]: Machine check events logged", "hardware_error"),
        ("** 31 printk messages dropped **", "printk_dropped"),
    ],
)
def test_lines_that_causes_ask_for_are_kept(line, kind):
    assert kernel_log.kind_of(line) == kind
