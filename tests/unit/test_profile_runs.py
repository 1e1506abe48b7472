"""From samples to what had a CPU when, for how long and in which system call."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.profile import runs
from ansible_collections.fleet.stall.plugins.module_utils.profile.entries import Entries
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Sample

MS = 1000000
ENTRY = ("[user]", "entry_SYSCALL_64_after_hwframe", "do_syscall_64")
READ = (*ENTRY, "sys_read", "vfs_read", "seq_read", "memcg_stat_show")
READ_DEEPER = (*READ, "mem_cgroup_iter")
WRITE = (*ENTRY, "sys_write", "vfs_write")
USER = ("[user]",)
SOFTIRQ = (*READ, "apic_timer_interrupt", "smp_apic_timer_interrupt", "irq_exit", "__do_softirq", "run_rebalance_domains")
KSOFTIRQD = ("ret_from_fork", "kthread", "smpboot_thread_fn", "run_ksoftirqd", "__do_softirq", "net_rx_action")
KWORKER = ("ret_from_fork", "kthread", "worker_thread", "process_one_work")
IDLE = ("start_secondary", "cpu_startup_entry", "do_idle", "default_idle")
TASKS = {"cadvisor": 10137, "ksoftirqd/11": 76, "kworker/11:1": 99, "swapper": 0, "napi/eth0-5": 77, "other": 5}


def timeline(*pieces, cpu=11, start=1000 * MS, period=MS):
    """Samples of pieces (comm, frames, how many); frames None: nothing."""
    samples, at = [], start
    for comm, frames, count in pieces:
        for _ in range(count):
            if frames is not None:
                samples.append(Sample(at, cpu, TASKS.get(comm, 1), TASKS.get(comm, 1), comm, frames))
            at += period
    return samples


def collapse(samples):
    """All runs, by start."""
    return sorted(runs.stream(sorted(samples), MS), key=lambda run: (run.start_ns, run.cpu))


def holes(samples):
    found: runs.Holes = {}
    collections.deque(runs.stream(samples, MS, found), maxlen=0)
    return sorted((cpu, start, end) for (cpu, end), start in found.items())


def seen(samples):
    return [(run.comm, round((run.end_ns - run.start_ns) / MS), run.samples) for run in collapse(samples)]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        # the article's stall: one long read(), then the backlog
        (
            [("cadvisor", READ, 100), ("cadvisor", READ_DEEPER, 30), ("ksoftirqd/11", KSOFTIRQD, 2), ("swapper", IDLE, 20)],
            [("cadvisor", 130, 130), ("ksoftirqd/11", 2, 2), ("swapper", 20, 20)],
        ),
        # a backlog that was handled ends a run, however short, and so does idling
        (
            [("cadvisor", READ, 60), ("napi/eth0-5", KSOFTIRQD, 1), ("cadvisor", READ, 40), ("swapper", IDLE, 1), ("cadvisor", READ, 9)],
            [("cadvisor", 60, 60), ("napi/eth0-5", 1, 1), ("cadvisor", 40, 40), ("swapper", 1, 1), ("cadvisor", 9, 9)],
        ),
        # another task's short work does not, and has a run of its own
        (
            [("cadvisor", READ, 60), ("kworker/11:1", KWORKER, 2), ("cadvisor", READ, 40)],
            [("cadvisor", 102, 100), ("kworker/11:1", 2, 2)],
        ),
        (
            [("cadvisor", READ, 60), ("kworker/11:1", KWORKER, 3), ("cadvisor", READ, 40)],
            [("cadvisor", 60, 60), ("kworker/11:1", 3, 3), ("cadvisor", 40, 40)],
        ),
        # the same task, briefly elsewhere
        ([("cadvisor", READ, 60), ("cadvisor", USER, 2), ("cadvisor", READ, 40)], [("cadvisor", 102, 102)]),
        (
            [("cadvisor", READ, 60), ("cadvisor", USER, 5), ("cadvisor", READ, 40)],
            [("cadvisor", 60, 60), ("cadvisor", 5, 5), ("cadvisor", 40, 40)],
        ),
        ([("cadvisor", READ, 60), ("cadvisor", WRITE, 40)], [("cadvisor", 60, 60), ("cadvisor", 40, 40)]),
        # a softirq on top of a system call that lasts is what has the CPU; a tick is not
        ([("cadvisor", READ, 20), ("cadvisor", SOFTIRQ, 80)], [("cadvisor", 20, 20), ("cadvisor", 80, 80)]),
        ([("cadvisor", READ, 20), ("cadvisor", SOFTIRQ, 1), ("cadvisor", READ, 20)], [("cadvisor", 41, 41)]),
        # an interruption at the end is its own
        ([("cadvisor", READ, 20), ("other", READ, 1)], [("cadvisor", 20, 20), ("other", 1, 1)]),
        ([("cadvisor", READ, 20), ("other", READ, 1), ("kworker/11:1", KWORKER, 1), ("cadvisor", READ, 2)],
         [("cadvisor", 24, 22), ("other", 1, 1), ("kworker/11:1", 1, 1)]),
        # no samples
        ([("cadvisor", READ, 20), ("-", None, 6), ("cadvisor", READ, 20)], [("cadvisor", 20, 20), ("cadvisor", 20, 20)]),
        ([("cadvisor", READ, 20), ("-", None, 3), ("cadvisor", READ, 20)], [("cadvisor", 43, 40)]),
        ([], []),
    ],
)  # fmt: skip
def test_runs(pieces, expected):
    assert seen(timeline(*pieces)) == expected


def test_a_run_s_fields():
    (run,) = collapse(timeline(("cadvisor", READ, 3), ("cadvisor", READ_DEEPER, 5), ("cadvisor", USER, 2), ("cadvisor", READ, 1)))
    assert (run.start_ns, run.end_ns, run.cpu, run.pid, run.tid) == (999500000, 1010500000, 11, 10137, 10137)
    assert run.kernel == round(9 / 11, 3)
    assert run.stacks == [(";".join(READ_DEEPER), 5), (";".join(READ), 4), ("[user]", 2)]


def test_cpus_do_not_mix():
    both = timeline(("cadvisor", READ, 50), cpu=1) + timeline(("cadvisor", READ, 30), ("swapper", IDLE, 20), cpu=2)
    assert sorted((run.cpu, run.comm, run.samples) for run in collapse(both)) == [
        (1, "cadvisor", 50),
        (2, "cadvisor", 30),
        (2, "swapper", 20),
    ]


def test_stacks_are_bounded():
    samples = timeline(*[("cadvisor", (*READ, f"f{number}"), 1) for number in range(3000)])
    (run,) = collapse(samples)
    assert run.samples == 3000 and len(run.stacks) == runs.STACKS


def test_holes_are_told_where_idling_is_sampled():
    stalled = timeline(("swapper", IDLE, 30), ("cadvisor", READ, 10), ("-", None, 120), ("cadvisor", READ, 10))
    assert holes(stalled) == [(11, 1039500000, 1159500000)]
    assert holes(timeline(("cadvisor", READ, 10), ("-", None, 120), ("cadvisor", READ, 10))) == []
    assert holes(timeline(("swapper", IDLE, 30), ("-", None, 4), ("swapper", IDLE, 3))) == []


def test_a_hole_is_there_before_the_run_that_ends_it():
    found: runs.Holes = {}
    samples = timeline(("swapper", IDLE, 30), ("cadvisor", READ, 10), ("-", None, 120), ("cadvisor", READ, 10))
    assert [(run.cpu, run.start_ns) in found for run in runs.stream(samples, MS, found)] == [False, False, True]


@pytest.mark.parametrize(
    ("comm", "frames", "idle"),
    [
        ("swapper", IDLE, True),
        ("swapper", (*IDLE, "asm_sysvec_apic_timer_interrupt", "irq_exit_rcu", "handle_softirqs", "sched_balance_softirq"), False),
        ("cadvisor", IDLE, False),
    ],
)
def test_idle_is_the_idle_task_with_nothing_on_top(comm, frames, idle):
    (run,) = collapse(timeline((comm, frames, 9)))
    assert runs.idle(run) is idle


@pytest.mark.parametrize(
    ("frames", "label"),
    [
        ("[user];entry_SYSCALL_64_after_hwframe;do_syscall_64;sys_read;vfs_read", "read"),
        ("[user];entry_SYSCALL_64_fastpath;SyS_read;vfs_read", "read"),
        ("[user];system_call_fastpath;sys_read", "read"),
        ("[user];entry_SYSCALL_64_after_hwframe;do_syscall_64;x64_sys_call;__x64_sys_read;ksys_read", "read"),
        ("[user];entry_SYSCALL_64_after_hwframe;do_syscall_64;ksys_read;vfs_read", "read"),
        ("[user];entry_SYSENTER_compat_after_hwframe;do_fast_syscall_32;__do_fast_syscall_32;__ia32_compat_sys_ioctl", "ioctl"),
        ("[user];el0_svc_naked;sys_read", "read"),
        ("[user];el0t_64_sync;el0t_64_sync_handler;el0_svc;do_el0_svc;invoke_syscall;__arm64_sys_read;ksys_read", "read"),
        ("[user];system_call_common;system_call_exception;sys_read", "read"),
        ("[user];system_call;__do_syscall;__s390x_sys_read;ksys_read", "read"),
        ("[user];[unknown];[unknown];[unknown]", "[unknown]"),
        ("[user];asm_exc_page_fault;exc_page_fault;handle_mm_fault", "asm_exc_page_fault"),
        ("[user]", "[user]"),
        ("ret_from_fork_asm;ret_from_fork;kthread;kswapd", "kthread"),
        (
            "[user];entry_SYSCALL_64_after_hwframe;do_syscall_64;sys_read;asm_sysvec_apic_timer_interrupt;sysvec_apic_timer_interrupt",
            "interrupt",
        ),
        ("[user];asm_common_interrupt;common_interrupt;irq_exit_rcu;handle_softirqs;net_rx_action", "net_rx_action"),
        ("[user];ret_from_intr;do_IRQ;irq_exit;__do_softirq;net_rx_action;mlx5e_napi_poll", "net_rx_action"),
        ("[user];el0_irq_naked;handle_domain_irq;irq_exit;__do_softirq;run_timer_softirq", "run_timer_softirq"),
        ("ret_from_fork;kthread;smpboot_thread_fn;run_ksoftirqd;__do_softirq;rcu_process_callbacks", "kthread"),
        ("", "[user]"),
    ],
)
def test_how_the_cpu_came_into_the_kernel(frames, label):
    assert Entries().entry(tuple(frames.split(";")) if frames else (), "cadvisor") == label


PIECE = st.tuples(
    st.sampled_from(sorted(TASKS)),
    st.sampled_from([READ, READ_DEEPER, WRITE, USER, SOFTIRQ, KSOFTIRQD, IDLE, (), None]),
    st.integers(1, 12),
)


@given(st.lists(PIECE, max_size=30), st.randoms())
def test_no_sample_is_lost_or_counted_twice(pieces, shuffler):
    samples = timeline(*pieces) + timeline(*pieces[::-1], cpu=3)
    collapsed = collapse(samples)
    of_tasks = collections.Counter((sample.cpu, sample.comm) for sample in samples)
    counted: collections.Counter = collections.Counter()
    for run in collapsed:
        counted[run.cpu, run.comm] += run.samples
        assert run.samples * MS <= run.end_ns - run.start_ns
        assert sum(count for _stack, count in run.stacks) == run.samples
    assert counted == of_tasks
    shuffler.shuffle(samples)
    assert collapse(samples) == collapsed


@given(st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 1)), max_size=60))
def test_samples_out_of_order_do_not_break_the_stream(places):
    samples = [Sample(time, cpu, 1, 1, "x", READ) for time, cpu in places]
    assert sum(run.samples for run in runs.stream(samples, MS)) == len(samples)
