# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is in health after a reboot: it has booted, no unit has failed that had not before, and the user's command says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils import boots
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

# A unit that has failed may be started again at once; one that stays so for this long has failed
SETTLED_S = 15
_MARK = "-- fleet.stall --"
# One round trip; nothing of it needs Python
SCRIPT = "; ".join(
    (
        f"cat {boots.PATH}",
        f"echo '{_MARK}'",
        "timeout -k 5 20 systemctl is-system-running 2>/dev/null",
        f"echo '{_MARK}'",
        "timeout -k 5 20 systemctl list-units --state=failed --plain --no-legend --no-pager --full 2>/dev/null",
        "true",
    )
)
_BOOTED = ("running", "degraded")
_ON_ITS_WAY = ("initializing", "starting", "stopping")


class HealthError(Exception):
    """The host is not in health; the message says why."""


@dataclass(frozen=True, slots=True)
class Look:
    """``state`` as systemd calls it, empty where it does not run; ``silent``: why there was no answer at all."""

    boot_id: str | None = None
    state: str = ""
    failed_units: frozenset[str] = frozenset()
    silent: str = ""


def parse(text: str) -> Look:
    """What SCRIPT prints."""
    parts = text.split(_MARK)
    if len(parts) != 3:
        return Look(silent="its answer is incomplete")
    state = parts[1].strip().splitlines()
    units = [line.replace("●", " ").split() for line in parts[2].splitlines()]
    return Look(boots.boot_id(parts[0]), state[-1] if state else "", frozenset(row[0] for row in units if row))


@dataclass(frozen=True, slots=True)
class Expected:
    """``boot_id``: of the boot that is judged, None for whichever runs; ``failed_units``: before, None where that is not known;
    ``command``: whether the user's command judges as well."""

    boot_id: str | None
    failed_units: Sequence[str] | None
    command: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a host from being in health, and for how many seconds that may pass by itself (None: as long as there is time)."""

    sentence: str
    passes_s: float | None = None


def trouble(look: Look, expected: Expected) -> Trouble | None:
    """None if nothing does."""
    if look.silent or not look.boot_id:
        return Trouble(f"it does not answer: {printable(look.silent) or 'it tells no boot id'}")
    if expected.boot_id and look.boot_id != expected.boot_id:
        return Trouble(f"it has rebooted once more by itself: it runs boot {look.boot_id}, not {printable(expected.boot_id)}", 0)
    if look.state in _ON_ITS_WAY:
        return Trouble(f"its system is {look.state}")
    if look.state == "maintenance":
        return Trouble("it is in rescue or emergency mode", 0)
    if look.state not in _BOOTED:
        if expected.command:
            return None
        return Trouble("systemd does not run there, so that its health is not known. Remedy: set stall_health_command", SETTLED_S)
    fresh = sorted(look.failed_units - set(expected.failed_units or ()))
    if not fresh:
        return None
    unknown = "; what had failed before is not known" if expected.failed_units is None else ""
    return Trouble(f"units failed that had not failed before: {and_more(fresh)}{unknown}", SETTLED_S)


def wait(
    look: Callable[[], Look],
    command: Callable[[], str] | None,
    expected: Expected,
    timeout_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    pause_s: float = 3,
) -> Look:
    """The host in health. Raises HealthError.

    :param command: runs the user's command; what it has against the host, empty if nothing
    """
    deadline = clock() + timeout_s
    since, before = clock(), None
    while True:
        seen = look()
        now = trouble(seen, expected)
        if not now and command and (said := command()):
            now = Trouble(said)
        if not now:
            return seen
        since, before = (since, now) if now == before else (clock(), now)
        if now.passes_s is not None and clock() - since >= now.passes_s:
            raise HealthError(now.sentence)
        if clock() >= deadline:
            raise HealthError(f"{now.sentence}, after {timeout_s:g} s")
        sleep(min(pause_s, max(0.0, deadline - clock())))
