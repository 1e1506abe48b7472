# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of a campaign: runs/<run>/remediation/<plan>/{plan.yml, plan.json, journal.jsonl, verify/.., remediation.{md,html}}.

plan.json is plan.yml as it was confirmed: each step of each host reads it, and YAML of five hundred hosts takes seconds.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import journal, journal_state, rundir
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import State
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError

REMEDIATION = "remediation"
PLAN = "plan.yml"


def process() -> int:
    """The process that plays: an action runs in a fork of it."""
    return os.getppid()


class Remediation:
    """One campaign on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def of_plan(cls, run: RunDir, plan: str) -> Remediation:
        return cls(run.path / REMEDIATION / plan)

    @property
    def base(self) -> Path:
        """The runs directory."""
        return self.path.parents[2]

    def fleet(self) -> list[str]:
        """The hosts of the run that the plan is from; none, where that has no manifest any more."""
        manifest = rundir.read_json(self.path.parents[1] / "manifest.json") or {}
        return list(manifest.get("hosts") or {})

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def is_open(self) -> bool:
        return self.journal.exists()

    def create(self, plan: Mapping[str, Any], text: str) -> None:
        """:param text: plan.yml as it was confirmed. Raises RunDirError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            rundir.write_text(self.path / PLAN, text)
            rundir.write_json(self.path / "plan.json", plan)
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, name: str, text: str) -> Path:
        """A file of the campaign. Raises RunDirError."""
        try:
            rundir.write_text(self.path / name, text)
        except OSError as error:
            raise self._unwritable(error) from error
        return self.path / name

    def _unwritable(self, error: OSError) -> RunDirError:
        return RunDirError(f"{self.path} can't be written: {error.strerror}. Make room there, or set stall_runs_dir.")

    def plan(self) -> dict[str, Any]:
        """Raises RunDirError."""
        plan = rundir.read_json(self.path / "plan.json")
        if plan is None:
            raise RunDirError(f"{self.path} holds no plan: begin with remediate.yml -e stall_plan=<path> -e stall_confirm=true.")
        return plan

    def lines(self) -> list[dict[str, Any]]:
        """Raises journal.JournalError."""
        return journal.read(self.journal)

    def state(self) -> State:
        """Raises journal.JournalError."""
        return journal_state.fold(self.lines())

    def note(self, event: str, *, host: str | None = None, data: Mapping[str, Any] | None = None, **place: Any) -> None:
        """Add a line to the journal; one of a host is of its last step, where `place` says nothing else. Raises journal.JournalError."""
        if host is not None and not place:
            known = self.state().hosts.get(host)
            if known and known.step:
                place = {"wave": known.wave, "step": known.step.index, "remedy": known.step.remedy}
        journal.append(self.journal, event, f"{platform.node()}:{process()}", host=host, data=data, **place)


def next_name(run: RunDir, kind: str = "plan") -> str:
    """The id of the next plan of a run: one that was begun keeps its own."""
    name, number = f"{run.id}-{kind}", 1
    while Remediation.of_plan(run, name).is_open:
        number += 1
        name = f"{run.id}-{kind}-{number}"
    return name


def journals(base: Path) -> list[Path]:
    """Of all campaigns of a runs directory."""
    return sorted(base.glob(f"*/{REMEDIATION}/*/journal.jsonl"))
