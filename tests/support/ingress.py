"""An ingress that runs in the test's own process, and the records around it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import ConsumerRecord
from sqlalchemy import select

from headrace import kafka
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from ingress.__main__ import main
from schemas import codec
from schemas.catalog import Catalog, shipped
from schemas.topics import Topics

CATALOG = Catalog(shipped())
IMAGE_ROUTES = Path(__file__).with_name("image_routes.toml")
REQUESTED = "headrace.image.ImageGenerationRequested"


def fields(**changed: Any) -> dict[str, Any]:
    """The fields of a good request."""
    good = {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "prompt": "A mill", "backend": "local"}
    return {**good, "negative_prompt": "", "style": "sketch", "size": "128x128", **changed}


def framed(value: dict[str, Any], record: str = REQUESTED) -> bytes:
    schema = CATALOG.named(record)
    return codec.frame_single_object(schema, codec.encode_body(schema, value))


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """The ingress while the block runs; ended as SIGTERM would end it."""
    stop = asyncio.Event()
    task = asyncio.create_task(main(settings, stop))
    try:
        yield task
    finally:
        stop.set()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(task, 30)


async def read_all(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """Every record of a topic."""
    consumer = kafka.consumer(settings)
    await consumer.start()
    try:
        partitions = await kafka.partitions(settings, [topic])
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def send(settings: Settings, *values: bytes | None, key: bytes | None = b"key", partition: int | None = None) -> None:
    """To the image domain's requests."""
    topic = Topics(settings.topic_prefix).requests("image")
    async with kafka.producer(settings, idempotent=True) as producer:
        for each in values:
            await producer.send_and_wait(topic, each, key=key, partition=partition)


async def all_disposed(settings: Settings) -> bool:
    return await lag(settings) == 0


async def lag(settings: Settings) -> int:
    """Request records before which the group has not committed."""
    topic = Topics(settings.topic_prefix).requests("image")
    partitions = await kafka.partitions(settings, [topic])
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        return sum([end - (await consumer.committed(partition) or 0) for partition, end in ends.items()])
    finally:
        await consumer.stop()


async def ledger(settings: Settings) -> list[Any]:
    """The rows of the ledger, in the order of their claims."""
    database = engine(settings.database_url)
    async with database.connect() as connection:
        rows = (await connection.execute(select(LEDGER).order_by(LEDGER.c.claimed_at))).all()
    await database.dispose()
    return list(rows)
