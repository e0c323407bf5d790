"""What another team's service sees: bytes made with the specification and an Avro library, without a line of ours, and the reverse.

`write` and `read` are what a service in Java or Go does; nothing in them is taken from `schemas`.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.errors import Reason, Rejected
from schemas.image import ImageGenerationRequested
from schemas.models import REQUESTS
from tests.contract.publish import EXAMPLES, example

AVRO = Path(__file__).parents[2] / "schemas" / "avro"
RECORD = "headrace.image.ImageGenerationRequested"
EVENT = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
TIME = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
VALUE: dict[str, Any] = {
    "event_id": str(EVENT),
    "user_id": "u-1",
    "requested_at": 1_772_600_767_089,
    "prompt": "a mill wheel",
    "negative_prompt": "people",
    "style": "anime",
    "size": "1024x768",
    "backend": "local",
}


def avsc(domain: str = "image", name: str = "ImageGenerationRequested") -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((AVRO / domain / f"{name}.avsc").read_text("utf-8"))
    return schema


def write(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    """Single-object encoding: C3 01, the fingerprint, the body."""
    out = io.BytesIO()
    out.write(b"\xc3\x01")
    out.write(bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")))
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def read(schema: dict[str, Any], data: bytes) -> Any:
    assert data[:2] == b"\xc3\x01"
    assert data[2:10] == bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    body = io.BytesIO(data[10:])
    value = fastavro.schemaless_reader(body, schema, None)
    assert body.read() == b""
    return value


def wire() -> Wire:
    return Wire(Catalog(shipped()))


async def request(data: bytes) -> ImageGenerationRequested:
    decoded = await wire().decode(data)
    assert decoded.record == RECORD
    return ImageGenerationRequested.model_validate(decoded.value)


async def test_a_foreign_writers_record_is_read() -> None:
    made = await request(write(avsc(), VALUE))
    assert (made.event_id, made.requested_at, made.prompt, made.style) == (EVENT, TIME, "a mill wheel", "anime")


async def test_the_bytes_of_the_specification_are_read() -> None:
    """Every byte by hand: zigzag lengths, UTF-8, the time as a zigzag varint."""

    def zigzag(number: int) -> bytes:
        number, out = number << 1, bytearray()
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes([*out, number])

    def text(value: str) -> bytes:
        return zigzag(len(value.encode())) + value.encode()

    body = (
        text(str(EVENT))
        + text("u-1")
        + zigzag(1_772_600_767_089)
        + b"".join(text(value) for value in ("naïve 🎡", "", "photorealistic", "1024x1024", "huggingface"))
    )
    made = await request(write(avsc(), VALUE)[:10] + body)
    assert (made.event_id, made.requested_at, made.prompt, made.negative_prompt) == (EVENT, TIME, "naïve 🎡", "")


async def test_a_java_builders_defaults_are_those_of_the_schema() -> None:
    least = {key: VALUE[key] for key in ("event_id", "user_id", "requested_at", "prompt")}
    made = await request(write(avsc(), least))
    assert (made.negative_prompt, made.style, made.size, made.backend) == ("", "photorealistic", "1024x1024", "huggingface")


async def test_attributes_that_do_not_change_the_bytes_do_not_change_the_fingerprint() -> None:
    """Java's compiler writes `avro.java.string`; others drop docs, defaults and logical types, or spell the full name."""
    plain = {
        "fields": [
            {"type": {"type": "string", "avro.java.string": "String"}, "name": "event_id"},
            {"name": "user_id", "type": {"type": "string"}},
            {"name": "requested_at", "type": "long"},
            *({"name": name, "type": "string"} for name in ("prompt", "negative_prompt", "style", "size", "backend")),
        ],
        "name": RECORD,
        "type": "record",
    }
    data = write(plain, VALUE)
    assert data == write(avsc(), VALUE)
    assert (await request(data)).requested_at == TIME


async def test_another_order_of_fields_is_another_schema_and_is_refused_not_misread() -> None:
    schema = avsc()
    schema["fields"].reverse()
    with pytest.raises(Rejected, match="no schema has the fingerprint") as caught:
        await wire().decode(write(schema, VALUE))
    assert caught.value.reason is Reason.UNKNOWN_SCHEMA


@pytest.mark.parametrize("name", sorted(REQUESTS))
async def test_every_request_is_read_by_a_foreign_reader(name: str) -> None:
    _, domain, record = name.split(".")
    schema = avsc(domain, record)
    model = REQUESTS[name].model_validate({**example(schema, full=False), **EXAMPLES.get(name, {})})
    seen = read(schema, await wire().encode(f"{domain}.requests", name, model.model_dump()))
    assert seen == model.model_dump()


async def test_a_completion_is_read_by_a_foreign_reader() -> None:
    value = {
        "completion_id": EVENT,
        "event_id": EVENT,
        "user_id": "u-1",
        "status": "REJECTED",
        "error": {"code": "invalid", "message": "the prompt is blank"},
        "requested_at": TIME,
        "completed_at": TIME,
    }
    data = await wire().encode("image.completions", "headrace.image.ImageGenerationCompleted", value)
    seen = read(avsc(name="ImageGenerationCompleted"), data)
    assert seen == {**value, "workflow_id": None, "run_id": None, "result": None, "started_at": None}
