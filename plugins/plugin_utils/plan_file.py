# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan.yml as text: written for people to edit, and read back as what a stranger may have written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import schema
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "plan.schema.json"
MOST_BYTES = 1 << 26
_WIDTH = 140
_TEMPLATES = ("{{", "{%", "{#")


class PlanError(ValueError):
    """A plan that can't be used; one sentence a line, each with the place, the value and what to do."""


class _Writer(yaml.SafeDumper):
    """Without anchors: what is the same twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Reader(yaml.SafeLoader):
    """Refuses what hides from a reader: a key that is there twice, and an alias, which can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias in line {self.peek_event().start_mark.line + 1}: write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        for key, count in Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
            if count > 1:
                raise yaml.YAMLError(f"{printable(key, 40)} is there twice, in line {node.start_mark.line + 1} or below: leave one")
        return super().construct_mapping(node, deep)


# Times stay text.
_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def text(plan: Mapping[str, Any], heading: str) -> str:
    """The plan as YAML under a comment."""
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    # Plain values: those of variables carry the tags of Ansible.
    plain_plan = json.loads(json.dumps(plan))
    return f"---\n{comment}{yaml.dump(plain_plan, Dumper=_Writer, sort_keys=False, allow_unicode=False, width=_WIDTH)}"


def parsed(content: bytes, name: str) -> dict[str, Any]:
    """A plan that fits docs/plan.schema.json and holds no template. Raises PlanError with all that is wrong."""
    if len(content) > MOST_BYTES:
        raise PlanError(f"{name}: has more than {MOST_BYTES} bytes: split the plan")
    try:
        plan = yaml.load(content, Loader=_Reader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PlanError(f"{name}: is not YAML: {printable(error)}") from error
    form = json.loads(SCHEMA.read_text(encoding="utf-8"))
    wrong = schema.errors(plan, form) or list(templates(plan))
    if wrong:
        raise PlanError("\n".join(f"{name}: {sentence}" for sentence in wrong))
    return plan


def read(path: Path) -> dict[str, Any]:
    """Raises PlanError."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}: stall_plan names the plan.yml that remediate.yml wrote") from error
    return parsed(content, str(path))


def templates(value: Any, at: str = "") -> Iterator[str]:
    """A sentence for each text that a template could hide in."""
    if isinstance(value, str):
        if any(mark in value for mark in _TEMPLATES):
            yield f"{at or 'file'}: {printable(repr(value), 80)} is a template: write what it comes to"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from templates(key, f"a key of {at or 'the file'}")
            yield from templates(item, f"{at}.{printable(key, 40)}" if at else printable(key, 40))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from templates(item, f"{at}[{position}]")


def plain(text_: str) -> str:
    """What was found on a host, as text of a plan: it may look like a template by chance, or on purpose."""
    for mark in _TEMPLATES:
        text_ = text_.replace(mark, " ".join(mark))
    return printable(text_, 4000)
