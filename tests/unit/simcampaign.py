"""A campaign as the roles drive it, without hosts: it writes the lines that they do, and can be killed behind any of them.

`World` is what really happened to the hosts; the journal is all that a controller that comes back knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.fleet.stall.plugins.plugin_utils import gates, journal_state
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import NOTHING, ROLL_BACK, STEP, VERIFY, Host


class Killed(Exception):
    """The controller is gone."""


@dataclass
class World:
    """Hosts: `applied` counts what a remedy really did, `boots` the reboots, `cordoned` who is out of service."""

    verdicts: dict[str, list[str]] = field(default_factory=dict)
    fails: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()
    applied: dict[tuple[str, int], int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)
    cordoned: set[str] = field(default_factory=set)

    def boot_id(self, host: str) -> str:
        return f"boot-{self.boots.get(host, 0)}"


@dataclass
class Controller:
    """Goes through a plan from wherever the journal says that it is.

    `lives`: so many moments, one before each line and one behind it, and it is killed: what the line before said is done then, or not.
    """

    plan: dict
    world: World
    lines: list
    lives: int | None = None
    retry: bool = False

    def run(self) -> bool:
        """Whether the campaign came to its end."""
        self._note("resumed" if self.lines else "opened")
        for number in range(1, len(self.plan["waves"]) + 1):
            if not self._wave(number):
                return False
        self._note("closed", data={"outcome": "done"})
        return True

    def _wave(self, number: int) -> bool:
        state = self._state()
        left = gates.wave(self.plan, state, number, self.retry)
        if not left.hosts and state.waves.get(number) == "passed":
            return True
        if state.waves.get(number) == "failed" and not self.retry:
            return False
        self._note("wave_begun", wave=number)
        for turn in range(left.rounds):
            hosts = gates.wave(self.plan, self._state(), number, self.retry and turn == 0).hosts
            for host in hosts:
                self._step(host, number, self.retry and turn == 0)
            for host in self._next_is(number, VERIFY, self.retry and turn == 0):
                verdicts = self.world.verdicts.get(host, [])
                index = self._state().hosts[host].step.index
                self._note("verified", host=host, data={"verdict": verdicts[index] if index < len(verdicts) else "better"})
            for host in self._next_is(number, ROLL_BACK, retry=False):
                self._roll_back(host)
        if because := gates.verdict(self.plan, self._state(), number, self.retry):
            self._note("wave_failed", wave=number, data={"because": because})
            self._note("stopped", data={"because": because, "failed": True})
            return False
        self._note("wave_passed", wave=number)
        return True

    def _step(self, host: str, wave: int, retry: bool) -> None:
        known = self._state().hosts.get(host) or Host(host)
        next_ = journal_state.next_of(known, gates.planned(self.plan)[host], retry)
        if next_.what == STEP:
            step = gates.planned(self.plan)[host]["steps"][next_.index]
            before = known.step.before if next_.resumed else {"boot_id": self.world.boot_id(host)}
            if not next_.resumed:
                self._note("step_begun", host=host, wave=wave, step=next_.index, remedy=step["remedy"], data={"before": before})
            self._do(host, step, next_.index, before)
        if next_.what != NOTHING:
            self._give_back(host)

    def _roll_back(self, host: str) -> None:
        index = self._state().hosts[host].step.index
        self._drain(host, gates.planned(self.plan)[host]["steps"][index])
        self.world.applied[host, index] = 0
        self._note("rolled_back", host=host)
        self._give_back(host)

    def _drain(self, host: str, step: dict) -> None:
        if step["drain"]:
            # To a controller that comes back, a node it cordoned itself is simply cordoned.
            self._note("cordon_begun", host=host, data={"driver": "sim", "ours": host not in self.world.cordoned})
            self.world.cordoned.add(host)
            self._note("cordoned", host=host)
            self._note("drained", host=host)

    def _give_back(self, host: str) -> None:
        known = self._state().hosts.get(host) or Host(host)
        if known.cordoned and known.is_healthy:
            self._note("undrain_begun", host=host)
            self.world.cordoned.discard(host)
            self._note("undrained", host=host)

    def _do(self, host: str, step: dict, index: int, before: dict) -> None:
        self._drain(host, step)
        if step["remedy"] == "reboot":
            if self.world.boot_id(host) == before["boot_id"]:
                self._note("reboot_begun", host=host, data={"boot_id": before["boot_id"]})
                self.world.boots[host] = self.world.boots.get(host, 0) + 1
            self._note("rebooted", host=host, data={"boot_id": self.world.boot_id(host)})
            if host in self.world.unhealthy:
                self._note("gate_failed", host=host, data={"because": "it is degraded"})
                self._note("step_failed", host=host, data={"because": "it is degraded"})
                return
            self._note("gate_passed", host=host)
        elif host in self.world.fails:
            self._note("step_failed", host=host, data={"because": "it fails"})
            return
        else:
            self.world.applied[host, index] = 1
        self._note("step_done", host=host, data={"changed": True, "said": [], "undo": {}})

    def _next_is(self, number: int, what: str, retry: bool) -> list[str]:
        found = gates.nexts(self.plan, self._state(), gates.members(self.plan, number), retry)
        return [host for host, next_ in found.items() if next_.what == what]

    def _state(self) -> journal_state.State:
        return journal_state.fold(self.lines)

    def _note(self, event: str, *, host=None, wave=None, step=None, remedy=None, data=None) -> None:
        if host is not None and step is None:
            last = self._state().hosts[host]
            wave, step, remedy = last.wave, last.step.index, last.step.remedy
        self._moment()
        at = f"2026-11-25T12:00:00.{len(self.lines):03}Z"
        self.lines.append(
            {"at": at, "by": "c:1", "host": host, "wave": wave, "step": step, "remedy": remedy, "event": event, "data": data or {}}
        )
        self._moment()

    def _moment(self) -> None:
        if self.lives == 0:
            raise Killed
        if self.lives is not None:
            self.lives -= 1
