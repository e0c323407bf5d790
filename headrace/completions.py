"""The Python consumer of completions: each one once, although Kafka may hold it twice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from headrace import kafka
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.errors import Rejected
from schemas.headers import Headers
from schemas.topics import Topics

log = structlog.get_logger(__name__)

_POLL_MS = 500
_STUCK_SECONDS = 30.0
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Received:
    """A completion and where it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    record: str
    """Full name of the completion record."""
    completion: dict[str, Any]
    """The record's fields; UUIDs and timestamps are Python's."""


async def completions(
    settings: Settings, wire: Wire, domains: Sequence[str], *, event_id: UUID | None = None, follow: bool = False
) -> AsyncGenerator[Received, None]:
    """Every completion of the domains from the oldest one on, or those of one event.

    It ends with the last one that was there at the start, or never with `follow`, which sees the partitions that were there at the start.
    A completion that comes again (the same `completion_id`, among the last 100,000) is left out; a record that cannot be read is too, with
    a warning. No consumer group is joined and nothing is committed. Wrap it in `contextlib.aclosing` when you may leave it early.

    Raises `aiokafka.errors.KafkaError` when Kafka does not answer or a topic is missing, and `schemas.errors.Transient` while the schema
    registry is away.
    """
    topics = [Topics(settings.topic_prefix).completions(domain) for domain in domains]
    seen = Seen()
    async with _records(settings, topics, follow=follow) as records:
        async for record in records:
            received = await read(wire, record)
            if received is None or (event_id is not None and received.completion["event_id"] != event_id):
                continue
            if seen.first_time(received.completion["completion_id"]):
                yield received


class Seen:
    """The newest 100,000 IDs, so that one that follows for months does not grow."""

    def __init__(self) -> None:
        self._ids: OrderedDict[UUID, None] = OrderedDict()

    def first_time(self, id_: UUID) -> bool:
        if id_ in self._ids:
            self._ids.move_to_end(id_)
            return False
        self._ids[id_] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return True


@contextlib.asynccontextmanager
async def _records(settings: Settings, topics: list[str], *, follow: bool) -> AsyncGenerator[AsyncGenerator[ConsumerRecord, None], None]:
    partitions = await kafka.partitions(settings, topics)
    consumer = kafka.consumer(settings, request_timeout_ms=20_000)
    try:
        await consumer.start()
        async with contextlib.aclosing(_everything(consumer, partitions) if follow else _until_now(consumer, partitions)) as records:
            yield records
    finally:
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(consumer.stop(), 5)


async def _everything(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> AsyncGenerator[ConsumerRecord, None]:
    consumer.assign(partitions)
    while True:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                yield record


async def _until_now(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> AsyncGenerator[ConsumerRecord, None]:
    """Ends at the offsets at which the partitions end now. Raises `KafkaTimeoutError` when Kafka goes away meanwhile."""
    begin = await consumer.beginning_offsets(partitions)
    ends = {each: end for each, end in (await consumer.end_offsets(partitions)).items() if begin[each] < end}
    if ends:
        consumer.assign(list(ends))
    moved = time.monotonic()
    while ends:
        batch = await consumer.getmany(timeout_ms=_POLL_MS)
        for each, records in batch.items():
            for record in records:
                if each in ends and record.offset < ends[each]:
                    yield record
        if batch:
            moved = time.monotonic()
        elif time.monotonic() - moved > _STUCK_SECONDS:
            raise KafkaTimeoutError(f"no record for {_STUCK_SECONDS:g} s, and {len(ends)} partitions are not read to their end")
        # The position, not the last record's offset: what ends a partition may be a transaction's marker.
        ends = {each: end for each, end in ends.items() if await consumer.position(each) < end}


async def read(wire: Wire, record: ConsumerRecord) -> Received | None:
    """The completion in a record; None, with a warning, for what is none. Raises `schemas.errors.Transient`."""
    try:
        decoded = await wire.decode(record.value)
        _ = decoded.value["completion_id"], decoded.value["event_id"]
    except (Rejected, KeyError) as error:
        log.warning("completion_unreadable", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error))
        return None
    return Received(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        headers=list(record.headers),
        record=decoded.record,
        completion=decoded.value,
    )
