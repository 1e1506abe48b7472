# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
name: progress
type: aggregate
short_description: Says how far a diagnosis is, and leaves no observer or capture behind when it is broken off
version_added: "0.1.0"
description:
  - While hosts are started and gathered, prints a line every ten seconds, with the hosts it waits for when they are few.
  - When the run is broken off with Ctrl-C or SIGTERM before a window is over, ends the observers and captures that were started, by running
    the same command with the playbook that stops them. That takes 30 seconds at most. Without this callback they end by themselves.
author:
  - fleet.stall contributors (@fleet)
requirements:
  - To be enabled with C(callbacks_enabled = fleet.stall.progress).
"""

import atexit
import os
import signal
import sys
import threading
import time
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

from ansible_collections.fleet.stall.plugins.plugin_utils import interrupt
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

EVERY_S = 10
_FEW = 5
_STAGES = {"fleet.stall.start": "started", "fleet.stall.gather": "gathered"}
_PLANS = ("fleet.stall.plan", "fleet.stall.plan_capture", "fleet.stall.plan_verify")


class CallbackModule(CallbackBase):
    """Progress lines, and a clean end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fleet.stall.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pid = os.getpid()
        self._plan: dict[str, Any] = {}
        self._armed = False
        self._stage: str | None = None
        self._stage_over = threading.Event()
        self._waiting: dict[str, None] = {}
        self._done = self._unreachable = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._end_stage()
        if task.action in ("fleet.stall.gather", "fleet.stall.stop"):
            # From here on a result may be on its way, or the observers are being stopped: nothing is left to do.
            self._plan = {}
        if task.action in _STAGES:
            self._begin_stage(_STAGES[task.action])

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if self._stage:
            self._waiting[host.get_name()] = None

    def v2_runner_on_ok(self, result: Any) -> None:
        if result._task.action in _PLANS and result._result.get("dir"):
            self._arm(result._result)
        self._count(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._count(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._count(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._unreachable += 1
        self._count(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._end_stage()

    def _count(self, result: Any) -> None:
        if self._stage:
            self._done += 1
            self._waiting.pop(result._host.get_name(), None)

    def _begin_stage(self, stage: str) -> None:
        self._stage, self._stage_over = stage, threading.Event()
        self._waiting, self._done, self._unreachable = {}, 0, 0
        threading.Thread(target=self._report, args=(stage, self._stage_over), daemon=True).start()

    def _end_stage(self) -> None:
        self._stage = None
        self._stage_over.set()

    def _report(self, stage: str, over: threading.Event) -> None:
        while not over.wait(EVERY_S):
            waiting = list(self._waiting)
            line = f"fleet.stall: {self._done - self._unreachable} hosts {stage}"
            if self._unreachable:
                line += f", {self._unreachable} unreachable"
            if 0 < len(waiting) <= _FEW:
                line += f", waiting for {and_more(waiting)}"
            left = self._plan.get("ends_at", 0) - time.time()
            if left > 0:
                line += f"; the window ends in {left:.0f} s"
            self._display.display(line)

    def _arm(self, plan: dict[str, Any]) -> None:
        if self._plan or plan["ends_at"] < time.time():
            return
        self._plan = dict(plan)
        if self._armed:
            return
        self._armed = True
        atexit.register(self._broken_off)
        # Ansible dies of SIGTERM on the spot; Ctrl-C it winds up in good order.
        signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGINT))

    def _broken_off(self) -> None:
        self._end_stage()
        if not self._plan or os.getpid() != self._pid:
            return
        options = context.CLIARGS
        asks = any(options.get(name) for name in ("ask_pass", "become_ask_pass")) or "--ask-vault-pass" in sys.argv or "-J" in sys.argv
        run = RunDir(self._plan["dir"])
        command = None if asks else interrupt.stop_command(sys.argv, options.get("args", ()), run)
        interrupt.stop(command, run, self._plan["ends_at"], lambda line: print(f"fleet.stall: {line}", file=sys.stderr, flush=True))
