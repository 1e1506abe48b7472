# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of known causes: read from its files, and matched against a case.

A file is one cause; docs/causes.schema.json is its form, docs/CAUSES.md renders them all and says how evidence is weighed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import schema
from ansible_collections.fleet.stall.plugins.plugin_utils.case import Case, version
from ansible_collections.fleet.stall.plugins.plugin_utils.cause import Cause
from ansible_collections.fleet.stall.plugins.plugin_utils.evidence import behind, weigh
from ansible_collections.fleet.stall.plugins.plugin_utils.facts import is_known
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = _ROOT / "roles" / "attribute" / "files" / "causes"
SCHEMA = _ROOT / "docs" / "causes.schema.json"
MOST_BYTES = 1 << 18
RULES = ("value", "at_least", "at_most", "times")


class CatalogueError(ValueError):
    """Files of causes that can't be used; one sentence a line, each with the file, the key, the value and what to do."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All causes by id, and a sentence for each built-in one that a file of the user's replaces."""

    causes: tuple[Cause, ...]
    notes: tuple[str, ...] = ()


def load(directories: Iterable[str | Path] = ()) -> Catalogue:
    """The built-in causes, then those of each directory; a cause with an id that was there before takes its place, and a note says so.

    Raises CatalogueError with all that is wrong in all files.
    """
    form = json.loads(SCHEMA.read_text(encoding="utf-8"))
    found: dict[str, tuple[Path, Cause]] = {}
    notes: list[str] = []
    wrong: list[str] = []
    for directory in (BUILT_IN, *(Path(os.path.expanduser(directory)) for directory in directories)):
        files, reason = _files(directory)
        wrong += [reason] if reason else []
        for path in files:
            cause, errors = read(path, form)
            wrong += errors
            if cause is None:
                continue
            if cause.id in found:
                notes.append(f"{path}: takes the place of the cause {cause.id} in {found[cause.id][0]}")
            found[cause.id] = (path, cause)
    if wrong:
        raise CatalogueError("\n".join(wrong))
    return Catalogue(tuple(cause for _, (_, cause) in sorted(found.items())), tuple(notes))


def _files(directory: Path) -> tuple[list[Path], str]:
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in (".yml", ".yaml") and not path.name.startswith("."))
    except OSError as error:
        return [], f"{directory}: {error.strerror}: stall_cause_dirs names directories of cause files; correct it or create the directory"
    return files, ""


def read(path: Path, form: Mapping[str, Any]) -> tuple[Cause | None, list[str]]:
    """The cause of a file, or None and a sentence for each thing that is wrong with it."""
    try:
        content = path.read_bytes()[: MOST_BYTES + 1]
        if len(content) > MOST_BYTES:
            return None, [f"{path}: has more than {MOST_BYTES} bytes: a file holds one cause"]
        row = yaml.safe_load(content)
    except OSError as error:
        return None, [f"{path}: {error.strerror}"]
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return None, [f"{path}: is not YAML: {printable(error)}"]
    wrong = schema.errors(row, form) or list(_beyond_form(row, path))
    return (None, [f"{path}: {sentence}" for sentence in wrong]) if wrong else (Cause.of(row), [])


def _beyond_form(row: dict[str, Any], path: Path) -> Iterator[str]:
    """What a schema cannot say."""
    if row["id"] != path.stem:
        yield f"id: {row['id']!r} is not the name of the file: rename one of the two"
    if not any(key in row for key in ("frames", "counters", "log", "trigger")):
        yield "frames: is missing, and so are counters, log and trigger: nothing could ever match; add one of them"
    if not row["sources"] and not row.get("unconfirmed"):
        yield "sources: is empty: name one, or set unconfirmed: true"
    for position, pattern in enumerate(row.get("log", [])):
        yield from _expression(f"log[{position}]", pattern)
    alternatives = [(f"trigger[{position}]", fields) for position, fields in enumerate(row.get("trigger", []))]
    alternatives += [(f"only_if.{kind}", fields) for kind, fields in row.get("only_if", {}).items()]
    for at, fields in alternatives:
        for name, pattern in fields.items():
            yield from _expression(f"{at}.{name}", pattern)
    for kind in row.get("only_if", {}):
        if kind not in row["class"]:
            yield f"only_if.{kind}: class does not list {kind}: add it there or leave this out"
    measured = [(f"counters[{position}].fact", counter["fact"]) for position, counter in enumerate(row.get("counters", []))]
    measured += [("test.fact", row["test"]["fact"])] if "test" in row else []
    for at, name in measured:
        if not is_known(name):
            yield f"{at}: {name!r} is not measured: docs/CAUSES.md has the names of what is"
    yield from _range(row.get("kernel", {}))
    yield from _settings(row.get("settings", {}), row["remedies"])


def _expression(at: str, pattern: str) -> Iterator[str]:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"{at}: {printable(repr(pattern), 80)} is not a regular expression: {error}"


def _range(kernel: Mapping[str, str]) -> Iterator[str]:
    first, last = version(kernel.get("from")), version(kernel.get("to"))
    if first and last and first >= last:
        yield f"kernel.to: {kernel['to']!r} is not after kernel.from {kernel['from']!r}: `to` is the first version without it"


def _settings(settings: Mapping[str, Any], remedies: list[str]) -> Iterator[str]:
    for name in settings:
        if name not in remedies:
            yield f"settings.{name}: remedies does not list {name}: add it there or leave this out"
    for position, setting in enumerate(settings.get("sysctl", {}).get("settings", [])):
        for choices in (("sysctl", "file"), RULES):
            if len([key for key in choices if key in setting]) != 1:
                yield f"settings.sysctl.settings[{position}]: give exactly one of {', '.join(choices)}"


def match(catalogue: Catalogue, case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The causes that the case can have, best first and symptoms last; empty where none matches.

    ``[{id, title, class, confidence, evidence [sentence], mitigation, fix, source, remedies [name], settings {remedy: parameters},
    symptom bool}]``. The form of a case is in docs/ARCHITECTURE.md; what it lacks was not measured.

    What was measured on the host is not trusted: it never raises, and evidence is fit to print.
    """
    seen = Case.of(case)
    fit = [(weighed, cause) for cause in catalogue.causes if (weighed := weigh(cause, seen)) is not None]
    found = list(zip(behind(weighed for weighed, _ in fit), (cause for _, cause in fit), strict=True))
    found.sort(key=lambda item: (*item[0].order(), item[1].id))
    return [
        {
            "id": cause.id,
            "title": cause.title,
            "class": weighed.kind,
            "confidence": weighed.confidence,
            "evidence": list(weighed.sentences),
            "mitigation": cause.mitigation,
            "fix": cause.fix,
            "source": cause.sources[0] if cause.sources else None,
            "remedies": list(cause.remedies),
            "settings": dict(cause.settings),
            "symptom": cause.symptom,
        }
        for weighed, cause in found
    ]
