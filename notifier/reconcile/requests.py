"""Who sent a request, read from Kafka again: for an event whose run Temporal no longer knows."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError
from pydantic import ValidationError

from headrace import kafka
from headrace.references import References
from headrace.settings import Settings
from headrace.wire import Wire
from notifier.reconcile.events import OpenEvent
from schemas import headers
from schemas.errors import Rejected, Transient
from schemas.request import Accepted, OpenRequest

_READ_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sender:
    """What a completion needs of its request."""

    user_id: str
    requested_at: datetime
    key: bytes | None
    traceparent: str | None


class Requests:
    """`async with`; it connects when it is first asked."""

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self._settings = settings
        self._wire = wire
        self._references = References(settings)
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._topics: dict[str, set[TopicPartition]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._references.close()
        if self._consumer is not None:
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(self._consumer.stop(), 5)

    async def sender(self, event: OpenEvent) -> Sender | None:
        """None when Kafka keeps the record no more, or keeps another one at its place.

        Raises `KafkaError` while Kafka does not answer, and `schemas.errors.Transient` while the registry does not.
        """
        try:
            async with self._turn:
                record = await self._record(event)
        except TimeoutError as error:
            raise KafkaTimeoutError(f"{event.topic} is not read within {_READ_SECONDS:g} s") from error
        if record is None:
            return None
        value = await self._value(record)
        if value is None or value.get("event_id") not in (event.event_id, str(event.event_id)):
            return None  # the topic was made anew
        return Sender(
            user_id=str(value.get("user_id", "")),
            requested_at=_moment(value) or event.claimed_at,
            key=record.key,
            traceparent=headers.traceparent(record.headers),
        )

    async def _value(self, record: ConsumerRecord) -> dict[str, Any] | None:
        """None for one that cannot be read. Of a value in S3 that is not to be had now, what the headers say: nobody waits for S3."""
        try:
            found = await self._references.value(record)
        except (Rejected, Transient):
            return {"event_id": headers.ce_id(record.headers)}
        try:
            return (await self._wire.decode(found)).value
        except Rejected:
            return None

    async def _record(self, event: OpenEvent) -> ConsumerRecord | None:
        consumer = await self._started()
        place = TopicPartition(event.topic, event.partition)
        if place not in await self._partitions(event.topic):
            return None  # Kafka would be asked for it again and again
        async with asyncio.timeout(_READ_SECONDS):
            begin = (await consumer.beginning_offsets([place]))[place]
            end = (await consumer.end_offsets([place]))[place]
            if not begin <= event.offset < end:
                return None
            consumer.assign([place])
            consumer.seek(place, event.offset)
            while True:
                for record in (await consumer.getmany(place, timeout_ms=500, max_records=1)).get(place, []):
                    return record if record.offset == event.offset else None  # compacted away

    async def _partitions(self, topic: str) -> set[TopicPartition]:
        if topic not in self._topics:
            try:
                self._topics[topic] = set(await kafka.partitions(self._settings, [topic]))
            except UnknownTopicOrPartitionError:
                self._topics[topic] = set()
        return self._topics[topic]

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = kafka.consumer(self._settings, request_timeout_ms=10_000, isolation_level="read_committed")
            try:
                await consumer.start()
            except BaseException:
                with contextlib.suppress(KafkaError):
                    await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer


def of_run(accepted: Accepted[OpenRequest]) -> Sender:
    """The same from a run's argument."""
    origin = accepted.origin
    return Sender(
        user_id=accepted.request.user_id,
        requested_at=accepted.request.requested_at,
        key=origin.key if origin else None,
        traceparent=origin.traceparent if origin else None,
    )


def _moment(value: dict[str, Any]) -> datetime | None:
    try:
        return OpenRequest.model_validate({"event_id": UUID(int=1), "user_id": "u", "requested_at": value.get("requested_at")}).requested_at
    except ValidationError:
        return None


def unknown(event: OpenEvent) -> Sender:
    """When neither Temporal nor Kafka has it: what the ledger alone can say."""
    return Sender(user_id="", requested_at=event.claimed_at.astimezone(UTC), key=None, traceparent=None)
