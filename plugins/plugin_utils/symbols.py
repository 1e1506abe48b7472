# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One spelling for a kernel function, whatever the kernel, the compiler, the architecture and the tool made of its name.

A cause is then written once for kernels 4.9 to 6.18. Compilers add suffixes to parts of a function, tools add offsets and marks, each
architecture has its own entry to a system call, and kernels rename functions; the canonical spelling of a renamed one is mostly the newest,
and for file reads the oldest (``seq_read``), which is short for both.
"""

from __future__ import annotations

import functools
import re

# What perf, FlameGraph and BPF tools append: an offset, a module or object, a mark for kernel, inlined or jitted code
_OFFSET = re.compile(r"\+0x[0-9a-fA-F]+(?:/0x[0-9a-fA-F]+)?$")
_OBJECT = re.compile(r"\s+[\[(].*[\])]$|_\[[kijlw]\]$")
# GCC and Clang: clones, cold parts, link-time and unique-name suffixes. `$` in some of Clang's.
_CLONE = re.compile(r"(?:\.(?:isra|part|constprop|cold|llvm|lto_priv|clone|localalias|__uniq)(?:\.\d+)*)+$|\$[0-9a-f]{16,}$")
_PREFIX = re.compile(r"^__pfx_")
# The ways to spell the entry of a system call: SYSCALL_DEFINE before and after 4.17, compat, and the helpers within the kernel (ksys_)
_SYSCALL = re.compile(
    r"^(?:__(?:x64|ia32|x32|arm64|s390x?|riscv|powerpc|loongarch|mips)_(?:compat_)?sys_|__(?:se|do)_(?:compat_)?sys_|compat_sys_|"
    r"SyS_|SYSC_|C_SYSC_|compat_SyS_|ksys_|sys_)(?=[a-z])"
)
_ENTRY = re.compile(
    r"^(?:entry_SYSCALL_(?:64|compat)\w*|entry_INT80_compat\w*|entry_SYSENTER_compat\w*|system_call\w*|"
    r"(?:__)?do_fast_syscall_32|do_SYSENTER_32|do_int80_\w+|do_syscall_\w+|x64_sys_call|ia32_sys_call|syscall_entry|"
    r"el0t?_(?:64_|32_)?(?:svc|sync)\w*|do_el0_svc\w*|invoke_syscall\w*|__invoke_syscall\w*|el0_svc_\w+|ret_fast_syscall|"
    r"__sys_trace\w*|do_trap_ecall_u|ret_from_syscall\w*|syscall_exit_work|tracesys\w*)$"
)
ENTRY = "syscall_entry"
# Canonical spelling: others of it. A hash is a commit of torvalds/linux.
_SPELLINGS = {
    # 6.9, 401309c7655e: the balancer's functions are named sched_balance_*
    "sched_balance_softirq": ("run_rebalance_domains",),
    "sched_balance_domains": ("rebalance_domains",),
    "sched_balance_update_blocked_averages": ("update_blocked_averages", "__update_blocked_fair"),
    # 6.11: __do_softirq only calls it
    "handle_softirqs": ("__do_softirq",),
    "rcu_core": ("rcu_process_callbacks", "rcu_core_si", "__rcu_process_callbacks"),
    "css_rstat_flush": (
        "cgroup_rstat_flush",
        "cgroup_rstat_flush_locked",
        "cgroup_rstat_flush_irqsafe",
        "cgroup_rstat_flush_atomic",
        "cgroup_rstat_flush_hold",
        "cgroup_stat_flush_locked",
    ),
    "mem_cgroup_css_rstat_flush": ("memcg_rstat_flush",),
    "memory_stat_show": (
        "memcg_stat_show",
        "memcg_stat_format",
        "memcg1_stat_format",
        "memory_stat_format",
        "memory_stat_print",
    ),
    "memory_numa_stat_show": ("memcg_numa_stat_show",),
    "fsnotify_set_children_dentry_flags": ("__fsnotify_update_child_dentry_flags", "fsnotify_update_children_dentry_flags"),
    "seq_read": ("seq_read_iter",),
    "kernfs_fop_read": ("kernfs_fop_read_iter",),
    "proc_reg_read": ("proc_reg_read_iter",),
    "vfs_read": ("__vfs_read", "new_sync_read", "vfs_iter_read"),
    "vfs_write": ("__vfs_write", "new_sync_write"),
    # 5.20, 7b4e6c4ad36f: the page walker's parts are named by level
    "walk_page_range": ("__walk_page_range", "walk_pgd_range", "walk_p4d_range", "walk_pud_range", "walk_pmd_range", "walk_page_vma"),
    "smaps_pte_range": ("smaps_pte_entry", "smaps_account"),
    "invalidate_mapping_pages": ("invalidate_mapping_pagevec", "__invalidate_mapping_pages", "mapping_try_invalidate"),
    "smp_call_function_many": ("smp_call_function_many_cond", "on_each_cpu_cond_mask", "smp_call_on_cpus_mask"),
    "queued_spin_lock_slowpath": ("native_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath", "pv_queued_spin_lock_slowpath"),
    "run_timer_softirq": ("run_timer_base", "timer_expire_remote"),
    "__run_timers": ("expire_timers", "__run_timer_base"),
    "nf_ct_iterate_cleanup": ("nf_ct_iterate_cleanup_net", "nf_ct_iterate_destroy"),
    "wait_for_xmitr": ("wait_for_lsr", "serial8250_tx_wait"),
    "console_unlock": ("console_flush_all", "__console_flush_and_unlock", "console_flush_one_record"),
    "smap_gather_stats": ("smaps_rollup_gather",),
    "inet_lhash2_lookup": ("inet_lhash2_lookup_reuseport",),
}
_CANONICAL = {other: canonical for canonical, others in _SPELLINGS.items() for other in others}


@functools.lru_cache(maxsize=65536)
def normalise(name: str) -> str:
    """The canonical spelling of a frame: ``__x64_sys_read+0x1a`` is ``sys_read``, ``memcg_stat_show.isra.0`` is ``memory_stat_show``.

    What is in brackets as a whole (``[user]``, ``[unknown]``) and what no rule knows is left as it is. Never raises; idempotent.
    """
    before, found = "", name.strip()
    if found.startswith("[") and found.endswith("]"):
        return found
    while found != before:
        before = found
        for rule in (_OBJECT, _OFFSET, _CLONE, _PREFIX):
            found = rule.sub("", found).strip()
        if _ENTRY.match(found):
            return ENTRY
        found = _SYSCALL.sub("sys_", found)
        found = _CANONICAL.get(found, found)
    return found


def normalise_stack(folded: str) -> tuple[str, ...]:
    """The frames of a folded stack ``root;..;leaf``, each in its canonical spelling, equal neighbours (a function and its helper) once."""
    frames: list[str] = []
    for frame in folded.split(";"):
        found = normalise(frame)
        if found and (not frames or frames[-1] != found):
            frames.append(found)
    return tuple(frames)
