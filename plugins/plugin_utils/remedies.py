# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedies there are: read from their descriptions, whose form is docs/remedy.schema.json, each with the file of its tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import schema
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

_ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = _ROOT / "roles" / "remediate" / "files" / "remedies"
TASKS = _ROOT / "roles" / "remediate" / "tasks" / "remedies"
SCHEMA = _ROOT / "docs" / "remedy.schema.json"
MOST_BYTES = 1 << 16
_OWN_KEYS = ("required", "default")


class RemedyError(ValueError):
    """Descriptions that can't be used; one sentence a line, each with the file, the key, the value and what to do."""


@dataclass(frozen=True)
class Remedy:
    """A remedy: its description as it is in the file, and its tasks."""

    row: Mapping[str, Any]
    tasks: Path
    undo_tasks: Path
    check_tasks: Path
    """May be there: what is asked before the host is drained."""

    @property
    def name(self) -> str:
        return str(self.row["name"])

    def wrong(self, parameters: Mapping[str, Any]) -> list[str]:
        """What is wrong with parameters for it, one sentence each."""
        known: Mapping[str, Any] = self.row["parameters"]
        form = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: _plain(value) for name, value in known.items()},
            "required": [name for name, value in known.items() if value.get("required")],
        }
        wrong = [f"parameters.{sentence}" for sentence in schema.errors(dict(parameters), form)]
        if not wrong and not self.has_what_it_needs(parameters):
            wrong.append(f"parameters: {self.name} needs {' or '.join(', '.join(names) for names in self.row['needs'])}")
        return wrong

    def fits(self, name: str, value: Any) -> bool:
        """Whether there is a value, and it can be one of this parameter."""
        return value is not None and not schema.errors(value, _plain(self.row["parameters"][name]))

    def complete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """With the defaults of what a plan, which people edit, leaves out."""
        defaults = {name: form["default"] for name, form in self.row["parameters"].items() if "default" in form}
        return {**defaults, **parameters}

    def missing(self) -> list[str]:
        """A sentence for each file of tasks that is not there."""
        files = [self.tasks, *([self.undo_tasks] if self.row["undo"] else [])]
        return [f"{path} is missing: stall_remedies allows {self.name}, whose tasks it has" for path in files if not path.is_file()]

    def has_what_it_needs(self, parameters: Mapping[str, Any]) -> bool:
        needs = self.row["needs"]
        return not needs or any(all(parameters.get(name) is not None for name in names) for names in needs)


def load(directories: Iterable[str | Path] = ()) -> dict[str, Remedy]:
    """The built-in remedies, then those of each directory, by name; a later one of a name takes the place of the earlier.

    Raises RemedyError with all that is wrong in all files.
    """
    form = json.loads(SCHEMA.read_text(encoding="utf-8"))
    found: dict[str, Remedy] = {}
    wrong: list[str] = []
    own = [(path, path / "tasks") for path in (Path(directory).expanduser().absolute() for directory in directories)]
    for directory, tasks in ((BUILT_IN, TASKS), *own):
        files, reason = _files(directory)
        wrong += [reason] if reason else []
        for path in files:
            row, errors = _read(path, form)
            remedy = Remedy(row, *(tasks / part / f"{path.stem}.yml" for part in ("", "undo", "check")))
            errors = errors or list(_beyond_form(remedy, path))
            wrong += [f"{path}: {sentence}" for sentence in errors]
            if not errors:
                found[remedy.name] = remedy
    if wrong:
        raise RemedyError("\n".join(wrong))
    return found


def allowed(remedies: Mapping[str, Remedy], names: Sequence[str]) -> dict[str, Remedy]:
    """Those on the allow-list. Raises RemedyError for a name that is none, and for tasks that are missing."""
    unknown = [name for name in names if name not in remedies]
    if unknown:
        raise RemedyError(f"stall_remedies names {and_more(unknown)}: there are {and_more(sorted(remedies), 30)}.")
    wrong = [sentence for name in names for sentence in remedies[name].missing()]
    if wrong:
        raise RemedyError("\n".join(wrong))
    return {name: remedies[name] for name in names}


def _files(directory: Path) -> tuple[list[Path], str]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".yml" and not path.name.startswith(".")), ""
    except OSError as error:
        return [], f"{directory}: {error.strerror}: stall_remedy_dirs names directories of remedies; correct it or create the directory"


def _read(path: Path, form: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    try:
        content = path.read_bytes()[: MOST_BYTES + 1]
        if len(content) > MOST_BYTES:
            return {}, [f"has more than {MOST_BYTES} bytes: a file describes one remedy"]
        row = yaml.safe_load(content)
    except OSError as error:
        return {}, [str(error.strerror)]
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return {}, [f"is not YAML: {printable(error)}"]
    return row, schema.errors(row, form)


def _beyond_form(remedy: Remedy, path: Path) -> Iterator[str]:
    """What a schema cannot say."""
    row = remedy.row
    if row["name"] != path.stem:
        yield f"name: {row['name']!r} is not the name of the file: rename one of the two"
    for at, names in (("from", row["from"]), *((f"needs[{index}]", names) for index, names in enumerate(row["needs"]))):
        for name in names:
            if name not in row["parameters"]:
                yield f"{at}: {printable(name, 40)} is no parameter of the remedy"
    for name, form in row["parameters"].items():
        yield from _of_parameter(f"parameters.{name}", form)


def _of_parameter(at: str, form: Mapping[str, Any]) -> Iterator[str]:
    if "pattern" in form:
        try:
            re.compile(form["pattern"])
        except (re.error, OverflowError, RecursionError) as error:
            yield f"{at}.pattern: {printable(repr(form['pattern']), 80)} is not a regular expression: {error}"
            return
    if "default" in form:
        yield from (f"{at}.default{sentence.removeprefix('file')}" for sentence in schema.errors(form["default"], _plain(form)))


def _plain(form: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a value."""
    return {key: item for key, item in form.items() if key not in _OWN_KEYS}
