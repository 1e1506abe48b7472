# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A culprit without samples of the CPUs: who handled packets just before they waited, if it has slow system calls as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import classes, slow_calls
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit, identify, is_enough
from ansible_collections.fleet.stall.plugins.plugin_utils.timeline import Explained
from ansible_collections.fleet.stall.plugins.plugin_utils.xray import IDLE_PID


def by_handling(looked: Sequence[Explained], capture: Mapping[str, Any]) -> list[Culprit]:
    """Without samples: the process in whose context the last probes before each silence were handled, if it has slow calls as well."""
    blind = [one for one in looked if one.note in ("no_samples", None) and one.before and one.blocker is None]
    before = Counter(
        one.before.pid for one in blind if one.before and one.before.pid != IDLE_PID and not classes.is_packet_thread(one.before.comm)
    )
    if not before:
        return []
    pid, count = before.most_common(1)[0]
    if not is_enough(count, len(looked)):
        return []
    calls = slow_calls.of_process(capture, (pid,), [])
    if not calls:
        return []
    seen = [one for one in blind if one.before and one.before.pid == pid]
    task = seen[0].before
    assert task is not None
    culprit = Culprit(
        comm=task.comm,
        pid=pid,
        tid=task.tid,
        klass="T" if all(one.handler and classes.is_packet_thread(one.handler.comm) for one in seen) else None,
        events=0,
        share=None,
        cpus=sorted({one.cpu for one in seen if one.cpu is not None}),
        held_ms=0.0,
        longest_ms=calls[0]["duration_ms"],
        policy=None,
        vector=None,
        stacks=[],
        calls=calls,
        confidence="low",
        usual=False,
        because=[
            f"the last probes before {count} of {len(looked)} stalls were handled in its context, and it has slow system calls",
            "no CPU samples say what it did meanwhile",
        ],
        syscall=calls[0]["call"],
    )
    identify(culprit, capture)
    return [culprit]
