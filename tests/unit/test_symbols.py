"""A kernel function has one spelling, whatever kernel, compiler, architecture and tool it comes from."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils.cause import Pattern
from ansible_collections.fleet.stall.plugins.plugin_utils.causes import load
from ansible_collections.fleet.stall.plugins.plugin_utils.symbols import ENTRY, normalise, normalise_stack

# What one function was called, oldest kernel first, and how tools show it
SPELLINGS = [
    (
        "sys_read",
        "SyS_read",
        "SYSC_read",
        "__x64_sys_read",
        "__arm64_sys_read",
        "__se_sys_read",
        "__do_sys_read",
        "ksys_read",
        "__x64_sys_read+0x1a",
    ),
    ("sys_ioctl", "compat_sys_ioctl", "__ia32_compat_sys_ioctl", "__s390x_sys_ioctl", "__riscv_sys_ioctl"),
    (
        "entry_SYSCALL_64_fastpath",
        "entry_SYSCALL_64_after_swapgs",
        "entry_SYSCALL_64_after_hwframe",
        "do_syscall_64",
        "x64_sys_call",
        "el0_svc_naked",
    ),
    ("el0_svc_common.constprop.0", "invoke_syscall", "el0t_64_sync_handler", "do_el0_svc", "syscall_entry"),
    ("seq_read", "seq_read_iter", "seq_read_iter.cold"),
    ("kernfs_fop_read", "kernfs_fop_read_iter"),
    ("vfs_read", "__vfs_read", "new_sync_read"),
    (
        "memcg_stat_show",
        "memcg_stat_show.isra.0",
        "memory_stat_show",
        "memory_stat_format",
        "memcg_stat_format.constprop.0",
        "memcg1_stat_format",
    ),
    ("__do_softirq", "__do_softirq.cold", "handle_softirqs", "handle_softirqs.isra.0", "handle_softirqs.cold"),
    ("run_rebalance_domains", "sched_balance_softirq"),
    ("rebalance_domains", "rebalance_domains.isra.3", "sched_balance_domains"),
    ("update_blocked_averages", "sched_balance_update_blocked_averages"),
    ("cgroup_rstat_flush", "cgroup_rstat_flush_locked", "css_rstat_flush"),
    ("__fsnotify_update_child_dentry_flags", "__fsnotify_update_child_dentry_flags.part.0", "fsnotify_set_children_dentry_flags"),
    ("rcu_process_callbacks", "rcu_core_si", "rcu_core"),
    (
        "queued_spin_lock_slowpath",
        "native_queued_spin_lock_slowpath",
        "native_queued_spin_lock_slowpath.part.0",
        "__pv_queued_spin_lock_slowpath",
    ),
    ("smap_gather_stats", "smap_gather_stats.part.0", "smap_gather_stats.part.0.constprop.2"),
    (
        "gc_worker",
        "gc_worker_[k]",
        "gc_worker [nf_conntrack]",
        "gc_worker+0x1f/0x3c0",
        "gc_worker+0x1f ([nf_conntrack])",
        "gc_worker.llvm.1234567890",
    ),
    ("__walk_page_range", "walk_pgd_range", "walk_page_range", "walk_page_vma"),
    ("console_unlock", "console_flush_all", "console_flush_all.constprop.0"),
]


@pytest.mark.parametrize("names", SPELLINGS, ids=lambda names: names[0])
def test_all_spellings_of_a_function_are_one(names):
    assert len({normalise(name) for name in names}) == 1


def test_different_functions_stay_different():
    firsts = [normalise(names[0]) for names in SPELLINGS if normalise(names[0]) != ENTRY]
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize(
    "name", ["[user]", "[unknown]", "[kernel.kallsyms]", "mem_cgroup_iter", "syscall_trace_enter", "sysfs_kf_seq_show", "hash_ip4_gc", ""]
)
def test_what_no_rule_knows_is_left_alone(name):
    assert normalise(name) == name


# Recorded with perf on 6.18 while a task read the file
SEEN_ON_6_18 = [
    ("memcg-zombie-stat", "do_syscall_64;ksys_read;vfs_read;seq_read_iter;memory_stat_show;memcg1_stat_format;seq_buf_printf;vsnprintf"),
    (
        "smaps-clear-refs",
        "ksys_read;vfs_read;seq_read;seq_read_iter;show_smaps_rollup;walk_page_vma;__walk_page_range;walk_pgd_range;smaps_pte_range",
    ),
    (
        "smaps-clear-refs",
        "ksys_read;vfs_read;seq_read;seq_read_iter;show_numa_map;walk_page_vma;__walk_page_range;walk_pgd_range;gather_pte_stats",
    ),
    ("proc-net-tcp", "ksys_read;vfs_read;proc_reg_read;seq_read;seq_read_iter;tcp_seq_start;tcp_get_idx;established_get_first"),
    ("pagetypeinfo", "ksys_read;vfs_read;proc_reg_read_iter;seq_read_iter;pagetypeinfo_show;_raw_spin_unlock_irq"),
    ("slabinfo", "vfs_read;seq_read;seq_read_iter;slab_show;get_slabinfo;count_partial_free_approx;_raw_spin_unlock_irqrestore"),
]


@pytest.mark.parametrize(("identity", "stack"), SEEN_ON_6_18)
def test_a_stack_of_this_kernel_has_the_signature(identity, stack):
    cause = next(cause for cause in load().causes if cause.id == identity)
    assert cause.has(normalise_stack(stack))


def test_helpers_of_a_function_are_one_frame():
    new = "do_syscall_64;x64_sys_call;__x64_sys_read;ksys_read;vfs_read;seq_read_iter;memcg_stat_format;memcg1_stat_format"
    old = "entry_SYSCALL_64_fastpath;sys_read;vfs_read;__vfs_read;seq_read;memcg_stat_show"
    assert normalise_stack(new) == normalise_stack(old) == (ENTRY, "sys_read", "vfs_read", "seq_read", "memory_stat_show")


@given(
    st.one_of(
        st.text(max_size=40),
        st.text("abc_.0123xsy[]() +;$k", max_size=40),
        st.sampled_from([name for names in SPELLINGS for name in names]),
    )
)
def test_a_canonical_name_stays_as_it_is(name):
    assert normalise(normalise(name)) == normalise(name)


@given(st.text(max_size=200))
def test_any_stack_has_frames_that_differ_from_their_neighbours(folded):
    frames = normalise_stack(folded)
    assert all(frames) and all(one != other for one, other in zip(frames, frames[1:], strict=False))


# Causes in parts of the kernel that every one has built in; the others' functions are of modules, of options or of older kernels.
CORE = (
    "console-printk",
    "drop-caches",
    "memcg-shrink",
    "proc-net-tcp",
    "rcu-batch",
    "rtnl",
    "sched-leaf-cfs",
    "slabinfo",
    "smaps-clear-refs",
    "tcp-collapse",
    "vmap-purge",
    "wq-hog",
)


def kernel_symbols():
    try:
        lines = Path("/proc/kallsyms").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(normalise(line.split()[2]) for line in lines if len(line.split()) > 2)


HERE = kernel_symbols()


@pytest.mark.skipif(len(HERE) < 10000, reason="/proc/kallsyms does not show the kernel's symbols")
@pytest.mark.parametrize("cause", [cause for cause in load().causes if cause.id in CORE], ids=lambda cause: cause.id)
def test_a_signature_can_be_met_on_this_kernel(cause):
    """At least one of its alternatives is of functions that this kernel has."""

    def is_here(pattern: Pattern) -> bool:
        return all(frame in HERE if isinstance(frame, str) else any(frame.match(name) for name in HERE) for frame in pattern.frames)

    assert any(is_here(pattern) for pattern in cause.frames), [pattern.text for pattern in cause.frames]
