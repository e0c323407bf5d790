"""confluent-kafka's own serializers and Headrace understand each other, both ways, on the real broker and a real registry."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import ConsumerRecord
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import SecretStr

from headrace import setup
from headrace.completions import Received, completions
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from schemas.topics import Topics
from tests.support.eventually import eventually
from tests.support.ingress import fields, read_all, running
from tests.support.registry import Apicurio
from tests.support.whole import whole

pytestmark = pytest.mark.timeout(600)  # the first run fetches 158 MB

ROOT = Path(__file__).parents[2]
AVSC = ROOT / "schemas/avro/image/ImageGenerationRequested.avsc"
KEY = b"\xff\x00key"

SENDERS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "topic and record": {"subject.name.strategy": topic_record_subject_name_strategy},
    "registered by setup": {"subject.name.strategy.type": "TOPIC_RECORD", "auto.register.schemas": False},
    "the latest of setup's": {"subject.name.strategy.type": "TOPIC_RECORD", "auto.register.schemas": False, "use.latest.version": True},
    "registered by another sender": {"subject.name.strategy.type": "TOPIC", "auto.register.schemas": False},
}
"""How a sender may set Confluent's serializer up. By default it registers under `<topic>-value`."""


def behind(settings: Settings, apicurio: Apicurio) -> Settings:
    return settings.model_copy(update={"schema_registry_url": SecretStr(apicurio.url)})


def request(**changed: Any) -> dict[str, Any]:
    given = fields(**changed)
    return {**given, "requested_at": given["requested_at"].replace(microsecond=123_000)}


def send(settings: Settings, topic: str, conf: dict[str, Any], value: dict[str, Any]) -> None:
    """Blocks: Confluent's client has threads of its own."""
    url = settings.schema_registry_url
    assert url is not None
    with SchemaRegistryClient({"url": url.get_secret_value(), "timeout": 30}) as registry:
        headers: list[tuple[str, str | bytes | None]] = []
        serialize = AvroSerializer(registry, AVSC.read_text("utf-8"), conf=conf)
        data = serialize(value, SerializationContext(topic, MessageField.VALUE, headers))
    refused: list[Any] = []
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    producer.produce(topic, data, key=KEY, headers=headers, on_delivery=lambda error, _: refused.append(error))
    assert producer.flush(30) == 0
    assert refused == [None]


@contextlib.contextmanager
def deserializer(apicurio: Apicurio) -> Iterator[Callable[[ConsumerRecord], dict[str, Any]]]:
    """Reads a record's value with Confluent's, which blocks while it asks the registry."""
    with SchemaRegistryClient({"url": apicurio.url, "timeout": 30}) as registry:
        read = AvroDeserializer(registry)

        def value(record: ConsumerRecord) -> dict[str, Any]:
            found = read(record.value, SerializationContext(record.topic, MessageField.VALUE))
            assert isinstance(found, dict)
            return found

        yield value


async def told(settings: Settings, event_ids: set[UUID]) -> dict[UUID, Received]:
    """Their completions, read by Headrace."""
    wire = Wire.of(settings, Catalog(shipped()))
    found: dict[UUID, Received] = {}
    async with asyncio.timeout(90), contextlib.aclosing(completions(settings, wire, ["image"], follow=True)) as reading:
        while not event_ids <= found.keys():
            received = await anext(reading)
            found[received.completion["event_id"]] = received
    await wire.close()
    return found


