"""The producer of requests and the consumer of completions, on the real broker."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from headrace import kafka
from headrace.completions import Received, completions
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.wire import Wire
from schemas import headers
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from schemas.models import REQUESTS
from schemas.request import Request
from tests.support.messages import RECORD, completion

WIRE = Wire(Catalog(shipped()))


def request(**fields: Any) -> ImageGenerationRequested:
    given = {"event_id": uuid4(), "user_id": "user-1", "requested_at": datetime.now(UTC), "prompt": "a fox", "backend": "local", **fields}
    return ImageGenerationRequested(**given)


async def publish(raw: AIOKafkaProducer, settings: Settings, event_id: UUID | None = None, partition: int | None = None) -> UUID:
    """A completion as the notifier publishes it, but without its memory."""
    given = completion(event_id)
    topic = f"{settings.topic_prefix}image.completions"
    value = await WIRE.encode(topic, RECORD, given.model_dump())
    await raw.send_and_wait(topic, value=value, key=b"key", partition=partition, headers=[("ce_type", RECORD.encode())])
    return given.event_id


async def received(settings: Settings, **options: Any) -> list[Received]:
    async with asyncio.timeout(20), contextlib.aclosing(completions(settings, WIRE, ["image"], **options)) as found:
        return [each async for each in found]


async def read_one(settings: Settings) -> Any:
    consumer = kafka.consumer(settings, f"{settings.topic_prefix}image.requests")
    await consumer.start()
    try:
        return await asyncio.wait_for(consumer.getone(), 10)
    finally:
        await consumer.stop()


async def test_request_arrives_as_the_ingress_takes_it(ready: Settings) -> None:
    given = request()
    async with RequestProducer(ready, WIRE) as producer:
        place = await producer.send(given, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    record = await read_one(ready)
    assert (record.topic, record.partition, record.offset) == (place.topic, place.partition, place.offset)
    assert record.key == b"user-1"
    headers.check_event_id(record.headers, given.event_id)
    assert headers.traceparent(record.headers) == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    decoded = await WIRE.decode(record.value)
    assert decoded.record == "headrace.image.ImageGenerationRequested"
    read = REQUESTS[decoded.record].model_validate(decoded.value)
    assert read.model_dump(exclude={"requested_at"}) == given.model_dump(exclude={"requested_at"})


@pytest.mark.parametrize("key", ["mine", b"mine"])
async def test_key_of_the_caller_is_kept(ready: Settings, key: str | bytes) -> None:
    async with RequestProducer(ready, WIRE) as producer:
        await producer.send(request(), key=key)
    assert (await read_one(ready)).key == b"mine"


async def test_many_requests_of_one_user_keep_their_order(ready: Settings) -> None:
    given = [request(prompt=str(number)) for number in range(700)]
    async with RequestProducer(ready, WIRE) as producer:
        places = await producer.send_many(given)
    assert len({place.partition for place in places}) == 1
    assert [place.offset for place in places] == list(range(700))


async def test_request_of_an_unknown_class_needs_its_record_named(ready: Settings) -> None:
    class Mine(Request):
        pass

    async with RequestProducer(ready, WIRE) as producer:
        with pytest.raises(ValueError, match="pass record="):
            await producer.send(Mine(event_id=uuid4(), user_id="u", requested_at=datetime.now(UTC)))


async def test_reading_ends_with_the_last_completion_that_was_there(ready: Settings, raw: AIOKafkaProducer) -> None:
    sent = {await publish(raw, ready, partition=number % 3) for number in range(10)}
    found = await received(ready)
    assert {each.completion["event_id"] for each in found} == sent
    assert {each.partition for each in found} == {0, 1, 2}
    assert {(each.key, each.record, *each.headers) for each in found} == {(b"key", RECORD, ("ce_type", RECORD.encode()))}


async def test_reading_an_empty_topic_ends(ready: Settings) -> None:
    assert await received(ready) == []


async def test_reading_ends_behind_the_marker_of_a_transaction(ready: Settings) -> None:
    topic = f"{ready.topic_prefix}image.completions"
    producer = AIOKafkaProducer(bootstrap_servers=ready.kafka_bootstrap_servers, transactional_id=ready.topic_prefix)
    await producer.start()
    async with producer.transaction():
        value = await WIRE.encode(topic, RECORD, completion().model_dump())
        await producer.send_and_wait(topic, value=value, partition=0)
    await producer.stop()
    assert len(await received(ready)) == 1


async def test_repeated_completion_is_seen_once(ready: Settings, raw: AIOKafkaProducer) -> None:
    event_id = await publish(raw, ready)
    await publish(raw, ready, event_id)
    await publish(raw, ready, event_id, partition=5)
    assert len(await received(ready)) == 1


async def test_completion_of_one_event_is_found_among_others(ready: Settings, raw: AIOKafkaProducer) -> None:
    wanted = [await publish(raw, ready) for _ in range(3)][1]
    (found,) = await received(ready, event_id=wanted)
    assert found.completion["event_id"] == wanted
    assert await received(ready, event_id=uuid4()) == []


async def test_unreadable_record_does_not_stop_the_reader(ready: Settings, raw: AIOKafkaProducer) -> None:
    topic = f"{ready.topic_prefix}image.completions"
    for value in (b"junk", await WIRE.encode(topic, "headrace.image.ImageGenerationRequested", request().model_dump())):
        await raw.send_and_wait(topic, value=value, partition=0)
    await raw.send_and_wait(topic, value=None, key=b"tombstone", partition=0)
    sent = await publish(raw, ready, partition=0)
    assert [each.completion["event_id"] for each in await received(ready)] == [sent]


async def test_following_sees_what_comes_later_and_can_be_left(ready: Settings, raw: AIOKafkaProducer) -> None:
    first = await publish(raw, ready)
    async with asyncio.timeout(20), contextlib.aclosing(completions(ready, WIRE, ["image"], follow=True)) as found:
        assert (await anext(found)).completion["event_id"] == first
        second = await publish(raw, ready)
        assert (await anext(found)).completion["event_id"] == second


async def test_missing_topic_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(UnknownTopicOrPartitionError, match="headrace setup"):
        await received(settings)


async def test_broker_away_is_an_error(settings: Settings) -> None:
    with pytest.raises(KafkaError):
        await received(settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))
