# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to do when a run is broken off: end the observers and captures it started, with the command line that started them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import JOBS
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more

STOP_PLAYBOOK = Path(__file__).resolve().parents[2] / "playbooks" / "stop.yml"
LIMIT_S = 30
LOG = "stop.log"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def stop_command(argv: Sequence[str], playbooks: Sequence[str], run: RunDir) -> list[str]:
    """The command line `argv` of ansible-playbook with our playbook in place of its own: the same inventory, user, keys and limits.

    Raises RunDirError.
    """
    kept = [argument for argument in argv if argument not in playbooks]
    if run.is_capture:
        # A few hosts of what may be a large fleet; not where a name would be read as a pattern.
        hosts = _started(run, list(run.manifest()["hosts"]))
        kept += ["-e", json.dumps({"stall_hosts": ",".join(hosts)})] if all(map(_PLAIN.fullmatch, hosts)) else []
    return [sys.executable, *kept, "-e", f"stall_run={run.of.id}", "-e", f"stall_runs_dir={run.of.path.parent}", str(STOP_PLAYBOOK)]


def stop(command: Sequence[str] | None, run: RunDir, ends_at: float, say: Callable[[str], None]) -> None:
    """End the observers, and the captures, of a run (or of its capture) that is broken off. Never raises.

    :param run: the one whose window was not over: a run, or its capture
    :param command: from stop_command; None where it would have to ask for a password
    :param ends_at: when they end by themselves, in seconds since the epoch
    """
    try:
        hosts = list(run.manifest()["hosts"])
        started = _started(run, hosts)
        if not started:
            return
        if command:
            say(f"broken off: stopping the observers of {len(started)} hosts, {LIMIT_S} s at most ...")
            _run(command, run)
        left = _started(run, hosts)
    except (RunDirError, OSError, KeyboardInterrupt) as error:
        left, started = [], []
        say(f"the observers could not be stopped: {error or 'interrupted again'}")
    finally:
        run.release()
    if left:
        clock = time.strftime("%H:%M:%S", time.localtime(ends_at))
        why = f" What stopping them said is in {run.path / LOG}." if command else ""
        say(f"observers are left on {and_more(left)}; they end by themselves at {clock}.{why}")
    elif started:
        say("no observer is left on any host.")
    say(f"what there is of the run is in {run.of.path}")


def _started(run: RunDir, hosts: Sequence[str]) -> list[str]:
    running = {host for job in JOBS for host in run.started(hosts, job)}
    return [host for host in hosts if host in running]


def _run(command: Sequence[str], run: RunDir) -> None:
    """Run it apart from the terminal, whose next Ctrl-C shall not hit it half way, and end all of it when its time is over."""
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"}
    with (
        open(run.path / LOG, "wb") as log,
        subprocess.Popen(command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            process.wait(LIMIT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
