"""Every sentence of a `RouteError`: each names the file, the route and what is wrong with it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from schemas.catalog import AVRO
from schemas.image import ImageGenerationRequested
from schemas.payload import payload_sha256
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


def write_completion(folder: Path, name: str = "acme.billing.InvoiceCompleted", without: str | None = None) -> None:
    schema = json.loads((AVRO / "image/ImageGenerationCompleted.avsc").read_text("utf-8"))
    fields = [field for field in schema["fields"] if field["name"] != without]
    (folder / "done.avsc").write_text(json.dumps({"type": "record", "name": name, "fields": fields}))


def test_a_route_knows_its_completion(routes: Path) -> None:
    write_completion(routes.parent)
    routes.write_text(ROUTE + "completion = 'done.avsc'")
    loaded = load_routes(routes)
    assert loaded.catalog().by_name("acme.billing.InvoiceCompleted") is loaded.all()[0].completion is not None
    assert [schema.name for schema in loaded.schemas()] == ["acme.billing.InvoiceRequested"], "nobody is asked for a completion"


@pytest.mark.parametrize("field", ["completion_id", "status", "result", "error", "started_at"])
def test_a_completion_that_cannot_tell_how_it_ended_would_fail_every_run(routes: Path, field: str) -> None:
    write_completion(routes.parent, without=field)
    routes.write_text(ROUTE + "completion = 'done.avsc'")
    assert refusal(routes).startswith(
        ": acme.billing.InvoiceCompleted cannot tell of SUCCEEDED, its fields must be those of every completion: "
    )


def test_a_completion_that_could_not_be_refused(routes: Path) -> None:
    write_completion(routes.parent)
    text = (routes.parent / "done.avsc").read_text().replace('"TERMINATED", "REJECTED"', '"TERMINATED"')
    (routes.parent / "done.avsc").write_text(text)
    routes.write_text(ROUTE + "completion = 'done.avsc'")
    assert refusal(routes).startswith(": acme.billing.InvoiceCompleted cannot tell of REJECTED")


def test_a_completion_of_another_name(routes: Path) -> None:
    write_completion(routes.parent, "acme.billing.Done")
    routes.write_text(ROUTE + "completion = 'done.avsc'")
    wanted = "the route is for acme.billing.InvoiceRequested, whose completion is acme.billing.InvoiceCompleted"
    assert refusal(routes) == f": {wanted}, but done.avsc defines acme.billing.Done"


def test_a_completion_of_a_record_that_is_no_request(routes: Path) -> None:
    write_schema(routes.parent, COMMON, name="acme.billing.Invoice")
    routes.write_text(ROUTE.replace("InvoiceRequested", "Invoice") + "completion = 'done.avsc'")
    assert "its name must end with Requested" in refusal(routes)


def test_the_shipped_routes_stay_when_a_file_includes_them(routes: Path) -> None:
    routes.write_text("include = ['shipped']\n" + ROUTE)
    loaded = load_routes(routes)
    shipped = [route.record for route in load_routes().all()]
    assert [route.record for route in loaded.all()] == [*shipped, "acme.billing.InvoiceRequested"]
    assert loaded.called("InvoiceRequested") is loaded.find("acme.billing.InvoiceRequested") is not None
    assert loaded.called("Nothing") is None


def test_a_file_of_another_team_is_included_with_paths_of_its_own(routes: Path, tmp_path: Path) -> None:
    home = tmp_path / "all" / "routes.toml"
    home.parent.mkdir()
    write_schema(home.parent, COMMON, name="acme.stock.CountRequested")
    home.write_text("include = ['../routes.toml']\n" + ROUTE.replace("acme.billing.InvoiceRequested", "acme.stock.CountRequested"))
    assert load_routes(home).domains() == ["billing", "stock"]
    routes.write_text(ROUTE + "topic = 'x'")
    with pytest.raises(RouteError, match=r"all/\.\./routes\.toml: route\.0\.topic: "):
        load_routes(home)


def test_files_that_include_each_other(routes: Path) -> None:
    routes.write_text("include = ['routes.toml']\n" + ROUTE)
    assert refusal(routes) == " includes itself: take it out of an include"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"type": "string", "minimum": 1}, "amount is of type string, which can have no minimum"),
        ({"type": "int", "maxLength": 1}, "amount is of type int, which can have no maxLength"),
        ({"type": {"type": "array", "items": "int"}, "minimum": 1}, "amount can have no minimum: limits are for strings and numbers"),
        ({"type": ["null", "int", "string"], "minimum": 1}, "amount can have no minimum: limits are for strings and numbers"),
        ({"type": "int", "minimum": "1"}, "minimum of amount must be a number"),
        ({"type": "string", "pattern": "("}, "its limits cannot be used: "),
    ],
)
def test_a_limit_that_its_field_cannot_have(routes: Path, field: dict[str, Any], message: str) -> None:
    write_schema(routes.parent, [*COMMON, {"name": "amount", **field}])
    assert refusal(routes).startswith(f": acme.billing.InvoiceRequested: {message}")


def test_a_limit_of_a_common_field_would_lift_its_own(routes: Path) -> None:
    write_schema(routes.parent, [COMMON[0], {**COMMON[1], "maxLength": 3}, COMMON[2]])
    assert refusal(routes) == ": acme.billing.InvoiceRequested: user_id has limits of its own: take maxLength out of it"


def test_a_request_outside_of_the_limits_is_refused_and_one_inside_keeps_its_other_fields(routes: Path) -> None:
    limits: list[dict[str, Any]] = [
        {"name": "amount", "type": "int", "default": 5, "minimum": 1, "maximum": 9},
        {"name": "note", "type": ["null", "string"], "default": None, "maxLength": 3},
        {"name": "code", "type": "string", "pattern": "^[A-Z]+$"},
        {"name": "free", "type": "double"},
    ]
    write_schema(routes.parent, [*COMMON, *limits])
    model = load_routes(routes).all()[0].model
    good = {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "code": "AB", "free": 1e9}
    assert model.model_validate(good).model_dump() == {**good, "amount": 5, "note": None}
    for wrong in ({"amount": 0}, {"amount": 10}, {"note": "long"}, {"code": "a"}, {"amount": "many"}, {"event_id": UUID(int=0)}):
        with pytest.raises(ValidationError) as caught:
            model.model_validate({**good, **wrong})
        assert [error["loc"] for error in caught.value.errors()] == [tuple(wrong)]


def test_a_limit_that_is_added_makes_no_other_event_of_the_same_values(routes: Path) -> None:
    """Else an event that is read again after its `.avsc` has gained a limit would be a conflict with itself."""
    hashes = set()
    values = {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "amount": 3, "note": "x"}
    without: dict[str, Any] = {}
    for limit in (without, {"minimum": 1}):
        for sent in (values, {**values, "amount": 3, "more": 7}):
            write_schema(
                routes.parent,
                [
                    *COMMON,
                    {"name": "amount", "type": "int", "default": 3, **limit},
                    {"name": "note", "type": "string"},
                    {"name": "more", "type": "int", "default": 7, **limit},
                ],
            )
            route = load_routes(routes).all()[0]
            hashes.add(payload_sha256(route.model.model_validate(sent), route.schema))
    assert len(hashes) == 1


def test_two_routes_for_one_record(routes: Path) -> None:
    routes.write_text(ROUTE + ROUTE)
    assert refusal(routes) == ": two routes for acme.billing.InvoiceRequested: keep one"
