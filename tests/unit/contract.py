"""The contract of findings.json. Its validator is made once: checking the schema takes a hundred times as long as checking findings."""

import json
from pathlib import Path

import jsonschema

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "findings.schema.json").read_text(encoding="utf-8"))
jsonschema.Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def holds(found):
    """The findings are of the form that the schema describes, and can be written as JSON."""
    VALIDATOR.validate(found)
    json.dumps(found, allow_nan=False)
