# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, compare, write, read back; and remember what a setting was before it was first changed.

What was is kept on the host before anything is written, until the next boot: a remedy that was broken off and is run again still knows
the way back, and a multiple is one of what was.
"""

import fcntl
import json
import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import statedir
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

SCHEMA_VERSION = 1


class Place:
    """Where a setting is. `kind` and `described()` find it again, whatever has happened to the host meanwhile."""

    kind = ""

    def described(self) -> Dict[str, Any]:
        raise NotImplementedError

    def label(self) -> str:
        """What it is called in a sentence."""
        raise NotImplementedError

    def exists(self) -> bool:
        """False once what the setting belonged to is gone: a process that ended, a module that was unloaded."""
        raise NotImplementedError

    def read(self) -> str:
        """Raises OSError, Unavailable or Unfit."""
        raise NotImplementedError

    def write(self, value: str) -> None:
        """Raises OSError or Unfit."""
        raise NotImplementedError

    def same(self, one: str, other: str) -> bool:
        return one == other

    def recall(self, current: str) -> Optional[str]:
        """What it was before it was first changed, as far as the place itself can tell."""
        return None

    def key(self) -> str:
        return json.dumps([self.kind, self.described()], sort_keys=True)


# The value that a place is to hold, of the one that it holds and the one that it held before it was first changed.
Want = Callable[[str, str], str]


class Change(NamedTuple):
    """`optional`: a host without it is no failure."""

    place: Place
    want: Want
    optional: bool = False


class Memory:
    """What settings were, {key: {was, made}}, in a file of its own below the state directory, whose end is the next boot."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, statedir.SETTINGS)

    @contextmanager
    def held(self, check: bool) -> Iterator[None]:
        """One at a time changes settings. A check leaves no trace, so it does not wait its turn."""
        if check:
            yield
            return
        with open(f"{self._path}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _all(self) -> Dict[str, Dict[str, str]]:
        try:
            with open(self._path) as file:
                return dict(json.load(file)["settings"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def was(self, place: Place, current: str) -> Optional[str]:
        """What the place held before we first changed it, if it still holds what we made it."""
        entry = self._all().get(place.key())
        return entry["was"] if entry and place.same(entry["made"], current) else None

    def remember(self, place: Place, was: str, made: str) -> None:
        self._write({**self._all(), place.key(): {"was": was, "made": made}})

    def forget(self, place: Place) -> None:
        known = self._all()
        if known.pop(place.key(), None):
            self._write(known)

    def _write(self, known: Dict[str, Dict[str, str]]) -> None:
        statedir.write_whole(self._path, json.dumps({"schema_version": SCHEMA_VERSION, "settings": known}).encode())


def apply(changes: List[Change], memory: Memory, check: bool) -> Dict[str, Any]:
    """Make all changes or none: {changed, settings [{what, before, after, changed}], undo [{kind, place, value, made}], absent [what]}.

    `undo` holds what was before the first change, also where nothing was left to change now. Raises Unfit, once what was written is back.
    """
    rows: List[Dict[str, Any]] = []
    undo: List[Dict[str, Any]] = []
    absent: List[str] = []
    written: List[Tuple[Place, str]] = []
    for place, want, optional in changes:
        if optional and not place.exists():
            absent.append(place.label())
            continue
        try:
            current, wanted, was = _one(place, want, memory, check, written)
        except (OSError, Unavailable, Unfit) as error:
            raise Unfit("; ".join([f"{place.label()}: {reason(error)}", *_take_back(written)])) from None
        rows.append({"what": place.label(), "before": current, "after": wanted, "changed": not place.same(current, wanted)})
        if not place.same(was, wanted):
            undo.append({"kind": place.kind, "place": place.described(), "value": was, "made": wanted})
    return {"changed": any(row["changed"] for row in rows), "settings": rows, "undo": undo, "absent": absent}


def _one(place: Place, want: Want, memory: Memory, check: bool, written: List[Tuple[Place, str]]) -> Tuple[str, str, str]:
    """(what it held, what it holds now, what it held before it was first changed)"""
    if not place.exists():
        raise Unfit("there is no such setting on this host")
    current = place.read()
    was = next((value for value in (memory.was(place, current), place.recall(current)) if value is not None), current)
    wanted = want(current, was)
    if not check and not place.same(current, wanted):
        memory.remember(place, was, wanted)
        written.append((place, current))
        write(place, wanted)
    return current, wanted, was


def write(place: Place, value: str) -> None:
    """Write and read back: some files take a value and keep another. Raises OSError, Unavailable or Unfit."""
    place.write(value)
    kept = place.read()
    if not place.same(kept, value):
        raise Unfit(f"was set to {value!r} and holds {kept!r}: the kernel does not take that value")


def _take_back(written: List[Tuple[Place, str]]) -> List[str]:
    """A sentence for each that could not be put back."""
    stuck = []
    for place, before in reversed(written):
        try:
            if not place.same(place.read(), before):
                write(place, before)
        except (OSError, Unavailable, Unfit) as error:
            stuck.append(f"{place.label()} could not be put back to {before!r}: {reason(error)}")
    return stuck


def put_back(entries: List[Tuple[Place, str, str]], memory: Memory, check: bool) -> Dict[str, Any]:
    """Undo: {changed, settings [{what, before, after, changed}], left [sentence]} for [(place, value, made), ..].

    Only what still holds what was made is put back. Raises Unfit for what can't be, once all others are.
    """
    rows: List[Dict[str, Any]] = []
    left: List[str] = []
    stuck: List[str] = []
    for place, value, made in reversed(entries):
        try:
            if not place.exists():
                left.append(f"{place.label()}: is no longer there")
                continue
            current = place.read()
            if not place.same(current, made) and not place.same(current, value):
                left.append(f"{place.label()}: holds {current!r}, which somebody else has made of it since: left as it is")
                continue
            if not check:
                if not place.same(current, value):
                    write(place, value)
                memory.forget(place)
        except (OSError, Unavailable, Unfit) as error:
            stuck.append(f"{place.label()}: {reason(error)}")
            continue
        rows.append({"what": place.label(), "before": current, "after": value, "changed": not place.same(current, value)})
    if stuck:
        raise Unfit("; ".join(stuck))
    return {"changed": any(row["changed"] for row in rows), "settings": rows, "left": left}


def reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
