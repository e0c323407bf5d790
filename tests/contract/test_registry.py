"""The registry client against a real registry; `test_registry_errors.py` has the answers that a real one gives only on a bad day."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from headrace.registry import Registry
from headrace.wire import Wire
from schemas import codec
from schemas.catalog import Catalog, shipped
from schemas.codec import Schema
from schemas.errors import Reason, Rejected, Transient
from tests.support import registry as support
from tests.support.registry import Apicurio

pytestmark = pytest.mark.timeout(600)  # the first run fetches 158 MB

V1: list[dict[str, Any]] = [{"name": "n", "type": "long"}]
V2: list[dict[str, Any]] = [*V1, {"name": "colour", "type": "string", "default": "blue"}]


@pytest.fixture
def subject() -> str:
    return f"acme.requests-acme.R{uuid4().hex}"


def record(fields: list[dict[str, Any]], name: str = "acme.R") -> Schema:
    return Schema(json.dumps({"type": "record", "name": name, "fields": fields}))


async def test_a_record_goes_through_the_registry_both_ways(apicurio: Apicurio) -> None:
    topic, name = f"t{uuid4().hex}", "headrace.history.HistoryRecorded"
    value = {"history_id": uuid4(), "event_id": uuid4(), "domain": "image", "user_id": "u", "workflow_id": "w", "run_id": "r"}
    sender, receiver = (Wire(Catalog(shipped()), Registry(apicurio.url)) for _ in range(2))
    try:
        schema = sender.catalog.named(name)
        times = {"status": "SUCCEEDED", "recorded_at": codec.decode_body(b"\x00", record([{"name": "t", "type": TIME}]))["t"]}
        data = await sender.encode(topic, name, {**value, **times})
        assert data[0] == 0
        decoded = await receiver.decode(data)
    finally:
        await sender.close()
        await receiver.close()
    assert decoded.record == name
    expected = codec.decode_body(codec.encode_body(schema, {**value, **times}), schema)
    assert decoded.value == expected
    async with httpx.AsyncClient() as http:
        assert f"{topic}-{name}" in (await http.get(f"{apicurio.url}/subjects")).json()


TIME = {"type": "long", "logicalType": "timestamp-millis"}


async def test_every_schema_that_ships_is_taken_and_keeps_its_fingerprint(registry: Registry, apicurio: Apicurio) -> None:
    other = Registry(apicurio.url)
    try:
        for schema in shipped():
            schema_id = await registry.register(f"t-{schema.name}", schema)
            assert (await other.schema(schema_id)).fingerprint == schema.fingerprint
            assert await other.register(f"t-{schema.name}", schema) == schema_id
    finally:
        await other.close()


async def test_a_newer_writer_is_resolved_to_the_reader_and_an_older_one_too(registry: Registry, apicurio: Apicurio, subject: str) -> None:
    old, new = record(V1), record(V2)
    from_old = codec.frame_confluent(await registry.register(subject, old), codec.encode_body(old, {"n": 1}))
    from_new = codec.frame_confluent(await registry.register(subject, new), codec.encode_body(new, {"n": 2, "colour": "red"}))
    for reader, expected in ((old, [{"n": 1}, {"n": 2}]), (new, [{"n": 1, "colour": "blue"}, {"n": 2, "colour": "red"}])):
        wire = Wire(Catalog([reader]), Registry(apicurio.url))
        try:
            assert [(await wire.decode(data)).value for data in (from_old, from_new)] == expected
        finally:
            await wire.close()


async def test_single_object_encoding_is_still_understood_with_a_registry(registry: Registry) -> None:
    schema = record(V1)
    decoded = await Wire(Catalog([schema]), registry).decode(codec.frame_single_object(schema, b"\x02"))
    assert decoded.value == {"n": 1}


@pytest.mark.parametrize("schema_id", [0, 999_999, 2**31 - 1, 2**31, 2**32 - 1])
async def test_an_id_that_the_registry_does_not_know_is_rejected(registry: Registry, schema_id: int) -> None:
    with pytest.raises(Rejected) as caught:
        await Wire(Catalog([]), registry).decode(codec.frame_confluent(schema_id, b"\x02"))
    assert caught.value.reason is Reason.UNKNOWN_SCHEMA
    assert str(schema_id) in caught.value.message


async def test_a_schema_that_is_not_avro_is_rejected(registry: Registry, apicurio: Apicurio, subject: str) -> None:
    async with httpx.AsyncClient() as http:
        body = {"schemaType": "JSON", "schema": json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"})}
        schema_id = (await http.post(f"{apicurio.url}/subjects/{subject}/versions", json=body)).raise_for_status().json()["id"]
    with pytest.raises(Rejected, match="of type JSON: send Avro"):
        await registry.schema(schema_id)


async def test_a_schema_that_refers_to_others_is_rejected_with_what_to_do(registry: Registry, apicurio: Apicurio, subject: str) -> None:
    await registry.register(subject, record(V1, name="acme.Inner"))
    outer = {"type": "record", "name": "acme.Outer", "fields": [{"name": "inner", "type": "acme.Inner"}]}
    body = {"schema": json.dumps(outer), "references": [{"name": "acme.Inner", "subject": subject, "version": 1}]}
    async with httpx.AsyncClient() as http:
        schema_id = (await http.post(f"{apicurio.url}/subjects/{subject}-outer/versions", json=body)).raise_for_status().json()["id"]
    with pytest.raises(Rejected, match="register it in one piece"):
        await registry.schema(schema_id)


async def test_an_incompatible_schema_is_refused_in_the_registrys_words(registry: Registry, subject: str) -> None:
    await registry.register(subject, record(V1))
    with pytest.raises(ValueError, match=rf"refuses acme\.R under the subject {subject}: .*type: .* not compatible with"):
        await registry.register(subject, record([{"name": "n", "type": "string"}]))


async def test_many_lookups_at_once_all_get_the_schema(registry: Registry, apicurio: Apicurio, subject: str) -> None:
    schema_id = await registry.register(subject, record(V1))
    fresh = Registry(apicurio.url)
    try:
        found = await asyncio.gather(*(fresh.schema(schema_id) for _ in range(200)))
    finally:
        await fresh.close()
    assert len({id(schema) for schema in found}) == 1


async def test_while_the_registry_is_away_known_ids_decode_unknown_ones_wait_and_it_works_again_after(
    registry: Registry, apicurio: Apicurio, subject: str
) -> None:
    schema = record(V1)
    known, unknown = await registry.register(subject, schema), await registry.register(f"{subject}-2", record(V2))
    fresh = Registry(apicurio.url)
    wire = Wire(Catalog([schema]), fresh)
    record_of = {schema_id: codec.frame_confluent(schema_id, body) for schema_id, body in ((known, b"\x02"), (unknown, b"\x02\x06red"))}
    try:
        await wire.decode(record_of[known])
        apicurio.stop()
        waits = asyncio.gather(*(wire.decode(record_of[unknown]) for _ in range(50)), return_exceptions=True)
        before = time.perf_counter()
        assert (await wire.decode(record_of[known])).value == {"n": 1}
        assert time.perf_counter() - before < 1.0, "a known ID waits for nobody"
        for error in await waits:
            assert isinstance(error, Transient)
            assert f"the schema registry at {apicurio.url} does not answer: ConnectError" in str(error)
        with pytest.raises(Transient):
            await fresh.register("other", schema)
        await apicurio.start()
        assert (await wire.decode(record_of[unknown])).value == {"n": 1}
    finally:
        await wire.close()


async def test_a_wrong_path_waits_with_a_hint_and_dead_letters_nothing(apicurio: Apicurio) -> None:
    wrong = Registry(apicurio.url.replace("/ccompat/v7", "/nowhere"))
    try:
        with pytest.raises(Transient, match=r"answers 404 .* check the path in HEADRACE_SCHEMA_REGISTRY_URL"):
            await wrong.schema(1)
    finally:
        await wrong.close()


def test_no_address_of_a_package_registry_is_written_here() -> None:
    assert "https://" not in Path(support.__file__).read_text("utf-8")
