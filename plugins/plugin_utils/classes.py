# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of stall it is, from what the CPU was seen doing meanwhile.

T: a task in a long kernel path; SI: another softirq, or code that runs with softirqs off; I: interrupts off; Q: the thread that handles
packets was runnable and not scheduled; X: the CPU did not run this kernel; R: packets were handled on time, only the application was late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CLASSES = ("T", "SI", "I", "Q", "X", "R")
MEANING = {
    "T": "a task in a long kernel path",
    "SI": "another softirq, or code with softirqs off",
    "I": "interrupts were off",
    "Q": "the thread that handles packets was runnable and was not given the CPU",
    "X": "the CPU did not run this kernel",
    "R": "packets were handled on time, the application was late",
}
REAL_TIME = ("fifo", "rr", "deadline")
MOSTLY = 0.5

_PACKET_THREAD = re.compile(r"ksoftirqd/|napi/|irq/")
# Entries of the softirq vectors that are not the receiving of packets (kernel/softirq.c, softirq_to_name)
_VECTORS = re.compile(
    r"\A(?:run_timer_softirq|net_tx_action|blk_done_softirq|irq_poll_softirq|tasklet_(?:hi_)?action(?:_common)?|workqueue_softirq_action"
    r"|run_rebalance_domains|sched_balance_softirq|hrtimer_run_softirq|rcu_core(?:_si)?|rcu_process_callbacks)\Z"
)
_RECEIVING = frozenset(("net_rx_action", "napi_threaded_poll", "napi_threaded_poll_loop", "__napi_poll", "napi_poll"))
_SUFFIX = re.compile(r"(?:\.(?:isra|part|constprop|cold|lto_priv|llvm)(?:\.\d+)?)+\Z")
# Where a kernel that had interrupts off first takes the profiler's interrupt again
_UNLOCK = re.compile(
    r"irqrestore|irq_restore|unlock_irq|irq_enable|local_irq_|hardirqs_on|finish_task_switch|irqentry_exit|asm_sysvec_|asm_common_interrupt"
)
_SYSCALL = re.compile(
    r"\A(?:__(?:x64|arm64|s390x?|ia32|riscv|powerpc)_(?:compat_)?sys_|__se_(?:compat_)?sys_|__do_(?:compat_)?sys_|ksys_|sys_|SyS_)(\w+)\Z"
)
_WORKER = "process_one_work"
_NO_CALL = frozenset(("enter", "exit", "call"))


def is_packet_thread(comm: str) -> bool:
    """Whether a task is a kernel thread that handles received packets: it is what waits in a stall, not what is waited for."""
    return bool(_PACKET_THREAD.match(comm))


def frames(stack: str) -> list[str]:
    """The frames of a folded stack, outermost first, without the compiler's suffixes."""
    return [_SUFFIX.sub("", frame) for frame in stack.split(";") if frame]


def vector(stack: str) -> str | None:
    """The softirq other than the receiving of packets that a stack is in."""
    names = frames(stack)
    if _RECEIVING.intersection(names):
        return None
    return next((name for name in names if _VECTORS.match(name)), None)


def is_receiving(stack: str) -> bool:
    """Whether a stack is in the handling of received packets."""
    return bool(_RECEIVING.intersection(frames(stack)))


def work(stack: str) -> str | None:
    """What a worker of the kernel's work queues does in a stack (kernel/workqueue.c, process_one_work)."""
    names = frames(stack)
    at = names.index(_WORKER) + 1 if _WORKER in names else len(names)
    return names[at] if at < len(names) else None


def is_unlock(stack: str) -> bool:
    """Whether a stack's end is where interrupts are turned on again."""
    return any(_UNLOCK.search(frame) for frame in frames(stack)[-3:])


def syscall(stack: str) -> str | None:
    """The system call that a stack is in, as in `sys_read`, `__x64_sys_read;ksys_read`, `__arm64_sys_read`."""
    for frame in frames(stack):
        match = _SYSCALL.match(frame)
        if match and match[1] not in _NO_CALL:
            return re.sub(r"\A(?:new|compat)_?", "", match[1])
    return None


def of_task(stacks: Iterable[tuple[str, float]], kernel: float, policy: str | None, own_drain: bool, thread_waited: bool) -> str | None:
    """The class of a stall by the runs of the task that kept the CPU.

    :param stacks: (folded stack, weight)
    :param kernel: share of the runs in the kernel
    :param policy: scheduling policy of the task, as in ``fifo``
    :param own_drain: the backlog was handled in the task's own context as soon as it let softirqs run
    :param thread_waited: the backlog was handled by a kernel thread
    """
    weights = [(stack, max(0.0, weight)) for stack, weight in stacks]
    total = sum(weight for _, weight in weights)
    if total > 0 and sum(weight for stack, weight in weights if vector(stack)) >= MOSTLY * total:
        return "SI"
    if kernel >= MOSTLY:
        return "SI" if own_drain else "T"
    if is_real_time(policy) or thread_waited:
        return "Q"
    return None


def is_real_time(policy: str | None) -> bool:
    return (policy or "").lower().removeprefix("sched_") in REAL_TIME
