# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way into a kind of job for Ansible: the arguments of its module, what is refused, and the answer.

All is imported when the module is, nothing later: the archive that it runs from is gone while the job still runs.
"""

import os
import time
from typing import Any, Callable, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fleet.stall.plugins.module_utils import daemon, statedir
from ansible_collections.fleet.stall.plugins.module_utils import plan as plans
from ansible_collections.fleet.stall.plugins.module_utils.job import Kind

Problems = Callable[[Dict[str, Any]], List[str]]


def main(kind: Kind, problems: Problems) -> None:
    """Be the module; `problems` says what is wrong with a plan of this kind. Documented in plugins/doc_fragments/job.py."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "plan": {"type": "dict"},
            "run": {"type": "str"},
            "host": {"type": "str"},
        },
        required_if=[("state", "started", ["plan"]), ("state", "stopped", ["run", "host"])],
        supports_check_mode=True,
    )
    # The plan is as large as the answer is small: do not send it back.
    brief = {"module_args": {key: value for key, value in module.params.items() if key != "plan"}}
    act = _started if module.params["state"] == "started" else _stopped
    try:
        answer = act(module.params, kind, problems, module.check_mode)
    except statedir.Refusal as refusal:
        module.fail_json(msg=refusal.reason, remedy=refusal.remedy, invocation=brief)
    module.exit_json(changed=False, invocation=brief, **answer)


def _started(params: Dict[str, Any], kind: Kind, problems: Problems, check_mode: bool) -> Dict[str, Any]:
    now = time.time()
    found = problems(params["plan"])
    if found:
        raise statedir.Refusal("; ".join(found), "correct the plan")
    plan = plans.in_local_time(params["plan"], now)
    if plan["ends_at"] <= now:
        raise statedir.Refusal(
            "the window ended {:.1f} s before this host was reached".format(now - plan["ends_at"]),
            "raise stall_lead_s, or the number of forks",
        )
    root = statedir.locate(os.geteuid(), os.environ)
    if check_mode:
        return {"started": False, "job": daemon.described(daemon.job_of(root, plan, kind), pid=None)}
    return {"started": True, "job": daemon.start(plan, statedir.prepare(root), kind)}


def _stopped(params: Dict[str, Any], kind: Kind, _problems: Problems, check_mode: bool) -> Dict[str, Any]:
    root = statedir.locate(os.geteuid(), os.environ)
    end = daemon.running if check_mode else daemon.stop
    return {"stopped": end(root, params["run"], params["host"], kind)}
