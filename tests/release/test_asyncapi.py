"""`docs/asyncapi.yaml` says what the schemas and routes say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from headrace.asyncapi import document
from headrace.settings import Settings
from headrace.setup import topic_configs
from schemas.routes import load_routes
from tests.release import asyncapi

OWN_ROUTES = asyncapi.ROOT / "docs" / "examples" / "own_workflow" / "routes.toml"
SCHEMA = json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_text("utf-8"))
DOCUMENT: dict[str, Any] = yaml.safe_load(asyncapi.FILE.read_text("utf-8"))


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for item in value.values() for found in references(item)]


def resolved(whole: dict[str, Any], reference: str) -> Any:
    found: Any = whole
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_file_is_what_the_schemas_and_routes_give_now() -> None:
    assert asyncapi.FILE.read_text("utf-8") == asyncapi.text(), "run `python -m tests.release.asyncapi`"


def test_the_document_is_one_by_the_specification() -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(DOCUMENT)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    assert len(references(DOCUMENT)) > 20
    for reference in references(DOCUMENT):
        resolved(DOCUMENT, reference)


def test_every_topic_of_the_setup_is_a_channel_and_is_read_or_written() -> None:
    topics = set(topic_configs(Settings(topic_prefix=""), load_routes()))
    assert set(DOCUMENT["channels"]) == topics
    assert {operation["channel"]["$ref"].removeprefix("#/channels/") for operation in DOCUMENT["operations"].values()} == topics


def test_a_team_gets_the_document_of_its_own_routes() -> None:
    made = document(Settings(topic_prefix="acme."), load_routes(OWN_ROUTES), "1.0.0")
    jsonschema.Draft7Validator(SCHEMA).validate(made)
    start = next(operation for operation in made["operations"].values() if "OrderWorkflow" in operation.get("summary", ""))
    assert [resolved(made, resolved(made, message["$ref"])["$ref"])["name"] for message in start["messages"]] == [
        "acme.orders.OrderRequested"
    ]
    assert all(channel.startswith("acme.") for channel in made["channels"])
