"""The Avro schemas and the pydantic models are two texts of one contract: they may not drift apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel
from pydantic_core import PydanticUndefined

from schemas.catalog import shipped
from schemas.completion import completion_record
from schemas.models import COMMANDS, COMPLETIONS, REQUESTS
from schemas.routes import load_routes
from tests.support.records import MODELS

SCHEMAS = {schema.name: schema for schema in shipped()}
_PLAIN = {
    "string": str,
    "int": int,
    "long": int,
    "double": float,
    "boolean": bool,
    "null": NoneType,
    "uuid": UUID,
    "timestamp-millis": AwareDatetime,
}


def records(schema: Any) -> Iterator[Any]:
    """Every record in a schema, itself first."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records(branch)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
        for inner in [*(field["type"] for field in schema.get("fields", [])), schema.get("items"), schema.get("values")]:
            yield from records(inner)


def same(schema: Any, annotation: Any, at: str) -> None:
    """Asserts that an Avro type and an annotation are the same."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        same(schema, arguments[0], at)
    elif isinstance(schema, list):
        assert origin in {Union, UnionType}, f"{at} is a union in Avro only"
        assert len(schema) == len(arguments), at
        assert schema[0] == "null", f"{at}: null is the first branch, for the default"
        for branch, argument in zip(schema, sorted(arguments, key=lambda argument: argument is not NoneType), strict=True):
            same(branch, argument, at)
    elif isinstance(schema, dict) and schema["type"] == "array":
        assert origin is list, at
        same(schema["items"], arguments[0], f"{at}[]")
    elif isinstance(schema, dict) and schema["type"] == "enum":
        assert issubclass(annotation, Enum), at
        assert schema["symbols"] == [member.value for member in annotation], at
    elif isinstance(schema, dict) and schema["type"] == "record":
        same_fields(schema, annotation, at)
    else:
        # A closed list of words is a string in Avro, where an enum that grows breaks its readers.
        plain = str if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, StrEnum)) else annotation
        kind = str(schema.get("logicalType", schema["type"]) if isinstance(schema, dict) else schema)
        assert _PLAIN[kind] is plain, f"{at} is {kind} in Avro, {annotation} in the model"


def same_fields(schema: Any, model: type[BaseModel], at: str) -> None:
    fields = {field["name"]: field for field in schema["fields"]}
    assert set(fields) == set(model.model_fields), at
    for name, field in model.model_fields.items():
        same(fields[name]["type"], field.annotation, f"{at}.{name}")
        default = PydanticUndefined if field.is_required() else field.get_default(call_default_factory=True)
        assert fields[name].get("default", PydanticUndefined) == default, f"the default of {at}.{name}"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_model_has_the_fields_types_and_defaults_of_its_schema(name: str) -> None:
    same(SCHEMAS[name].parsed, MODELS[name], name)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_record_and_every_field_is_explained(name: str) -> None:
    for record in records(json.loads(SCHEMAS[name].text)):
        assert record.get("doc"), f"{record['name']} has no doc"
        for field in record["fields"]:
            assert field.get("doc", "").endswith("."), f"{record['name']}.{field['name']} has no doc that is a sentence"


@pytest.mark.parametrize("name", sorted({**REQUESTS, **COMMANDS}))
def test_a_closed_list_of_words_is_in_the_doc_word_for_word(name: str) -> None:
    docs = {field["name"]: field["doc"] for field in SCHEMAS[name].parsed["fields"]}
    for field, described in MODELS[name].model_fields.items():
        for word in words(described.annotation):
            assert word in docs[field], f"{field}: {word} is accepted, but the doc does not say so"


def words(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return list(annotation) if isinstance(annotation, type) and issubclass(annotation, StrEnum) else []


def test_every_schema_has_a_model_and_the_other_way_round() -> None:
    assert set(SCHEMAS) == set(MODELS)


def test_every_request_has_its_completion() -> None:
    assert {completion_record(name) for name in REQUESTS} == set(COMPLETIONS)


def test_every_route_that_ships_has_a_model() -> None:
    for schema in load_routes().schemas():
        assert schema.name in REQUESTS