async def run(script: str, *arguments: str, prefix: str) -> str:
    """What an example prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(ROOT / "docs/examples" / script), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "HEADRACE_TOPIC_PREFIX": prefix},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def test_the_examples_of_the_documents_send_a_request_and_receive_its_completion(settings: Settings, apicurio: Apicurio) -> None:
    async with whole(behind(settings, apicurio)) as system:
        servers, prefix = system.kafka_bootstrap_servers, system.topic_prefix
        event_id = await run("confluent_producer.py", servers, apicurio.url, str(AVSC), prefix=prefix)
        completion = json.loads(await run("confluent_consumer.py", servers, apicurio.url, event_id, prefix=prefix))
    assert (completion["event_id"], completion["status"], completion["user_id"]) == (event_id, "SUCCEEDED", "confluent")
    assert completion["error"] is None


async def test_every_way_to_set_confluents_serializer_up_becomes_a_run_and_a_completion_that_its_deserializer_reads(
    settings: Settings, apicurio: Apicurio
) -> None:
    async with whole(behind(settings, apicurio)) as system, contextlib.AsyncExitStack() as opened:
        topics, value = Topics(system.topic_prefix), opened.enter_context(deserializer(apicurio))
        topic = topics.requests("image")
        sent = {name: request(prompt=f"A mill, {name}") for name in SENDERS}
        refused = request(prompt="")
        for name, given in sent.items():
            await asyncio.to_thread(send, system, topic, SENDERS[name], given)
        await asyncio.to_thread(send, system, topic, {}, refused)
        ids = {given["event_id"] for given in sent.values()}
        completed = await told(system, ids | {refused["event_id"]})

        # Confluent's deserializer reads the same records: uuid, timestamp-millis, an enum, unions with null on either side.
        records = await read_all(system, topics.completions("image"))
        theirs = {read["event_id"]: (read, record.key) for record in records for read in [value(record)]}
        assert theirs == {event_id: (received.completion, KEY) for event_id, received in completed.items()}
        by_id = {event_id: read for event_id, (read, _) in theirs.items()}
        for given in sent.values():
            read = by_id[given["event_id"]]
            assert (read["status"], read["error"], read["requested_at"]) == ("SUCCEEDED", None, given["requested_at"])
            assert read["result"]["backend"] == "local"
            assert isinstance(read["completion_id"], UUID)
        receipt = by_id[refused["event_id"]]
        assert (receipt["status"], receipt["error"]["code"], receipt["result"], receipt["run_id"]) == ("REJECTED", "invalid", None, None)

        async def history() -> dict[UUID, dict[str, Any]]:
            found = {read["event_id"]: read for read in map(value, await read_all(system, topics.history))}
            return found if ids <= found.keys() else {}

        written = await eventually(history, timeout=30)
        assert {written[event_id]["status"] for event_id in ids} == {"SUCCEEDED"}
        assert {type(written[event_id]["recorded_at"]) for event_id in ids} == {datetime}


async def test_what_our_producer_sends_is_read_by_confluents_deserializer(settings: Settings, apicurio: Apicurio) -> None:
    system = behind(settings, apicurio)
    await setup.run(system, lambda _: None)
    given = ImageGenerationRequested(
        event_id=uuid4(), user_id="ada", requested_at=datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC), prompt="naïve 🎡", backend="local"
    )
    wire = Wire.of(system, Catalog(shipped()))
    async with RequestProducer(system, wire) as producer:
        place = await producer.send(given, key=KEY)
    await wire.close()
    [record] = await read_all(system, place.topic)
    assert record.key == KEY
    with deserializer(apicurio) as value:
        assert value(record) == given.model_dump()


async def test_a_schema_that_is_named_in_a_header_is_refused_with_what_to_do(settings: Settings, apicurio: Apicurio) -> None:
    """Confluent's serializer does so only when it is told to, and then names a GUID that this registry has not."""
    system = behind(settings, apicurio)
    await setup.run(system, lambda _: None)
    topic = Topics(system.topic_prefix).requests("image")

    def guid(payload: bytes, context: SerializationContext | None, schema_id: Any) -> bytes:
        schema_id.guid = uuid4()
        return header_schema_id_serializer(payload, context, schema_id)

    await asyncio.to_thread(send, system, topic, {"schema.id.serializer": guid}, request())
    async with running(system):

        async def buried() -> list[ConsumerRecord]:
            return await read_all(system, f"{topic}.dlq")

        [letter] = await eventually(buried, timeout=30)
    headers = dict(letter.headers)
    assert headers["dlq_reason"] == b"undecodable"
    assert b"leave schema.id.serializer of the sender's serializer at its default, prefix_schema_id_serializer" in headers["dlq_message"]
