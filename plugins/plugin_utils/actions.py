# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins have in common: which errors are the user's to read, and what a host's own action may never do: fail."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.fleet.stall.plugins.plugin_utils import jobs, outcome
from ansible_collections.fleet.stall.plugins.plugin_utils.campaign_lock import LockError
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import Job
from ansible_collections.fleet.stall.plugins.plugin_utils.journal import JournalError
from ansible_collections.fleet.stall.plugins.plugin_utils.outcome import Failure
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_file import PlanError
from ansible_collections.fleet.stall.plugins.plugin_utils.remedies import RemedyError
from ansible_collections.fleet.stall.plugins.plugin_utils.request import RequestError
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

# What the user can put right; anything else is a fault of ours, and shown as one.
TOLD = (RequestError, RunDirError, PlanError, RemedyError, JournalError, LockError)
display = Display()


def warn(sentence: str) -> None:
    """Show it now and in every case: a warning in a result is not shown where successful hosts are not (display_ok_hosts)."""
    display.display(f"[WARNING]: {sentence}", color=C.COLOR_WARN, stderr=True)


class ControllerAction(ActionBase):
    """An action that runs once, on the controller."""

    _requires_connection = False
    in_check_mode = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if self._task.check_mode and not self.in_check_mode:
            return skipped("check mode: nothing was sent")
        try:
            return {"changed": False, **self.act(task_vars or {})}
        except TOLD as error:
            return failed(str(error).splitlines())

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result of the task. Raises one of TOLD."""
        raise NotImplementedError


class HostAction(ActionBase):
    """An action for each host. Whatever happens to a host is recorded in the run directory; only being unreachable is raised as well.

    With the argument `host` it acts for that host, which the task is delegated to: then nothing is raised, for it would be said of the
    host that delegates.
    """

    _supports_async = False
    job = jobs.OBSERVE

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if self._task.check_mode:
            return skipped("check mode: nothing was sent")
        task_vars = task_vars or {}
        run, other = RunDir(self._task.args["dir"]), self._task.args.get("host")
        host = str(other or task_vars["inventory_hostname"])
        if other and other != (self._task.delegate_to or task_vars["inventory_hostname"]):
            return failed([f"the task acts for '{host}' and is not delegated to it: set delegate_to: {host}."])
        try:
            self.job = jobs.named(self._task.args.get("job", self.job.name))
            result = self.act(run, host, task_vars)
        except AnsibleConnectionFailure as error:
            result = self.give_up(run, host, outcome.of_unreachable(str(error)))
            if not other:
                raise
        except Exception as error:
            result = self.give_up(run, host, outcome.of_error(str(error)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # The time limit of the task, which Ansible raises as no Exception.
            self.give_up(run, host, outcome.of_timeout(int(self._task.timeout or 0)))
            raise
        finally:
            if other:
                # The next of the loop may have the same address and another port, user or way to become root
                self._connection.close()
        if "reason" in result:
            warn(f"{printable(host)} is not {self.job.done}: {result['reason']}. Remedy: {result['remedy']}.")
        return {"changed": False, **result}

    def act(self, run: RunDir, host: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result of the task. Raises AnsibleConnectionFailure; any other error is recorded as well."""
        raise NotImplementedError

    def give_up(self, run: RunDir, host: str, failure: Failure) -> dict[str, Any]:
        """Note why a host is not measured, or not captured, and return the result of its task."""
        return record(run, host, failure, self.job)

    def without_become(self) -> None:
        """What follows on this connection is run as the user that is logged in."""
        self._play_context.become = False
        self._connection.set_become_plugin(None)


def record(run: RunDir, host: str, failure: Failure, job: Job = jobs.OBSERVE) -> dict[str, Any]:
    """Keep the reason in the run directory, as far as that can be written; the result of the host's task."""
    status = {"status": "not_measured", "stage": failure.stage, "reason": printable(failure.reason), "remedy": printable(failure.remedy)}
    try:
        run.write_host(host, job.status, {"schema_version": 1, "run": run.id, "host": host, **status})
    except OSError as error:
        warn(f"{printable(host)}: the reason could not be kept in {run.path}: {printable(error)}")
    return {"measured": False, **{key: status[key] for key in ("stage", "reason", "remedy")}}


def skipped(reason: str) -> dict[str, Any]:
    return {"changed": False, "skipped": True, "skip_reason": reason}


def failed(sentences: list[str]) -> dict[str, Any]:
    """A failure with a line for each thing that is wrong."""
    lines = [printable(sentence, 1000) for sentence in sentences]
    if len(lines) > 1:
        lines = [f"{len(lines)} things are wrong:", *(f"- {line}" for line in lines)]
    return {"changed": False, "failed": True, "msg": "\n".join(lines)}
