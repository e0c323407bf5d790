"""An idempotent `acks=all` producer that outlives the records a broker refuses.

One refused record (too large, bad timestamp) spends a sequence number that aiokafka never gives back: every later record of that partition
is refused as out of order, for as long as that producer lives. So it is replaced by a new one on every error that is not passing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    ProducerClosed,
    RecordListTooLargeError,
)

from headrace import kafka
from headrace.settings import Settings
from schemas.completion import Published
from schemas.headers import Headers

log = structlog.get_logger(__name__)

_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, InvalidTopicError, PolicyViolationError)


class RecordRefused(KafkaError):  # type: ignore[misc]  # noqa: N818 - aiokafka is untyped; named for what happened
    """The broker will never take this record as it is."""


class RecordTooLarge(RecordRefused):
    """By the client's limit, the broker's or the topic's."""


class IdempotentProducer:
    """`async with`; made inside the running event loop."""

    def __init__(self, settings: Settings, *, stop_seconds: float = 5.0, make: Callable[..., AIOKafkaProducer] = kafka.producer) -> None:
        self._settings = settings
        self._make = make
        self._stop_seconds = stop_seconds
        self._current: AIOKafkaProducer | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Raises aiokafka's `KafkaConnectionError` when no broker answers."""
        self._current = await self._started(idempotent=True)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Sends what is still queued, for at most `stop_seconds`: without a broker that would never end."""
        current, self._current = self._current, None
        if current is not None:
            self._retire(current)
        if self._retired:
            _, late = await asyncio.wait(set(self._retired), timeout=self._stop_seconds)
            for task in late:
                task.cancel()
            if late:
                log.warning("producer_stopped_with_records_queued", address=self._settings.kafka_bootstrap_servers)
                await asyncio.wait(late, timeout=1)

    async def send(self, topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> Published:
        """Where the record was acknowledged.

        It waits for as long as the broker is away. A caller that stops waiting has not called the record back: it is delivered once the
        broker is there again.

        Raises `RecordRefused` for a record that can never be sent, any other `KafkaError` for one that was not delivered or of which nobody
        knows.
        """
        producer = self._current
        if producer is None:
            raise ProducerClosed("the producer is stopped")
        try:
            queued = await producer.send(topic, value=value, key=key, headers=headers)
        except MessageSizeTooLargeError as error:  # by the client, before the record got a sequence number
            raise _refusal(topic, len(value), error) from error
        try:
            acknowledged = await queued
        except KafkaError as error:
            if error.retriable:
                raise
            log.warning("producer_replaced", topic=topic, error=repr(error))
            await self._replace(producer)
            if not isinstance(error, _REFUSALS):
                raise
            return await self._alone(topic, key=key, value=value, headers=headers)
        return Published(topic=topic, partition=acknowledged.partition, offset=acknowledged.offset)

    async def _alone(self, topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> Published:
        """Sends a record once more in a batch of its own: the refusal may have been for another record of its batch."""
        producer: AIOKafkaProducer | None = None
        try:
            producer = await self._started(idempotent=False)
            acknowledged = await producer.send_and_wait(topic, value=value, key=key, headers=headers)
        except _REFUSALS as error:
            raise _refusal(topic, len(value), error) from error
        finally:
            if producer is not None:
                self._retire(producer)
        return Published(topic=topic, partition=acknowledged.partition, offset=acknowledged.offset)

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        """Puts a new producer in the place of `broken`, unless somebody did already."""
        async with self._lock:
            if self._current is not broken:
                return
            try:
                self._current = await self._started(idempotent=True)
            except KafkaError as error:
                # The broken one stays, and the next error of it comes here again.
                log.warning("producer_not_replaced", address=self._settings.kafka_bootstrap_servers, error=repr(error))
                return
        # What other partitions have queued in it is still delivered.
        self._retire(broken)

    async def _started(self, *, idempotent: bool) -> AIOKafkaProducer:
        producer = self._make(self._settings, idempotent=idempotent)
        try:
            await producer.start()
        except BaseException:
            with contextlib.suppress(KafkaError):
                await producer.stop()
            raise
        return producer

    def _retire(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stop(producer))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        await producer.stop()
    except KafkaError as error:
        log.warning("producer_not_stopped_cleanly", error=repr(error))
    finally:
        # Both are skipped by a stop() that was cut off, and would go on for ever.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer._sender.close(), 1)  # noqa: SLF001 - aiokafka has no other way
        await producer.client.close()


def _refusal(topic: str, size: int, error: KafkaError) -> RecordRefused:
    kind = RecordTooLarge if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError) else RecordRefused
    return kind(f"Kafka refuses a record of {size} bytes for {topic}: {type(error).__name__}")
