# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.common.validation import check_type_list
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.fleet.stall.plugins.plugin_utils import (
    breaker,
    campaign_lock,
    gates,
    journal,
    journal_state,
    pause,
    plan_check,
    remediation_request,
    remediation_table,
    request,
)
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction, display, warn
from ansible_collections.fleet.stall.plugins.plugin_utils.campaign_lock import Holder
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import BEGUN, DONE, ROLL_BACK, UNKNOWN, VERIFY, State
from ansible_collections.fleet.stall.plugins.plugin_utils.pause import Pause
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation, journals, process
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable


class ActionModule(ControllerAction):
    """Decide whether a campaign may be opened, a wave be begun, and whether it has passed."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = self._task.args
        self.campaign = Remediation(arguments["dir"])
        self.plan = self.campaign.plan()
        self.wave = int(arguments.get("wave", 0))
        self.retry = boolean(arguments.get("retry", False))
        at = {
            "start": self._start,
            "before": self._before,
            "round": self._round,
            "verify": self._verify,
            "roll_back": self._roll_back,
            "after": self._after,
        }
        return at[arguments["at"]](task_vars)

    # -- Once a campaign

    def _start(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        state = self.campaign.state()
        hosts = [host for wave in gates.left(self.plan, state, self.retry) for host in wave]
        measured = {host: task_vars["hostvars"][host].get("stall_now") or {} for host in hosts}
        boot_ids = {host: (now.get("measured") or {}).get("boot_id") for host, now in measured.items()}
        against = gates.refusals(self.plan, state, boot_ids)
        if not self.campaign.is_open:
            request.refuse(against)
        # One that has begun goes on, for the hosts it took out of service: the step refuses these.
        for sentence in against:
            warn(sentence)
        if self._task.check_mode:
            return {"stop": False}
        holder = self._holder()
        if said := campaign_lock.take(self.campaign.base, holder, boolean(self._task.args.get("unlock", False))):
            warn(said)
        self._give_back(check_type_list(self._task.args.get("given_back") or []))
        silent = self._silent(task_vars)
        if silent:
            warn(
                f"{and_more(silent)} {'does' if len(silent) == 1 else 'do'} not answer, and count{'s' if len(silent) == 1 else ''} as away."
            )
        self._note("resumed" if self.campaign.is_open else "opened", plan=self.plan["plan"], retry=self.retry, silent=silent)
        return {"stop": False}

    def _silent(self, task_vars: dict[str, Any]) -> list[str]:
        """Hosts of the plan, and of the run it is from, that were called and did not answer; one that hangs ends no command."""
        fleet = {*self.campaign.fleet(), *gates.planned(self.plan)} & {*remediation_request.fleet(task_vars["groups"], {})}
        called = {host: task_vars["hostvars"][host].get("stall_answer") for host in sorted(fleet)}
        return [host for host, answer in called.items() if answer and "rc" not in answer]

    def _give_back(self, hosts: list[str]) -> None:
        """Hosts that a person put back into service: no campaign has them away any more."""
        found = set()
        for path in journals(self.campaign.base) if hosts else ():
            for host, known in journal_state.fold(journal.read(path)).hosts.items():
                if host in hosts and known.cordoned:
                    Remediation(path.parent).note("undrained", host=host, data={"by_hand": True})
                    found.add(host)
        if unknown := [printable(host, 80) for host in hosts if host not in found]:
            warn(f"stall_given_back names {and_more(unknown)}: no campaign has it out of service, so that changes nothing.")

    # -- Once a wave

    def _before(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        state = self._state()
        wave = gates.wave(self.plan, state, self.wave, self.retry)
        if self._task.check_mode:
            return _go(wave.hosts, min(wave.rounds, 1))
        if not wave.hosts and state.waves.get(self.wave) == "passed":
            return _go([], 0)
        waits = self._pause(state)
        if waits.wait_s:
            display.display(f"Wave {self.wave} begins in {waits.wait_s:.0f} s (soak_s).")
            time.sleep(waits.wait_s)
        because, is_failure = self._against(state, task_vars)
        if not (because or waits.because):
            self._note("wave_begun", wave=self.wave, hosts=wave.hosts)
            display.display(f"Wave {self.wave} of {len(self.plan['waves'])}: {and_more(wave.hosts, 5) or 'only its gate is left'}")
            return _go(wave.hosts, wave.rounds)
        unfinished = gates.in_flight(self.plan, state, wave.hosts)
        if unfinished:
            warn(f"{because or waits.because}: only what must not be left as it is gets finished, on {and_more(unfinished)}.")
            return {**_go(unfinished, 1), "finishing": True}
        return self._stop(because, is_failure) if because else self._stop(waits.because, False, waits.until)

    def _pause(self, state: State) -> Pause:
        """A wave that has begun has soaked."""
        left = 0.0 if state.waves.get(self.wave) == BEGUN else gates.soak_left_s(self.plan, state, _now())
        return pause.before_wave(self.plan["limits"], left, _now())

    def _against(self, state: State, task_vars: dict[str, Any]) -> tuple[str, bool]:
        """Why a wave may not be begun, and whether that is a failure, which only a person can let pass."""
        if (state.waves.get(self.wave) == "failed") and not self.retry:
            return f"wave {self.wave} failed: {gates.way_on(self.plan, state, self.wave)}", True
        holder = campaign_lock.held_by(self.campaign.base)
        if holder is None or not holder.is_process_of(self._holder()):
            return "the lock of the fleet is no longer ours", False
        told = [journal.read(path) for path in journals(self.campaign.base)]
        lines = [line for one in told for line in one]
        away = gates.out_of_service(journal_state.fold(one) for one in told)
        parameters, errors = request.read_parameters(task_vars, self._templar.template)
        request.refuse(errors)
        fleet = remediation_request.fleet(task_vars["groups"], parameters["domains"])
        limits = self.plan["limits"]
        for because in (
            plan_check.expired(self.plan, _now()),
            "" if self.retry else breaker.tripped(lines, limits["breaker"], _now()),
            gates.may_begin(self.plan, state, self.wave, fleet, away),
        ):
            if because:
                return because, False
        return "", False

    def _after(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            return _go([], 0)
        if boolean(self._task.args.get("finishing", False)):
            because, is_failure = self._against(self._state(), task_vars)
            if because:
                return self._stop(because, is_failure)
            until = self._pause(self._state()).until
            return self._stop("what had been begun is finished, and no more may be begun now", False, until)
        self._give_up()
        state = self._state()
        failed = gates.failed_in(self.plan, state, self.wave)
        for host, why in failed.items():
            warn(f"{printable(host, 80)} failed: {printable(why, 1000)}")
        if because := gates.verdict(self.plan, state, self.wave, self.retry):
            self._note("wave_failed", wave=self.wave, because=because)
            return self._stop(because, True)
        if state.waves.get(self.wave) != "passed":
            self._note("wave_passed", wave=self.wave, failed=failed)
        return _go([], 0)

    def _give_up(self) -> None:
        """Hosts that were lost on the way: no line says how their step ended, or whether it helped."""
        known = self._state().hosts
        for host in (known[name] for name in gates.members(self.plan, self.wave) if name in known):
            last = f"the last that is known of it is {host.last} at {host.at}"
            if host.step and host.step.status == BEGUN:
                self.campaign.note("step_failed", host=host.host, data={"because": f"it was lost on the way: {last}"})
            elif host.step and host.step.status == DONE and host.step.verdict is None and not host.cordoned:
                self.campaign.note("verified", host=host.host, data={"verdict": UNKNOWN, "sentence": f"It was not looked at: {last}."})

    # -- Within a round

    def _round(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        state = self._state()
        return _go(gates.wave(self.plan, state, self.wave, self.retry).hosts, 1)

    def _verify(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        return _go([] if self._task.check_mode else self._next_is(VERIFY, self.retry), 1)

    def _roll_back(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        return _go([] if self._task.check_mode else self._next_is(ROLL_BACK, retry=False), 1)

    def _next_is(self, what: str, retry: bool) -> list[str]:
        found = gates.nexts(self.plan, self._state(), gates.members(self.plan, self.wave), retry)
        return [host for host, next_ in found.items() if next_.what == what]

    # -- The campaign

    def _state(self) -> State:
        return self.campaign.state()

    def _holder(self) -> Holder:
        return Holder.of_process(self.plan["plan"], process(), plan_check.stamp(_now()))

    def _note(self, event: str, wave: int | None = None, **data: Any) -> None:
        self.campaign.note(event, data=data, wave=wave)

    def _stop(self, because: str, is_failure: bool, until: datetime | None = None) -> dict[str, Any]:
        """:param until: when it may be gone on with, where only time stands against it"""
        self._note("stopped", because=because, failed=is_failure, until=plan_check.stamp(until) if until else None)
        display.display(remediation_table.ending(self._state()))
        return {**_go([], 0), "stop": True, "because": because}


def _go(hosts: list[str], rounds: int) -> dict[str, Any]:
    return {"stop": False, "because": "", "finishing": False, "hosts": hosts, "rounds": rounds}


def _now() -> datetime:
    return datetime.now(timezone.utc)
