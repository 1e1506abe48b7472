"""A fleet on this machine alone: an inventory of local connections, a run with findings, and remedies of a user's own that write files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

RUN = "20261125T120000Z-c0de"

SETTLE = {
    "name": "settle",
    "title": "Write a file that says that the host has settled",
    "order": 10,
    "risk": "low",
    "undo": True,
    "expect": "The file is there.",
    "temporary": False,
    "drain": False,
    "reboots": False,
    "once": False,
    "parameters": {
        "directory": {"type": "string", "required": True, "minLength": 1, "description": "Where the file is."},
        "fails_on": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Hosts that it fails on."},
        "pause_s": {"type": "number", "minimum": 0, "default": 0, "description": "For how long it works, in seconds."},
    },
    "from": {},
    "needs": [["directory"]],
}
SETTLE_TASKS = """---
- name: Fail where that is asked for
  ansible.builtin.assert:
    that: stall_step.host not in stall_step.parameters.fails_on
    fail_msg: "{{ stall_step.host }} is one that it fails on"

- name: Work for a while
  ansible.builtin.command: sleep {{ stall_step.parameters.pause_s }}
  changed_when: false
  when: stall_step.parameters.pause_s > 0

- name: Write the file
  ansible.builtin.lineinfile:
    path: "{{ stall_step.parameters.directory }}/{{ stall_step.host }}"
    line: settled
    create: true
    mode: "0644"
  register: settle_file

- name: Say what was done
  ansible.builtin.set_fact:
    stall_step_result:
      changed: "{{ settle_file.changed }}"
      said: ["{{ 'the file was written' if settle_file.changed else 'the file was there' }}"]
      undo:
        path: "{{ stall_step.parameters.directory }}/{{ stall_step.host }}"
"""
SETTLE_UNDO = """---
- name: Remove the file
  ansible.builtin.file:
    path: "{{ stall_step.undo_with.path }}"
    state: absent
"""


@dataclass
class Fleet:
    """`racks` of so many hosts each under `base`; all hosts but `clear` ones stall."""

    base: Path
    racks: Mapping[str, int]
    clear: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Hosts whose cause names another remedy than `settle`, with its parameters."""

    @property
    def runs(self) -> Path:
        return self.base / "runs"

    @property
    def remedies(self) -> Path:
        return self.base / "remedies"

    @property
    def settled(self) -> Path:
        """Where the remedy leaves its files."""
        return self.base / "settled"

    @property
    def inventory(self) -> Path:
        return self.base / "inventory.json"

    @property
    def plan(self) -> Path:
        return self.runs / RUN / "plan.yml"

    @property
    def campaign(self) -> Path:
        return self.runs / RUN / "remediation" / f"{RUN}-plan"

    @property
    def hosts(self) -> dict[str, str]:
        """Host -> rack."""
        return {f"node-{rack}-{number:02}": f"rack_{rack}" for rack, count in self.racks.items() for number in range(1, count + 1)}

    def make(self) -> Fleet:
        """Everything on disk."""
        for path in (self.runs / RUN / "evidence", self.remedies / "tasks" / "undo", self.settled):
            path.mkdir(parents=True)
        (self.remedies / "settle.yml").write_text(yaml.safe_dump(SETTLE))
        (self.remedies / "tasks" / "settle.yml").write_text(SETTLE_TASKS)
        (self.remedies / "tasks" / "undo" / "settle.yml").write_text(SETTLE_UNDO)
        self.inventory.write_text(json.dumps(self._inventory()))
        (self.runs / RUN / "manifest.json").write_text(json.dumps(self._manifest()))
        (self.runs / RUN / "findings.json").write_text(json.dumps(self.findings()))
        (self.runs / "latest").symlink_to(RUN)
        return self

    def variables(self, **more: Any) -> dict[str, Any]:
        """What a call of the playbook is given. No probe tells whether a file helped, so the first wave need not do better."""
        return {
            "stall_runs_dir": str(self.runs),
            "stall_remedy_dirs": [str(self.remedies)],
            "stall_remedies": ["settle", *sorted({name for name, _ in self.others.values()})],
            "stall_become": False,
            "stall_canary_better": False,
            **{f"stall_{name}": value for name, value in more.items()},
        }

    def lines(self) -> list[dict[str, Any]]:
        """Of the journal."""
        return [json.loads(line) for line in (self.campaign / "journal.jsonl").read_text().splitlines()]

    def _inventory(self) -> dict[str, Any]:
        children: dict[str, Any] = {}
        for host, rack in self.hosts.items():
            children.setdefault(rack, {"hosts": {}})["hosts"][host] = {}
        return {
            "all": {
                "children": children,
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            }
        }

    def _manifest(self) -> dict[str, Any]:
        hosts = {host: {"groups": [rack], "domains": {"rack": rack}, "in_limit": True} for host, rack in self.hosts.items()}
        return {"schema_version": 1, "run": {"id": RUN, "parameters": {}}, "hosts": hosts, "flows": []}

    def findings(self) -> dict[str, Any]:
        """As far as a plan reads them."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {
            "schema_version": 1,
            "run": {"id": RUN, "started_at": now, "finished_at": now},
            "hosts": [self._row(host, number) for number, host in enumerate(self.hosts, 1)],
        }

    def _row(self, host: str, rank: int) -> dict[str, Any]:
        status = "clear" if host in self.clear else "not_measured" if host in self.down else "stalling"
        remedy, settings = self.others.get(host, ("settle", {"directory": str(self.settled), **self.settings}))
        cause = {
            "id": "unsettled",
            "title": "The host has not settled",
            "class": "T",
            "confidence": "probable",
            "evidence": ["its file is not there"],
            "mitigation": None,
            "fix": None,
            "source": None,
            "remedies": [remedy],
            "settings": {remedy: settings},
        }
        return {
            "host": host,
            "rank": rank,
            "status": status,
            "reason": "it does not answer" if status == "not_measured" else None,
            "severity": {"stalled_ms_per_s": 1000.0 / rank if status == "stalling" else None},
            "blame": {"side": "receiver" if status == "stalling" else None},
            "causes": [cause] if status == "stalling" else [],
            "trigger": None,
            "capture": {"role": "suspect"} if status == "stalling" else None,
        }
