# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a value against the part of JSON Schema that the schemas of files people write use, since a controller need not have jsonschema.

Messages name the key, the value and what would be right. tests/unit/test_causes.py and test_schema.py hold it to what jsonschema says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
KEYWORDS = frozenset(
    ("$schema", "$defs", "$ref", "title", "description", "type", "enum", "minimum", "maximum", "pattern", "minLength", "maxLength")
    + ("items", "minItems", "maxItems", "uniqueItems", "properties", "required", "additionalProperties", "minProperties")
)


def errors(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """``key.of[0].it: what is wrong``, one sentence each; empty where the value fits.

    :param schema: with no other keywords than KEYWORDS
    """
    return list(_errors(value, schema, schema, ""))


def _errors(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _errors(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at or 'file'}: {printable(repr(value), 80)} is none of {', '.join(str(choice) for choice in schema['enum'])}"
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        yield f"{at or 'file'}: {printable(repr(value), 80)} is not {wanted}"
        return
    if _is(value, "number"):
        yield from _of_number(value, schema, at)
    elif isinstance(value, str):
        yield from _of_text(value, schema, at)
    elif isinstance(value, list):
        yield from _of_list(value, schema, root, at)
    elif isinstance(value, dict):
        yield from _of_mapping(value, schema, root, at)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _of_number(value: float, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    # "not (a <= b)" refuses NaN as well.
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        limits = [f"{word} {schema[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in schema]
        yield f"{at or 'file'}: {value} must be {' and '.join(limits)}"


def _of_text(value: str, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{at}: is empty: write it or leave the key out"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{at}: has {len(value)} characters: {schema['maxLength']} at most"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {printable(repr(value), 80)} does not have the form {schema['pattern']}"


def _of_list(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{at}: is empty: list something or leave the key out"
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{at}: lists {len(value)}: {schema['maxItems']} at most"
    if schema.get("uniqueItems") and any(item in value[:position] for position, item in enumerate(value)):
        yield f"{at}: {printable(repr(value), 80)} lists something twice"
    for position, item in enumerate(value):
        yield from _errors(item, schema.get("items", {}), root, f"{at}[{position}]")


def _of_mapping(value: dict[Any, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if len(value) < schema.get("minProperties", 0):
        yield f"{at}: is empty: write one of {', '.join(known)} or leave the key out"
    for key in schema.get("required", []):
        if key not in value:
            yield f"{_below(at, key)}: is missing: add it ({known[key].get('description', 'see the schema')})"
    for key, item in value.items():
        if key in known:
            yield from _errors(item, known[key], root, _below(at, key))
        elif others is False:
            yield f"{_below(at, printable(key, 40))}: is not a key here: the keys are {', '.join(known) or 'none'}"
        elif isinstance(others, dict):
            yield from _errors(item, others, root, _below(at, printable(key, 40)))


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
