"""The requests that every contender starts, as objects and as records in Kafka."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from headrace import kafka, setup
from headrace.settings import Settings
from schemas import codec
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from schemas.topics import Topics

RECORD = "headrace.image.ImageGenerationRequested"
USERS = 1000

_CATALOG = Catalog(shipped())
_CHUNK = 5000
# Not in turns: keys that never meet in flight would prove nothing of their order.
_USERS = random.Random(4)  # noqa: S311 - not a secret


def request(number: int, event_id: UUID | None = None) -> ImageGenerationRequested:
    """About 160 bytes of Avro, 600 of JSON in the workflow's input."""
    return ImageGenerationRequested(
        event_id=event_id or uuid4(),
        user_id=f"user-{_USERS.randrange(USERS)}",
        requested_at=datetime.now(UTC),
        prompt=f"Picture number {number}: a mill race in the morning, low sun, mist over the wheel, the miller opens the sluice gate",
        size="512x512",
        backend="local",
    )


def encoded(value: ImageGenerationRequested) -> bytes:
    schema = _CATALOG.named(RECORD)
    return codec.frame_single_object(schema, codec.encode_body(schema, value.model_dump()))


def topic(settings: Settings) -> str:
    return Topics(settings.topic_prefix).requests("image")


async def make_topics(settings: Settings, *, partitions: int | None = None) -> None:
    """Topics, tables and search attributes of this prefix; with `partitions` the request topic has so many."""
    if partitions is not None:
        admin = kafka.admin(settings)
        try:
            await admin.start()
            await admin.create_topics([NewTopic(name=topic(settings), num_partitions=partitions, replication_factor=1)])
        finally:
            await admin.close()
    await setup.run(settings, lambda _: None)


async def preload(settings: Settings, count: int, say: Callable[[int], None] = lambda _: None) -> None:
    """Puts `count` new requests into the topic, keyed by their user, one of `USERS`."""
    name = topic(settings)
    async with kafka.producer(settings, idempotent=True) as producer:
        for start in range(0, count, _CHUNK):
            chunk = [request(number) for number in range(start, min(start + _CHUNK, count))]
            await asyncio.gather(*[await producer.send(name, encoded(each), key=each.user_id.encode()) for each in chunk])
            say(start + len(chunk))


async def reset_group(settings: Settings) -> None:
    """The group's offsets to the beginning, as an operator would; the group must be empty."""
    partitions = await kafka.partitions(settings, [topic(settings)])
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.commit(await consumer.beginning_offsets(partitions))
    finally:
        await consumer.stop()


async def dead_letters(settings: Settings) -> int:
    """Records in the dead-letter topic."""
    partitions: list[TopicPartition] = await kafka.partitions(settings, [Topics(settings.topic_prefix).dead_letters(topic(settings))])
    consumer = kafka.consumer(settings)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()
