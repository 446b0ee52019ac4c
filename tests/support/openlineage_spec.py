"""OpenLineage's published JSON schemas, and a check of events against them.

The copies are of github.com/OpenLineage/OpenLineage, folder spec.
"""

import json
from functools import cache
from typing import Any

import jsonschema_rs

from .pages import ROOT

FOLDER = ROOT / "tests/fixtures/openlineage"


@cache
def read_schema(uri: str) -> Any:
    return json.loads((FOLDER / uri.partition("#")[0].rpartition("/")[2]).read_text())


def check_event(event: dict[str, Any]) -> None:
    """Raise ValidationError, or AssertionError, for what the specification does not permit."""
    assert event["schemaURL"] == f"{read_schema(event['schemaURL'])['$id']}#/$defs/RunEvent"
    validate(event, read_schema("OpenLineage.json"))
    holders = [event["run"]["facets"], event["job"]["facets"]]
    for dataset in [*event["inputs"], *event["outputs"]]:
        holders += [dataset.get("facets", {}), dataset.get("outputFacets", {})]
    for facets in holders:
        for name, content in facets.items():
            schema = read_schema(content["_schemaURL"])
            assert content["_schemaURL"] == schema["$id"]
            assert name in schema["properties"]
            validate({name: content}, schema)


def validate(value: Any, schema: Any) -> None:
    jsonschema_rs.validator_for(schema, retriever=read_schema, validate_formats=True).validate(
        value
    )
