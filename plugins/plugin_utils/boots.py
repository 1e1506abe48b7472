# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host was rebooted, judged by the kernel's id of its boot, and not by a connection that came back or a command that returned."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

PATH = "/proc/sys/kernel/random/boot_id"
_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class BootError(Exception):
    """The host was not rebooted, or did not come back; the message says which, as far as it can be told."""


@dataclass(frozen=True, slots=True)
class Look:
    """One attempt to ask a host which boot it runs: its id, or why there was no answer."""

    boot_id: str | None = None
    silent: str = ""


def boot_id(text: str) -> str | None:
    """The id in what a host printed, which may begin with a greeting."""
    found = [match.group() for line in text.splitlines() if (match := _BOOT_ID.fullmatch(line.strip()))]
    return found[-1] if found else None


def wait_for_another(
    was: str,
    look: Callable[[], Look],
    timeout_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    pause_s: float = 2,
) -> str:
    """The id of the boot that follows `was`. Raises BootError when the time is over."""
    deadline = clock() + timeout_s
    went, last = False, Look()
    while True:
        last = look()
        if last.boot_id and last.boot_id != was:
            return last.boot_id
        went = went or not last.boot_id
        if clock() >= deadline:
            raise BootError(_told(last, went, timeout_s))
        sleep(min(pause_s, max(0.0, deadline - clock())))


def _told(last: Look, went: bool, timeout_s: float) -> str:
    if not last.boot_id:
        return f"did not come back within {timeout_s:g} s: {printable(last.silent) or 'no answer'}"
    if went:
        return f"answers again, and runs the same boot as before, after {timeout_s:g} s: it was not rebooted"
    return f"still runs the same boot after {timeout_s:g} s: it did not do what the command asked for"
