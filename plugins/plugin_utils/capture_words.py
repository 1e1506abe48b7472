# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a capture told of a host, in words: the same for the table, Markdown and the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.classes import MEANING
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

CULPRIT_HEADINGS = ("Culprit", "Unit or container", "System call", "CPU", "Class", "Stalls explained", "Longest ms", "Certainty")
STALL_HEADINGS = ("Stall", "ms", "CPU", "Before it", "Kept the CPU", "Share", "Drained by", "Probes")
CONNECTION_HEADINGS = ("Local", "Peer", "Process", "RTT ms", "Least ms", "Retransmits", "Unread bytes")
_COMMIT = re.compile(r"commit ([0-9a-f]{8,40})\Z")
_LINK = re.compile(r"https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._~:/?#@!$&()*+,;=%-]*)?\Z")
_SHOWN_CONNECTIONS = 5


def captured(findings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows that a capture was to open up: suspects as ranked, then the control."""
    rows = [host for host in findings["hosts"] if host.get("capture")]
    return sorted(rows, key=lambda host: (host["capture"]["role"] == "control", host["rank"]))


def line(host: Mapping[str, Any]) -> str:
    """What the table says of a suspect below its row; nothing of a control without a stall."""
    capture = host.get("capture")
    if not capture or (capture["role"] == "control" and not host["causes"] and capture["status"] == "measured"):
        return ""
    certainty = f" ({capture['confidence']} certainty)" if capture["confidence"] and capture["culprits"] else ""
    packets = (capture.get("packets") or {}).get("sentence", "")
    return f"{printable(host['host'], 40)} opened up{certainty}: {printable(capture['sentence'], 1000)} {printable(packets, 600)}".strip()


def culprits(capture: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows under CULPRIT_HEADINGS."""
    of = capture["explained"]["of"]
    return [
        (
            _who(row),
            printable(row["unit"] or (f"container {row['container'][:12]}" if row["container"] else row["cgroup"] or ""), 120),
            _call(row),
            ", ".join(number(cpu) for cpu in row["cpus"]),
            row["class"] or "not known",
            f"{row['events']} of {of}",
            number(row["longest_ms"]),
            f"{row['confidence']}{', runs as much otherwise' if row['usual'] else ''}",
        )
        for row in capture["culprits"]
    ]


def stalls(capture: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows under STALL_HEADINGS."""
    found: list[tuple[str, ...]] = []
    for row in capture["timeline"]:
        run = row["runs"][0] if row["runs"] else None
        found.append(
            (
                row["start"],
                number(row["duration_ms"]),
                number(row["cpu"]),
                printable(row["before"] or "", 40),
                f"{printable(run['comm'], 40)} (pid {run['pid']})" if run else "",
                f"{100 * run['share']:.0f}%" if run else "",
                printable(row["handled_by"] or "", 40),
                number(row["backlog"]) if row["handled_by"] else "",
            )
        )
    return found


def connections(capture: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows under CONNECTION_HEADINGS."""
    return [
        (
            printable(row["local"] or "", 60),
            printable(row["peer"] or "", 60),
            printable(f"{row['comm']} (pid {row['pid']})" if row["comm"] else "", 60),
            number(row["rtt_ms"]),
            number(row["min_rtt_ms"]),
            number(row["retransmits"]),
            number(row["unread_bytes"]),
        )
        for row in capture["connections"][:_SHOWN_CONNECTIONS]
    ]


def evidence(capture: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(term, text): what speaks for each culprit."""
    found = [(_who(row), "; ".join(printable(sentence, 300) for sentence in row["because"])) for row in capture["culprits"]]
    for row in capture["culprits"]:
        for call in row["calls"]:
            ran = "" if call["on_cpu_ms"] is None else f", {number(call['on_cpu_ms'])} ms of it on the CPU"
            times = f"{call['count']} time{'s' * (call['count'] != 1)}, up to {number(call['duration_ms'])} ms{ran}"
            content = f', begins "{printable(call["buffer"], 60)}"' if call["buffer"] else ""
            found.append((f"{_who(row)} in {_called(call['call'], call['path'])}", f"{times}{content} ({printable(call['how'], 20)})"))
    if capture["class"]:
        found.append((f"class {capture['class']}", MEANING.get(capture["class"], "")))
    if capture.get("packets"):
        found.append(("packets", printable(capture["packets"]["sentence"], 600)))
    cgroups = capture["memory_cgroups"] or {}
    if cgroups.get("live") is not None or cgroups.get("dying") is not None:
        read = f"; one read of memory.stat took {number(cgroups['read_ms'])} ms" if cgroups.get("read_ms") is not None else ""
        found.append(
            ("memory cgroups", f"{number(cgroups['live']) or 'unknown'} live, {number(cgroups['dying']) or 'unknown'} dying{read}")
        )
    return found


def causes(host: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(what, [(term, text)]) of each cause; the term ``source`` may be a link."""
    found = []
    for cause in host["causes"]:
        what = f"{printable(cause['title'] or cause['id'], 200)} ({printable(cause['id'], 60)}), {cause['confidence']}"
        parts = [("because", "; ".join(printable(sentence, 300) for sentence in cause["evidence"]))]
        parts += [(term, printable(cause[key], 600)) for term, key in (("for now", "mitigation"), ("cure", "fix")) if cause[key]]
        parts += [("remedies", ", ".join(printable(name, 60) for name in cause["remedies"]))] if cause["remedies"] else []
        parts += [("source", printable(cause["source"], 300))] if cause["source"] else []
        found.append((what, parts))
    return found


def link(source: str) -> str | None:
    """The address of a source, if it is one that can be linked to."""
    commit = _COMMIT.match(source)
    if commit:
        return f"https://git.kernel.org/linus/{commit[1]}"
    return source if _LINK.match(source) else None


def effects(capture: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(term, text): what was missing, and what the capture did to the host."""
    found = [("not known, or narrower", printable(sentence, 400)) for sentence in capture["missing"]]
    effect = capture["observer_effect"]
    return found + ([("observer effect", printable(effect["sentence"], 400))] if effect else [])


def stacks(capture: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """(who and how much, folded stack) of each culprit's commonest stack."""
    for row in capture["culprits"]:
        for stack, ms in row["stacks"][:1]:
            yield f"{_who(row)}, {number(ms)} ms", printable(stack.replace(";", " ; "), 2000)


def _who(row: Mapping[str, Any]) -> str:
    if row["softirq"]:
        return f"softirq {printable(row['softirq'], 60)}"
    return printable(row["comm"], 60) + (f" (pid {row['pid']})" if row["pid"] is not None else "")


def _call(row: Mapping[str, Any]) -> str:
    return _called(row["syscall"], row["path"]) if row["syscall"] else ""


def _called(call: str, path: str | None) -> str:
    return f"{printable(call, 40)}()" + (f" of {printable(path, 200)}" if path else "")
