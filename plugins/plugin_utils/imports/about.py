# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""about.yml: what nobody can tell from the logs themselves. All of it may be left out; what is wrong in it is said and not used.

host: node-7                    whose logs these are
kernel: 4.9.0-8-amd64           its kernel
interval_ms: 10                 between probes
stack_hz: 999                   rate of the CPU samples
outside: [shell-1]              hosts outside the cluster
memory_cgroups: {live: 240, dying: 68440}
files:
  nodeport.txt: {layer: nodeport, source: shell-1, target: node-7, interval_ms: 10, what: hping}
  strace.txt: {pid: 10137}      whose calls they are, where the log does not say
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils.case import is_number
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

NAMES = ("about.yml", "about.yaml")
LAYERS = ("node", "outside", "overlay", "nodeport")
MOST_BYTES = 65536
_TEXT_LIMIT = 253
_FILE_KEYS = ("layer", "source", "target", "interval_ms", "what", "pid")


@dataclass(frozen=True, slots=True)
class File:
    """Where a log came from."""

    layer: str | None = None
    source: str | None = None
    target: str | None = None
    interval_ms: float | None = None
    what: str | None = None
    pid: int | None = None


@dataclass(slots=True)
class About:
    """``wrong``: a sentence for each thing that could not be used."""

    host: str | None = None
    kernel: str | None = None
    interval_ms: float | None = None
    stack_hz: float | None = None
    outside: list[str] = field(default_factory=list)
    live: int | None = None
    dying: int | None = None
    files: dict[str, File] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def of(self, name: str) -> File:
        """What is said of a file; else of its layer what its name says."""
        found = self.files.get(name, File())
        if found.layer is None:
            words = name.lower().replace("-", "_").replace(".", "_").split("_")
            layer = next((layer for layer in reversed(LAYERS) if layer in words), None)
            return replace(found, layer=layer)
        return found


def read(path: Path, kinds: tuple[str, ...]) -> About:
    """Never raises. ``kinds``: what a file may be said to be."""
    about = About()
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        row = yaml.safe_load(content) if len(content) <= MOST_BYTES else None
    except (OSError, yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError) as error:
        about.wrong.append(f"{path.name} can't be read and was not used: {printable(error, 200)}")
        return about
    if not isinstance(row, dict):
        about.wrong.append(f"{path.name} is no mapping of up to {MOST_BYTES} bytes and was not used")
        return about
    _fill(about, row, path.name, kinds)
    return about


def _fill(about: About, row: Mapping[Any, Any], name: str, kinds: tuple[str, ...]) -> None:
    def wrong(key: Any, value: Any, wanted: str) -> None:
        about.wrong.append(f"{name}: {printable(key, 60)} is {printable(_shown(value), 60)}: it must be {wanted}; it was not used")

    for key, value in row.items():
        if key in ("host", "kernel"):
            setattr(about, key, _text(value)) if _text(value) else wrong(key, value, "text")
        elif key in ("interval_ms", "stack_hz"):
            setattr(about, key, _positive(value)) if _positive(value) else wrong(key, value, "a number above 0")
        elif key == "outside":
            hosts = value if isinstance(value, list) else [value]
            about.outside = [text for host in hosts[:1000] if (text := _text(host))]
        elif key == "memory_cgroups" and isinstance(value, dict):
            about.live, about.dying = _count(value.get("live")), _count(value.get("dying"))
        elif key == "files" and isinstance(value, dict):
            for file, said in list(value.items())[:10_000]:
                about.files[str(file)[:4096]] = _file(f"files.{file}", said, wrong, kinds)
        else:
            wrong(key, value, "one of host, kernel, interval_ms, stack_hz, outside, memory_cgroups {live, dying}, files {name: {..}}")


def _file(where: str, said: Any, wrong: Any, kinds: tuple[str, ...]) -> File:
    if not isinstance(said, dict):
        wrong(where, said, f"a mapping of {', '.join(_FILE_KEYS)}")
        return File()
    found: dict[str, Any] = {}
    for key, value in said.items():
        if key not in _FILE_KEYS:
            wrong(f"{where}.{printable(key, 40)}", value, f"one of {', '.join(_FILE_KEYS)}")
        elif key == "layer" and value not in LAYERS:
            wrong(f"{where}.layer", value, f"one of {', '.join(LAYERS)}")
        elif key == "what" and value not in kinds:
            wrong(f"{where}.what", value, f"one of {', '.join(kinds)}")
        elif key in ("interval_ms", "pid") and not _positive(value):
            wrong(f"{where}.{key}", value, "a number above 0")
        elif key == "pid":
            found[key] = int(value)
        else:
            found[key] = _positive(value) if key == "interval_ms" else _text(value)
    return File(**found)


def _shown(value: Any) -> str:
    """Not what a nest of aliases unfolds to."""
    return str(value) if isinstance(value, (str, int, float, bool)) or value is None else f"a {type(value).__name__}"


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= _TEXT_LIMIT else None


def _positive(value: Any) -> float | None:
    return float(value) if is_number(value) and 0 < value < 1e9 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None
