"""Every sentence of a `RouteError`: each names the file, the route and what is wrong with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.image import ImageGenerationRequested
from schemas.request import OpenRequest
from schemas.routes import RouteError, load_routes

COMMON: list[dict[str, Any]] = [
    {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "user_id", "type": "string"},
    {"name": "requested_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
]
ROUTE = """
[[route]]
record = "acme.billing.InvoiceRequested"
schema = "invoice.avsc"
workflow = "InvoiceWorkflow"
task_queue = "acme-billing"
"""


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    write_schema(tmp_path, COMMON)
    path = tmp_path / "routes.toml"
    path.write_text(ROUTE)
    return path


def write_schema(folder: Path, fields: list[dict[str, Any]], name: str = "acme.billing.InvoiceRequested") -> None:
    (folder / "invoice.avsc").write_text(json.dumps({"type": "record", "name": name, "fields": fields}))


def refusal(path: Path) -> str:
    with pytest.raises(RouteError) as caught:
        load_routes(path)
    text = str(caught.value)
    assert text.count(str(path)) == 1, "the file is named, once"
    assert "\n" not in text
    return text.removeprefix(str(path))


def test_a_teams_own_workflow_is_a_route_and_an_avsc(routes: Path) -> None:
    loaded = load_routes(routes)
    route = loaded.find("acme.billing.InvoiceRequested")
    assert route is not None
    assert (route.domain, route.workflow, route.task_queue, route.priority) == ("billing", "InvoiceWorkflow", "acme-billing", 3)
    assert route.model is OpenRequest
    assert loaded.domains() == ["billing"]
    assert [schema.name for schema in loaded.schemas()] == ["acme.billing.InvoiceRequested"]
    assert loaded.find("acme.billing.Other") is None


def test_a_teams_completion_lies_beside_its_request(routes: Path) -> None:
    assert load_routes(routes).completions() == [], "without one nobody can be told, and the route works all the same"
    beside = routes.with_name("InvoiceCompleted.avsc")
    beside.write_text(json.dumps({"type": "record", "name": "acme.billing.InvoiceCompleted", "fields": COMMON}))
    assert [schema.name for schema in load_routes(routes).completions()] == ["acme.billing.InvoiceCompleted"]
    beside.write_text(json.dumps({"type": "record", "name": "acme.billing.Other", "fields": COMMON}))
    assert "InvoiceCompleted.avsc defines acme.billing.Other, not acme.billing.InvoiceCompleted" in refusal(routes)


def test_the_routes_that_ship_load_with_their_models() -> None:
    route = load_routes().find("headrace.image.ImageGenerationRequested")
    assert route is not None
    assert (route.domain, route.workflow, route.task_queue) == ("image", "ImageGenerationWorkflow", "project-ai-image")
    assert route.model is ImageGenerationRequested


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "routes.toml") == " cannot be read: No such file or directory"


def test_a_file_that_is_not_utf_8(routes: Path) -> None:
    routes.write_bytes(b'x = "\xff"')
    assert refusal(routes) == " is not UTF-8: invalid start byte at byte 5"


def test_a_file_that_is_not_toml(routes: Path) -> None:
    routes.write_text("[[route]\n")
    assert refusal(routes).startswith(" is not TOML: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": route: Field required"),
        ("route = []", ": route: List should have at least 1 item"),
        ("[[routes]]\n" + ROUTE, ": routes: Extra inputs are not permitted"),
        (ROUTE + "priority = 9", ": route.0.priority: Input should be less than or equal to 5"),
        (ROUTE + "priority = true", ": route.0.priority: Input should be a valid integer"),
        (ROUTE + "topic = 'x'", ": route.0.topic: Extra inputs are not permitted"),
        (ROUTE.replace("acme.billing.", ""), ": route.0.record: String should match pattern"),
        (ROUTE.replace("InvoiceWorkflow", ""), ": route.0.workflow: String should have at least 1 character"),
        (ROUTE.replace("acme-billing", ""), ": route.0.task_queue: String should have at least 1 character"),
        (ROUTE.replace("schema =", "avsc ="), ": route.0.schema: Field required"),
    ],
)
def test_an_entry_that_is_wrong_is_named_by_its_place(routes: Path, text: str, message: str) -> None:
    routes.write_text(text)
    assert refusal(routes).startswith(message)


def test_a_missing_schema(routes: Path) -> None:
    (routes.parent / "invoice.avsc").unlink()
    assert re.fullmatch(r": the schema of acme\.billing\.InvoiceRequested cannot be read: .*No such file.*invoice\.avsc'", refusal(routes))


def test_a_schema_that_is_none(routes: Path) -> None:
    (routes.parent / "invoice.avsc").write_text("{}")
    assert re.match(r": the schema of acme\.billing\.InvoiceRequested cannot be read: .*invoice\.avsc: not an Avro schema", refusal(routes))


def test_a_schema_of_another_record(routes: Path) -> None:
    write_schema(routes.parent, COMMON, name="acme.billing.Invoice")
    assert refusal(routes) == ": the route is for acme.billing.InvoiceRequested, but invoice.avsc defines acme.billing.Invoice"


def test_a_schema_without_the_common_fields(routes: Path) -> None:
    write_schema(routes.parent, COMMON[:1])
    assert refusal(routes) == ": acme.billing.InvoiceRequested lacks the fields user_id, requested_at, which every request has"


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        (0, "long", 'event_id of acme.billing.InvoiceRequested must be an Avro string or fixed, not "long"'),
        (1, ["null", "string"], 'user_id of acme.billing.InvoiceRequested must be an Avro string, not ["null", "string"]'),
        (2, "string", 'requested_at of acme.billing.InvoiceRequested must be an Avro long, not "string"'),
    ],
)
def test_a_common_field_of_another_type_would_dead_letter_every_record(routes: Path, place: int, kind: Any, message: str) -> None:
    write_schema(routes.parent, [{**field, "type": kind} if n == place else field for n, field in enumerate(COMMON)])
    assert refusal(routes) == f": {message}"


def test_two_routes_for_one_record(routes: Path) -> None:
    routes.write_text(ROUTE + ROUTE)
    assert refusal(routes) == ": two routes for acme.billing.InvoiceRequested: keep one"
