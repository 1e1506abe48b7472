# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By which way the CPU came into the kernel, from the frames of a sample.

Source: the entry code of the kernel (arch/*/entry*, kernel/softirq.c), 4.9 to 6.18.
"""

import re
from typing import Dict, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import IDLE, USER

CACHE_LIMIT = 20000
SYSCALL_ENTRY = re.compile(
    r"entry_SYS|entry_INT80|do_syscall|x64_sys_call|ia32_sys_call|do_fast_syscall|do_int80|__do_fast_syscall|system_call|__do_syscall"
    r"|el0_sync|el0t_64_sync|el0t_32_sync|el0_svc|do_el0_svc|invoke_syscall|syscall_call|tracesys|ret_fast_syscall"
    r"|do_trap_ecall|handle_syscall|\[unknown\]"
)
SYSCALL = re.compile(r"(?:__(?:x64|ia32|arm64|s390x?|riscv|se|do)_)?(?:compat_)?(?:ksys|sys|SyS)_(\w+)")
# the number of a vector, an architecture and a version may follow
SOFTIRQ = re.compile(r"__do_softirq|handle_softirqs|do_softirq|irq_exit|invoke_softirq")
INTERRUPT = re.compile(
    r"asm_(?:sysvec|common_interrupt)|sysvec_|(?:asm_)?common_interrupt|apic_timer_interrupt|smp_apic_timer|(?:irq_entries|ret_from_intr)"
    r"|do_IRQ|reschedule_interrupt|call_function_.*interrupt|el[01]_irq|el[01]_interrupt|el[01]t?h?_\d*_?irq|gic_handle_irq|__irq_svc"
    r"|__irq_usr|do_irq|handle_arch_irq|call_on_irq_stack|hypervisor_callback|xen_evtchn"
)
KTHREAD = re.compile(r"ret_from_fork|kthread$|smpboot_thread_fn|ret_from_kernel_thread")


class Entries:
    """Labels by stack, remembered: a system call, a softirq vector, an interrupt, a kernel thread, an exception, user mode, idle."""

    IDLE = "idle"

    def __init__(self) -> None:
        self._known: Dict[Tuple[Tuple[str, ...], bool], str] = {}

    def entry(self, frames: Tuple[str, ...], comm: str) -> str:
        key = frames, comm == IDLE
        label = self._known.get(key)
        if label is None:
            if len(self._known) >= CACHE_LIMIT:
                self._known.clear()
            label = self._known[key] = _label(frames, key[1])
        return label


def _label(frames: Tuple[str, ...], idle: bool) -> str:
    """The innermost interrupt or softirq, else how the task came into the kernel."""
    if "run_ksoftirqd" in frames:
        return "kthread"
    for index in range(len(frames) - 1, -1, -1):
        if SOFTIRQ.match(frames[index]):
            return frames[min(index + 1, len(frames) - 1)]
        if INTERRUPT.match(frames[index]):
            return "interrupt"
    if idle:
        return Entries.IDLE
    kernel = [frame for frame in frames if frame != USER]
    if not kernel:
        return USER
    if KTHREAD.match(kernel[0]):
        return "kthread"
    inside = [frame for frame in kernel if not SYSCALL_ENTRY.match(frame)]
    if len(inside) == len(kernel) or not inside:
        return kernel[0]
    call = SYSCALL.match(inside[0])
    return call.group(1) if call else inside[0]
