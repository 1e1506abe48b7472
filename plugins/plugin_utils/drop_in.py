# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a systemd drop-in that has a unit do less: flags of its command line, and settings of its section [Service]. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ALLOWED = (
    "CPUQuota",
    "CPUWeight",
    "CPUAffinity",
    "Nice",
    "CPUSchedulingPolicy",
    "CPUSchedulingPriority",
    "IOSchedulingClass",
    "IOSchedulingPriority",
) + ("IOWeight", "MemoryHigh", "MemoryMax", "TasksMax", "Environment")
# What is left where nothing is known of a program and nothing is asked for
GENERIC: Mapping[str, Any] = {"CPUSchedulingPolicy": "other", "Nice": 10}
OURS = "/90-fleet-stall-"
SHELLS = re.compile(r"(^|/)((ba|da|k|z)?sh|env|docker|podman|nsenter|chroot)$")
PREFIXES = "@-:+!"
TOKEN = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+""")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


class DropInError(ValueError):
    """What can't be said in a drop-in; the message names the value and what to do."""


def lines(
    unit_files: str, readers: Iterable[Mapping[str, Any]], asked: Mapping[str, Any], comm: str | None, path: str | None
) -> tuple[list[str], str]:
    """The lines, and a sentence on why these.

    :param unit_files: what ``systemctl cat`` prints
    :param readers: rows of files/readers.yml
    :param asked: ``{flags {..}|absent, properties {..}|absent}``, which go before what is known
    :param comm, path: name of the process, and what it read
    """
    flags = asked.get("flags")
    known = {} if flags is not None else known_flags(readers, comm or "", path or "")
    properties = asked.get("properties") or {}
    because = "as was asked for"
    if known:
        flags, because = known, f"as is known of {comm}"
    elif not flags and not properties:
        properties, because = (
            GENERIC,
            f"nothing is known of {comm or 'the program'} that would have it read less, so it gets less of the CPU",
        )
    made = list(_service(properties))
    if flags:
        made = [*_commands(unit_files, flags), *made]
    return made, because


def known_flags(readers: Iterable[Mapping[str, Any]], comm: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for reader in readers:
        if re.search(reader["comm"], comm) and re.search(reader["path"], path):
            found |= reader["flags"]
    return found


def _service(properties: Mapping[str, Any]) -> Iterator[str]:
    for name, value in properties.items():
        if name not in ALLOWED:
            raise DropInError(f"properties.{name} is not one that a remedy may set: {', '.join(ALLOWED)}")
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if not shown.isprintable():
            raise DropInError(f"properties.{name} is {shown!r}: give one line")
        yield f"{name}={shown}"


def _commands(unit_files: str, flags: Mapping[str, Any]) -> list[str]:
    commands = exec_start(unit_files)
    if not commands:
        raise DropInError("the unit has no ExecStart that flags could be added to: give properties instead")
    *others, command = commands
    return ["ExecStart=", *(f"ExecStart={other}" for other in others), f"ExecStart={with_flags(command, flags)}"]


def exec_start(unit_files: str) -> list[str]:
    """The command lines of the unit as its files have them, ours left out, so that it is the same whether that is there or not."""
    found: list[str] = []
    section = ""
    is_ours = False
    for line in re.sub(r"\\\n\s*", " ", unit_files).splitlines():
        line = line.strip()
        if line.startswith("# /"):
            is_ours, section = OURS in line, ""
        elif line.startswith("["):
            section = line
        elif section == "[Service]" and not is_ours and (match := re.match(r"ExecStart\s*=\s*(.*)$", line)):
            found = [*found, match.group(1)] if match.group(1) else []
    return found


def with_flags(command: str, flags: Mapping[str, Any]) -> str:
    """The command line with these flags, each in the place of one of the same name. Raises DropInError for one of a shell."""
    words = TOKEN.findall(command)
    if SHELLS.search(words[0].lstrip(PREFIXES)):
        raise DropInError(f"its command line is that of {words[0]}, which flags can't be added to: give properties instead")
    for flag, value in flags.items():
        if not re.fullmatch(r"--?[A-Za-z][\w.-]*", flag) or not str(value).isprintable() or re.search(r"\s", str(value)):
            raise DropInError(f"flags.{flag} is {value!r}: give a flag such as --interval, and a value without blanks, or null for none")
        words = _with_flag(words, flag, value)
    return " ".join(words)


def _with_flag(words: list[str], flag: str, value: Any) -> list[str]:
    kept: list[str] = []
    rest = iter(words[1:])
    for word in rest:
        name, has_value, now = word.partition("=")
        if not word.startswith("-") or _name(name) != _name(flag):
            kept.append(word)
            continue
        if value is not None and not has_value:
            now = next(rest, "")
        value = _longer(now, value)
    return [words[0], *kept, flag if value is None else f"{flag}={value}"]


def _name(flag: str) -> str:
    """--no-collector.x and -collector.x say something of the same."""
    return re.sub(r"^no-", "", flag.lstrip("-"))


def _longer(now: str, wanted: Any) -> Any:
    """Of two durations, as Go writes them, the longer one; else what is wanted."""
    if DURATION.fullmatch(now) and DURATION.fullmatch(str(wanted)):
        return max(now, str(wanted), key=_seconds)
    return wanted


def _seconds(duration: str) -> float:
    return sum(float(number) * SECONDS[word] for number, word in re.findall(r"([\d.]+)(ms|s|m|h)", duration))
