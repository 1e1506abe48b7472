"""The small check of JSON Schema says what jsonschema says, for any value, and names place, value and remedy."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import schema

FORM = {
    "$defs": {"name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5}},
    "type": "object",
    "additionalProperties": False,
    "required": ["n"],
    "properties": {
        "n": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": ["integer", "string"], "minimum": 1, "pattern": "^(100|[1-9][0-9]?)%$"},
        "few": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/name"}},
        "by_name": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    },
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"n": 0}, "n: 0 must be at least 1 and at most 9"),
        ({"n": 1.5}, "n: 1.5 is not a whole number"),
        ({"n": True}, "n: True is not a whole number"),
        ({"n": 1, "share": "200%"}, "share: '200%' does not have the form"),
        ({"n": 1, "share": "0%"}, "share: '0%' does not have the form"),
        ({"n": 1, "share": 0}, "share: 0 must be at least 1"),
        ({"n": 1, "few": ["a", "b", "c"]}, "few: lists 3: 2 at most"),
        ({"n": 1, "few": ["abcdef"]}, "few[0]: has 6 characters: 5 at most"),
        ({"n": 1, "by_name": {"x": -1}}, "by_name.x: -1 must be at least 0"),
        ({"n": 1, "more": 1}, "more: is not a key here: the keys are n, share, few, by_name"),
    ],
)
def test_what_is_said(value, said):
    (sentence,) = schema.errors(value, FORM)
    assert sentence.startswith(said)


names = st.sampled_from(["a", "abc", "abcdef", "A", ""])
shares = st.sampled_from(["1%", "50%", "100%", "0%", "200%", "%", "5"]) | st.integers(-1, 3)
values = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-1, 11) | st.booleans() | st.floats(0, 10) | st.none(),
        "share": shares,
        "few": st.lists(names, max_size=4) | names,
        "by_name": st.dictionaries(names, st.integers(-1, 1) | st.text(max_size=1), max_size=2),
        "more": st.none(),
    },
)


@given(values)
def test_it_agrees_with_jsonschema(value):
    # 1.0 is a whole number there, and not in a file that people write
    if any(isinstance(item, float) and item.is_integer() for item in value.values()):
        return
    assert (schema.errors(value, FORM) == []) is jsonschema.Draft202012Validator(FORM).is_valid(value)
