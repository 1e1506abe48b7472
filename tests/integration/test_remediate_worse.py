"""A remedy that makes a host stall for longer, on the lab with real stalls: it is seen, said, taken back, and done to nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from . import run
from .conftest import Labs

pytestmark = [pytest.mark.lab, pytest.mark.slow]
HOST = "node-a2-1"
WINDOW_S = 15
REMEDY = {
    "name": "busier",
    "title": "Keep the CPU of a process busy",
    "order": 10,
    "risk": "high",
    "undo": True,
    "expect": "It gets worse.",
    "temporary": False,
    "drain": False,
    "reboots": False,
    "once": False,
    "parameters": {"beside": {"type": "integer", "required": True, "description": "Pid of a process on that CPU."}},
    "from": {"beside": "trigger.pid"},
    "needs": [["beside"]],
}
TASKS = """---
- name: Begin, for a minute or two
  ansible.builtin.shell: |
    python3 - {{ stall_step.parameters.beside }} >/dev/null 2>&1 <<'END' &
    import os, sys, time
    os.sched_setaffinity(0, os.sched_getaffinity(int(sys.argv[1])))
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    for _ in range(300):
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        time.sleep(0.2)
    END
    echo $!
  become: true
  changed_when: true
  register: busier

- name: Say what was done
  ansible.builtin.set_fact:
    stall_step_result: {changed: true, said: [it spins], undo: {pid: "{{ busier.stdout }}"}}
"""
UNDO = """---
- name: End it
  ansible.builtin.command: kill {{ stall_step.undo_with.pid }}
  become: true
  changed_when: true
"""


def test_what_makes_it_worse_is_taken_back_and_ends_the_campaign(labs: Labs, tmp_path: Path):
    remedies = tmp_path / "remedies"
    (remedies / "tasks" / "undo").mkdir(parents=True)
    (remedies / "busier.yml").write_text(yaml.safe_dump(REMEDY))
    (remedies / "tasks" / "busier.yml").write_text(TASKS)
    (remedies / "tasks" / "undo" / "busier.yml").write_text(UNDO)
    lab = labs.fresh("rt_hog")
    found = run.diagnose(lab.inventory, tmp_path / "runs", window_s=WINDOW_S, capture_s=12, capture_control=False, timeout=300)

    def remediate(**variables: object) -> run.Run:
        more = {"remedies": ["busier", "set_priority"], "remedy_dirs": [str(remedies)], **variables}
        return run.play("remediate.yml", lab.inventory, tmp_path / "runs", timeout=400, **more)

    assert remediate().rc == 0
    plan = yaml.safe_load((found.dir / "plan.yml").read_text())
    (host,) = plan["hosts"]
    (step,) = host["steps"]
    busier = {"remedy": "busier", "undo": True, "risk": "high", "parameters": {"beside": found.host(HOST)["trigger"]["pid"]}}
    host["steps"] = [{**step, **busier}]
    (found.dir / "plan.yml").write_text(yaml.safe_dump(plan))

    done = remediate(plan="latest", confirm=True)
    (directory,) = (found.dir / "remediation").iterdir()
    lines = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    assert done.rc == 2 and f"{HOST}: it did worse after busier" in done.screen, done.screen
    assert [line["event"] for line in lines if line["host"] == HOST] == ["step_begun", "step_done", "verified", "rolled_back"]
    undo = next(line["data"]["undo"] for line in lines if line["event"] == "step_done")
    # Whoever is to reap it may not have.
    arguments = Path("/proc", undo["pid"], "cmdline")
    assert not arguments.exists() or not arguments.read_bytes()
    assert "rolled back" in (directory / "remediation.md").read_text()

    again = remediate(plan="latest", confirm=True)
    assert again.rc == 2 and f"make a new plan, in which nothing of the kind is done to {HOST}" in again.screen, again.screen
