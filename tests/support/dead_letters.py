"""Dead letters as the ingress writes them, without an ingress, and the redrive's activity on the real broker."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import ActivityEnvironment

from headrace import kafka, reading
from headrace.settings import Settings
from headrace.wire import Wire
from notifier.redrive.activities import RedriveActivities
from schemas import headers
from schemas.errors import Reason, Rejected
from schemas.headers import Headers
from schemas.redrive import Page, PageDone, Range, Selection
from schemas.topics import Topics
from tests.support.ingress import CATALOG, fields, framed

SENT: Headers = [("ce_type", b"x"), ("same", b"1"), ("same", None), ("dlq_reason", b"the sender's own")]
"""Headers of a sender who knows nothing of ours."""


def request_topic(settings: Settings) -> str:
    return Topics(settings.topic_prefix).requests("image")


def dead_letter_topic(settings: Settings) -> str:
    return Topics(settings.topic_prefix).dead_letters(request_topic(settings))


async def bury(
    settings: Settings,
    values: Sequence[bytes | None],
    *,
    reason: Reason = Reason.UNROUTABLE,
    key: bytes | None = b"key",
    sent: Headers = SENT,
    partition: int = 0,
    time: datetime | None = None,
) -> None:
    """Puts a dead letter for each value into one partition of the dead-letter topic of the image requests."""
    topic, now = request_topic(settings), time or datetime.now(UTC)
    error = Rejected(reason, "no route was for it")
    async with producing(settings) as producer:
        for number, value in enumerate(values):
            added = headers.dead_letter(sent, error, topic=topic, partition=number % 6, offset=number, time=now)
            await producer.send(dead_letter_topic(settings), value, key=key, headers=added, partition=partition)


def requests(count: int, **changed: Any) -> list[bytes]:
    """Values of good requests."""
    return [framed(fields(**changed)) for _ in range(count)]


@contextlib.asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = kafka.producer(settings, idempotent=False)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def redriving(settings: Settings, store: AsyncEngine) -> AsyncIterator[RedriveActivities]:
    """The activity as one process of the notifier has it."""
    async with producing(settings) as producer:
        yield RedriveActivities(settings, store, producer, Wire(CATALOG))


async def ranges(settings: Settings) -> list[Range]:
    return await reading.ranges(settings, [dead_letter_topic(settings)])


async def page(settings: Settings, **changed: Any) -> Page:
    """All dead letters of the one partition that has some."""
    [found] = await ranges(settings)
    given = {"redrive_id": uuid4(), "range": found, "selection": Selection(), "parked": False, "max_redrives": 5, "rate": None}
    return Page.model_validate({**given, **changed})


async def carry_out(activities: RedriveActivities, asked: Page) -> PageDone:
    done: PageDone = await ActivityEnvironment().run(activities.redrive_dead_letters, asked)
    return done
