"""The activity that publishes a completion, once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.exceptions import ApplicationError

from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS
from headrace.wire import Wire
from notifier.producer import Message, OnceProducer, database_error
from schemas import codec, headers, models, names
from schemas.completion import Completion, Published, SendCompletion
from schemas.errors import FailureType, Transient, bounded
from schemas.topics import Topics

SOURCE = "headrace/notifier"


class CompletionActivities:
    """What was acknowledged is in the table `completions`; a retried activity finds it there and sends nothing."""

    def __init__(self, engine: AsyncEngine, producer: OnceProducer, wire: Wire, topics: Topics) -> None:
        self._engine = engine
        self._producer = producer
        self._wire = wire
        self._topics = topics

    @activity.defn(name=names.SEND_COMPLETION)
    async def send_completion_notification(self, command: SendCompletion) -> Published:
        """Raises `ApplicationError`, non-retryable for a completion that is not its record."""
        completion = _validated(command)
        activity.heartbeat()
        try:
            known = await self._published(completion)
        except (SQLAlchemyError, OSError) as error:
            raise database_error(error) from error
        if known is not None:
            return known
        message = await self._message(command, completion)
        return await self._producer.publish(message, lambda place: self._keep(message, place), activity.heartbeat)

    @activity.defn(name=names.NOTIFY_USER)
    async def notify_user(self, command: SendCompletion) -> Published:
        """The same, under the name that the learning path gives it."""
        return await self.send_completion_notification(command)

    async def _published(self, completion: Completion[Any]) -> Published | None:
        query = select(COMPLETIONS).where(COMPLETIONS.c.completion_id == completion.completion_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Published(topic=row.topic, partition=row.partition, offset=row.offset)

    async def _keep(self, message: Message, place: Published) -> None:
        row = {
            "completion_id": message.id,
            "event_id": message.event_id,
            "record": message.record,
            "published_at": datetime.now(UTC),
            **place.model_dump(),
        }
        async with self._engine.begin() as connection:
            await insert_once(connection, COMPLETIONS, row)

    async def _message(self, command: SendCompletion, completion: Completion[Any]) -> Message:
        topic = self._topics.completions(command.domain)
        return Message(
            id=completion.completion_id,
            event_id=completion.event_id,
            record=command.record,
            topic=topic,
            key=command.key,
            value=await encoded(self._wire, topic, command.record, completion.model_dump()),
            headers=headers.cloud_event(
                event_id=completion.completion_id,
                event_type=command.record,
                source=SOURCE,
                time=completion.completed_at,
                subject=str(completion.event_id),
                traceparent=command.traceparent,
                generation=command.generation,
            ),
        )


async def encoded(wire: Wire, topic: str, record: str, value: dict[str, Any]) -> bytes:
    """Raises `ApplicationError`: non-retryable for a value that its schema refuses, retryable while the registry is in the way."""
    try:
        codec.encode_body(wire.catalog.named(record), value)
    except (KeyError, ValueError) as error:
        raise _wrong(f"{record} does not fit its Avro schema: {error}") from error
    try:
        return await wire.encode(topic, record, value)
    except (Transient, ValueError) as error:  # away, or configured to refuse the schema: an operator sets it right, the completion is kept
        raise ApplicationError(str(error), type=FailureType.INTERNAL.value) from error


def _validated(command: SendCompletion) -> Completion[Any]:
    model = models.COMPLETIONS.get(command.record)
    if model is None:
        raise _wrong(f"no completion record is called {command.record!r}: it must be one of {', '.join(sorted(models.COMPLETIONS))}")
    try:
        return model.model_validate(command.completion)
    except ValidationError as error:
        # Without the input, which is somebody's data.
        first = error.errors(include_input=False, include_url=False)[0]
        raise _wrong(f"{command.record}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _wrong(message: str) -> ApplicationError:
    return ApplicationError(bounded(message), type=FailureType.INTERNAL.value, non_retryable=True)
