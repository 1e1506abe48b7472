# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lines of a journal come to: how far each host is, and what is next for it. Pure: lines in, state out, after any prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BEGUN, DONE, FAILED = "begun", "done", "failed"
BETTER, SAME, WORSE, UNKNOWN = "better", "same", "worse", "unknown"
NOT_MEASURED = "not_measured"
# What is only said of a host that answered
_ANSWERED = ("step_begun", "step_done", "rebooted", "gate_passed")

# What is next for a host
STEP, UNDRAIN, VERIFY, ROLL_BACK, NOTHING = "step", "undrain", "verify", "roll_back", "nothing"


@dataclass
class Step:
    """One remedy of one host."""

    index: int
    remedy: str | None
    status: str
    before: Mapping[str, Any] | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    because: str | None = None
    verdict: Mapping[str, Any] | None = None
    rolled_back: bool | None = None
    """None: not tried."""

    @property
    def is_worse(self) -> bool:
        return self.verdict is not None and self.verdict.get("verdict") == WORSE

    @property
    def went_dark(self) -> bool:
        """Whether the host could be measured before, and not after it."""
        before, after = ((self.verdict or {}).get(run) or {} for run in ("before", "after"))
        return after.get("status") == NOT_MEASURED != before.get("status", NOT_MEASURED)

    @property
    def left_an_undo(self) -> bool:
        """Whether it changed what can be taken back; a template of ansible-core before 2.19 makes an empty string of none."""
        return self.result.get("undo") not in (None, "")


@dataclass
class Host:
    """How far a host is. `cordoned`: by us, and not given back yet; `reboot`, `rebooted_from` (a boot id), `gate`: of the last step."""

    host: str
    wave: int | None = None
    steps: dict[int, Step] = field(default_factory=dict)
    cordoned: bool = False
    drained: bool = False
    reboot: str | None = None
    rebooted_from: str | None = None
    gate: str | None = None
    sick: bool = False
    """Whether an earlier try of the step left it without a passed health gate."""
    boot_ids: list[str] = field(default_factory=list)
    """After reboots of ours."""
    last: str | None = None
    at: str | None = None

    @property
    def step(self) -> Step | None:
        """The one that came last."""
        return self.steps[max(self.steps)] if self.steps else None

    @property
    def is_healthy(self) -> bool:
        """As far as the journal knows: no reboot of ours is without a passed gate."""
        return self.gate == "passed" if self.reboot else not self.sick

    @property
    def has_failed(self) -> bool:
        return self.step is not None and (self.step.status == FAILED or self.step.is_worse or self.step.went_dark)

    @property
    def is_down(self) -> bool:
        """It counts against the limits of its failure domains when others are next."""
        return self.cordoned or (self.has_failed and not (self.step and self.step.rolled_back))


@dataclass
class State:
    """A campaign."""

    hosts: dict[str, Host] = field(default_factory=dict)
    waves: dict[int, str] = field(default_factory=dict)
    passed_at: str | None = None
    """When the last wave passed."""
    silent: set[str] = field(default_factory=set)
    """Hosts of the fleet that did not answer when the campaign was opened last, and that it has not been at since."""
    opened: bool = False
    stopped: Mapping[str, Any] | None = None
    outcome: str | None = None

    def host(self, name: str) -> Host:
        return self.hosts.setdefault(name, Host(name))

    @property
    def failed(self) -> list[str]:
        return sorted(name for name, host in self.hosts.items() if host.has_failed)


@dataclass(frozen=True)
class Next:
    """What to do with a host: STEP (`resumed`: it was begun before), UNDRAIN, VERIFY, ROLL_BACK of a step's `index`, or NOTHING."""

    what: str
    index: int | None = None
    resumed: bool = False
    because: str | None = None


def fold(lines: Iterable[Mapping[str, Any]]) -> State:
    """:param lines: as journal.read gives them"""
    state = State()
    for line in lines:
        if line.get("host") is None:
            _of_campaign(state, line)
        else:
            if line["event"] in _ANSWERED:
                state.silent.discard(line["host"])
            _of_host(state.host(line["host"]), line)
    return state


