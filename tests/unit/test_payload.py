"""Which records are the same event: the values count, not the bytes, the writer's schema or the version of the reader's."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import fastavro
import pytest

from headrace.wire import Wire
from schemas import codec
from schemas.catalog import Catalog
from schemas.codec import Schema
from schemas.image import ImageGenerationRequested
from schemas.payload import payload_sha256
from schemas.request import OpenRequest
from tests.support.ingress import CATALOG, REQUESTED

EVENT = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
TIME = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)


def request(**changed: Any) -> ImageGenerationRequested:
    good = {"event_id": EVENT, "user_id": "u-1", "requested_at": TIME, "prompt": "a mill wheel", "backend": "local", "size": "64x64"}
    return ImageGenerationRequested.model_validate({**good, **changed})


def test_the_form_never_changes() -> None:
    # The ledger keeps these: with another form every event that is read again would be a conflict with itself.
    text = '{"backend":"local","event_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","prompt":"a mill wheel","size":"64x64","user_id":"u-1"}'
    assert payload_sha256(request(), CATALOG.named(REQUESTED)) == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("changed", [{"prompt": "a mill"}, {"user_id": "u-2"}, {"style": "sketch"}, {"negative_prompt": "people"}])
def test_another_value_is_another_payload(changed: dict[str, Any]) -> None:
    schema = CATALOG.named(REQUESTED)
    assert payload_sha256(request(**changed), schema) != payload_sha256(request(), schema)


def test_a_sender_that_asks_again_and_takes_the_time_anew_sends_the_same_event() -> None:
    schema = CATALOG.named(REQUESTED)
    assert payload_sha256(request(requested_at=TIME + timedelta(seconds=9)), schema) == payload_sha256(request(), schema)


def schema(*more: dict[str, Any], time: Any = None) -> Schema:
    fields = [
        {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "user_id", "type": "string"},
        {"name": "requested_at", "type": time or {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "due", "type": time or {"type": "long", "logicalType": "timestamp-millis"}},
        *more,
    ]
    return Schema(json.dumps({"type": "record", "name": "Asked", "namespace": "team.orders", "fields": fields}))


VALUE = {"event_id": str(EVENT), "user_id": "u", "requested_at": TIME, "due": TIME}


def hashed(reader: Schema, writer: Schema, value: dict[str, Any]) -> bytes:
    """As a reader of a team's own route hashes what a writer has sent."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, writer.parsed, value)
    wire = Wire(Catalog([Schema(reader.text, (writer,))]))
    decoded = wire.decode_at_once(codec.frame_single_object(writer, out.getvalue()))
    assert decoded is not None
    return payload_sha256(OpenRequest.model_validate(decoded.value), reader)


def test_a_writer_without_the_logical_type_sends_the_same_event() -> None:
    plain = {**VALUE, "requested_at": int(TIME.timestamp() * 1000), "due": int(TIME.timestamp() * 1000)}
    assert hashed(schema(), schema(time="long"), plain) == hashed(schema(), schema(), VALUE)


def test_an_event_from_before_its_schema_gained_a_field_is_the_same_event() -> None:
    newer = schema({"name": "colour", "type": "string", "default": "red"})
    assert hashed(newer, schema(), VALUE) == hashed(schema(), schema(), VALUE)
    assert hashed(newer, newer, {**VALUE, "colour": "blue"}) != hashed(schema(), schema(), VALUE)


def test_an_order_of_fields_is_no_difference() -> None:
    turned = json.loads(schema().text)
    turned["fields"].reverse()
    assert hashed(schema(), Schema(json.dumps(turned)), VALUE) == hashed(schema(), schema(), VALUE)
