"""Publishes each ID once, however often and however concurrently its activity is tried.

An idempotent send cannot be called back: after a time-out it is still queued, and is delivered when the broker is there again. So what
is on its way is kept by ID, and the next attempt in this process waits for the same send instead of adding a second one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import SQLAlchemyError
from temporalio.exceptions import ApplicationError

from headrace.idempotent import RecordRefused, RecordTooLarge
from headrace.store.away import why
from schemas.completion import Published
from schemas.errors import FailureType, bounded
from schemas.headers import Headers

log = structlog.get_logger(__name__)

PUBLISHED = Counter("headrace_notifier_published_total", "Records that Kafka acknowledged.", ["record"])
REFUSED = Counter("headrace_notifier_refused_total", "Records that Kafka will never take.", ["record"])
PUBLISH_SECONDS = Histogram("headrace_notifier_publish_seconds", "From the first attempt to the acknowledgement.", ["record"])
ON_THEIR_WAY = Histogram(
    "headrace_notifier_records_on_their_way", "Records queued or in flight, as each one is added.", buckets=(1, 10, 100, 1000)
)

_BEAT_SECONDS = 1.0
_MAX_UNRECORDED = 10_000


class Producer(Protocol):
    """`headrace.idempotent.IdempotentProducer`."""

    async def send(self, topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> Published: ...


@dataclass(frozen=True, slots=True)
class Message:
    """One record, ready to be sent."""

    id: UUID
    """Its completion or history ID."""
    event_id: UUID
    record: str
    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


Keep = Callable[[Published], Awaitable[None]]
"""Writes down where the record was acknowledged."""


class OnceProducer:
    """Shared by the activities of one process. `seconds` must be less than their start-to-close time-out, which is 15."""

    def __init__(self, producer: Producer, *, seconds: float = 12.0) -> None:
        self._producer = producer
        self._seconds = seconds
        self._tasks: dict[UUID, asyncio.Task[Published]] = {}
        self._unrecorded: dict[UUID, Published] = {}

    async def publish(self, message: Message, keep: Keep, beat: Callable[[], None]) -> Published:
        """Sends the message, or joins the send of the same ID, and returns once it is acknowledged and written down.

        Calls `beat` while it waits. Raises `ApplicationError`: non-retryable for a record that Kafka will never take. A wait that is
        cancelled or too long does not end the send.
        """
        task = self._tasks.get(message.id)
        if task is None:
            task = asyncio.create_task(self._publish(message, keep))
            self._tasks[message.id] = task
            task.add_done_callback(lambda done: self._forget(message.id, done))
        deadline = time.monotonic() + self._seconds
        while (left := deadline - time.monotonic()) > 0:
            done, _ = await asyncio.wait({task}, timeout=min(_BEAT_SECONDS, left))
            if done:
                return _result(message, task)
            beat()
        raise ApplicationError(
            f"Kafka has not acknowledged {message.record} for {message.topic} within {self._seconds:g} s; it stays queued, and the next"
            " attempt waits for the same send",
            type=FailureType.TIMED_OUT.value,
        )

    async def close(self, seconds: float = 3.0) -> None:
        """Waits a moment for what is on its way and leaves the rest: its activity is tried again elsewhere, and consumers drop repeats."""
        tasks = set(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("sends_left_behind", count=len(late))
            await asyncio.wait(late, timeout=1)

    async def _publish(self, message: Message, keep: Keep) -> Published:
        place = self._unrecorded.get(message.id)
        if place is None:
            ON_THEIR_WAY.observe(len(self._tasks))
            started = time.monotonic()
            place = await self._producer.send(message.topic, key=message.key, value=message.value, headers=message.headers)
            PUBLISH_SECONDS.labels(message.record).observe(time.monotonic() - started)
            PUBLISHED.labels(message.record).inc()
            log.info(
                "record_published",
                event_id=str(message.event_id),
                record=message.record,
                topic=place.topic,
                partition=place.partition,
                offset=place.offset,
            )
            # Until it is written down, so that an attempt after a failed write only writes. Bounded: that attempt may be another process's.
            self._unrecorded[message.id] = place
            if len(self._unrecorded) > _MAX_UNRECORDED:
                self._unrecorded.pop(next(iter(self._unrecorded)))
        await keep(place)
        self._unrecorded.pop(message.id, None)
        return place

    def _forget(self, id_: UUID, task: asyncio.Task[Published]) -> None:
        del self._tasks[id_]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever waits gets it as well; nobody may be waiting any more.
            log.warning("publish_failed", id=str(id_), error=why(error))


def _result(message: Message, task: asyncio.Task[Published]) -> Published:
    """The task's result, its errors in the words of Temporal."""
    try:
        return task.result()
    except RecordRefused as error:
        REFUSED.labels(message.record).inc()
        if isinstance(error, RecordTooLarge):
            raise ApplicationError(
                f"{error.args[0]}: let the result name an object in S3 instead", type=FailureType.RESULT_TOO_LARGE.value, non_retryable=True
            ) from error
        raise ApplicationError(str(error), type=FailureType.INTERNAL.value, non_retryable=True) from error
    except KafkaError as error:
        raise ApplicationError(
            f"Kafka has not taken {message.record} for {message.topic}: {bounded(str(error), 300)}", type=FailureType.INTERNAL.value
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise database_error(error) from error
    except asyncio.CancelledError:
        raise ApplicationError("the notifier is stopping", type=FailureType.INTERNAL.value) from None


def database_error(error: SQLAlchemyError | OSError) -> ApplicationError:
    """A retryable error without the statement and its values."""
    return ApplicationError(f"the database does not answer: {why(error)}", type=FailureType.INTERNAL.value)