def _of_campaign(state: State, line: Mapping[str, Any]) -> None:
    event, data = line["event"], line["data"]
    if event in ("opened", "resumed"):
        state.opened, state.stopped, state.outcome = True, None, None
        state.silent = set(data.get("silent") or ())
    elif event == "stopped":
        state.stopped = data
    elif event == "closed":
        state.outcome = data.get("outcome")
    elif event.startswith("wave_") and line["wave"] is not None:
        state.waves[line["wave"]] = event.removeprefix("wave_")
        state.passed_at = line["at"] if event == "wave_passed" else state.passed_at


def _of_host(host: Host, line: Mapping[str, Any]) -> None:
    event, data = line["event"], line["data"]
    host.last, host.at = event, line["at"]
    if event == "step_begun":
        before = data.get("before")
        _came_up_late(host, (before or {}).get("boot_id"))
        host.wave, host.drained, host.sick = line["wave"], False, not host.is_healthy
        host.reboot = host.rebooted_from = host.gate = None
        host.steps[line["step"]] = Step(line["step"], line["remedy"], BEGUN, before=before)
    elif event == "cordon_begun":
        # Cordoned by ourselves before the controller died, it looks like anybody's the second time.
        host.cordoned = host.cordoned or bool(data.get("ours"))
    elif event == "drained":
        host.drained = True
    elif event == "undrained":
        host.cordoned = host.drained = False
    elif event == "reboot_begun":
        host.reboot, host.rebooted_from, host.gate = BEGUN, data.get("boot_id"), None
    elif event == "rebooted":
        host.reboot = DONE
        host.boot_ids += [data["boot_id"]] if data.get("boot_id") else []
    elif event in ("gate_passed", "gate_failed"):
        host.gate = event.removeprefix("gate_")
        host.sick = host.sick and host.gate != "passed"
    elif host.step is not None:
        _of_step(host.step, event, data)


def _came_up_late(host: Host, boot_id: str | None) -> None:
    """A host that was given up in a reboot of ours, and is there with another boot, was rebooted by it."""
    if host.reboot == BEGUN and boot_id and host.rebooted_from and boot_id != host.rebooted_from:
        host.boot_ids.append(boot_id)


def _of_step(step: Step, event: str, data: Mapping[str, Any]) -> None:
    if event == "step_done":
        step.status, step.result = DONE, data
    elif event == "step_failed":
        # What was done stays done where the host could not be given back: it is cordoned, and that counts.
        step.status, step.because = DONE if step.status == DONE else FAILED, data.get("because")
    elif event == "drain_failed":
        step.because = data.get("because")
    elif event == "verified":
        step.verdict = data
    elif event in ("rolled_back", "rollback_failed"):
        step.rolled_back = event == "rolled_back"


def next_of(host: Host, planned: Mapping[str, Any], retry: bool = False) -> Next:
    """:param planned: the row of the host in the plan
    :param retry: whether a step that failed is to be tried again, and a host that could not be measured after it to be looked at again
    """
    step = host.step
    if step is None:
        return Next(STEP, 0)
    if step.status == BEGUN:
        return Next(STEP, step.index, resumed=True)
    if step.is_worse and step.left_an_undo and planned["steps"][step.index].get("undo") and step.rolled_back is None:
        return Next(ROLL_BACK, step.index)
    if host.cordoned:
        return Next(UNDRAIN, step.index) if host.is_healthy else _or_again(step, retry, "it is cordoned, and its health gate did not pass")
    if step.status == FAILED:
        return _or_again(step, retry, step.because or "its step failed")
    if step.verdict is None or (retry and step.went_dark):
        return Next(VERIFY, step.index)
    return _after_verdict(step, planned)


def only_finish(host: Host, next_: Next) -> Next:
    """What of it is done where no more may be begun: a reboot is seen through, a host that was taken out is given back, all else waits."""
    if next_.resumed and host.reboot:
        return next_
    if next_.resumed and host.cordoned:
        return Next(UNDRAIN, next_.index)
    return next_ if next_.what == UNDRAIN else Next(NOTHING)


def _or_again(step: Step, retry: bool, because: str) -> Next:
    return Next(STEP, step.index) if retry else Next(NOTHING, because=because)


def _after_verdict(step: Step, planned: Mapping[str, Any]) -> Next:
    """Up the ladder only where the plan allows it, and the remedy was seen not to help."""
    if (step.verdict or {}).get("verdict") == SAME and planned.get("escalate") and step.index + 1 < len(planned["steps"]):
        return Next(STEP, step.index + 1)
    return Next(NOTHING)
