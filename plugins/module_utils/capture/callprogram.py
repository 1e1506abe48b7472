# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the tracer's program that finds the system calls that kept a CPU for long.

What looking at a call costs is paid by the thread that makes it, so a call is looked at with one store and one lookup. How many there are
is taken from a sample: one microsecond in so many counts.
"""

import os
from typing import Sequence

from ansible_collections.fleet.stall.plugins.module_utils.capture import syscalls

HEADERS = ("linux/sched.h", "linux/fs.h", "linux/fdtable.h", "linux/dcache.h")
# One call in so many is counted.
COUNTED_SHARE = 16
# Processes that make the most of them.
LOUDEST = 20
# Whether a thread is in a call of the 32-bit ABI: TS_COMPAT (arch/x86/include/asm/thread_info.h), _TIF_32BIT (arch/arm64/..).
COMPAT = {"x86_64": "(uint64)(curtask->thread_info.status & 2)", "aarch64": "(uint64)(curtask->thread_info.flags & (1 << 22))"}


def program(slow_call_ms: float, turn_ms: int, passed_over: Sequence[int] = ()) -> str:
    """Calls on a CPU for most of their time; those that wait for others are not looked at, nor are those of the processes `passed_over`.

    Both ends leave out the same calls: the end of one of these would be taken for that of the call before it, with all that its
    thread computed in between.

    sum_exec_runtime lags by up to a tick, hence two fifths where half would be meant. At the end bpftrace lets go of sys_enter
    first, so what sys_exit says from then on is not to be believed.
    """
    looked_at = " && ".join([f"args->id != {number}" for number in syscalls.waits()] + [f"pid != {pid}" for pid in passed_over])
    names = ", ".join(f"str({'$d->' + 'd_parent->' * level}d_name.name)" for level in range(4))
    return f"""tracepoint:raw_syscalls:sys_enter /{looked_at}/ {{
  $n = nsecs;
  @s[tid] = ($n, curtask->se.sum_exec_runtime, (uint64)args->args[0]);
  if ((($n >> 10) & {COUNTED_SHARE - 1}) == 0) {{ @calls = count(); @loud[pid] = count(); }}
}}
tracepoint:raw_syscalls:sys_exit /{looked_at}/ {{
  $s = @s[tid];
  $n = nsecs - $s.0;
  if ($s.0 > 0 && $n >= {int(slow_call_ms * 1e6)}) {{
    $r = curtask->se.sum_exec_runtime - $s.1;
    if ($r * 5 >= $n * 2) {{
      $compat = {COMPAT.get(os.uname().machine, "(uint64)0")};
      $t = curtask->files->fdt;
      if ($s.2 < $t->max_fds) {{
        $d = (*($t->fd + $s.2))->f_path.dentry;
        printf("c %lu %lu %lu %d %d %d %d %lu %lu %s|%s|%s|%s|%s|%s\\n", $s.0, $n, $r, cpu, pid, tid, args->id, $compat, $s.2,
          comm, str($d->d_sb->s_type->name), {names});
      }} else {{
        printf("c %lu %lu %lu %d %d %d %d %lu %lu %s|||||\\n", $s.0, $n, $r, cpu, pid, tid, args->id, $compat, $s.2, comm);
      }}
    }}
  }}
}}
tracepoint:sched:sched_process_exit {{ delete(@s[tid]); }}
interval:ms:{turn_ms} {{ print(@loud, {LOUDEST}); print(@calls); clear(@loud); clear(@calls); }}
END {{ clear(@s); clear(@calls); clear(@loud); }}"""
