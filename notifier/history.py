"""The activity that keeps and publishes the history of a request, once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from headrace import tracing
from headrace.store.insert import insert_once
from headrace.store.tables import HISTORY
from headrace.wire import Wire
from notifier.producer import Message, OnceProducer, database_error
from notifier.publish import SOURCE, encoded
from schemas import headers, models, names
from schemas.completion import History, Published, UpdateHistory
from schemas.topics import Topics


class HistoryActivities:
    """The row comes first and knows where its event was acknowledged; a retried activity finds that there and sends nothing."""

    def __init__(self, engine: AsyncEngine, producer: OnceProducer, wire: Wire, topics: Topics) -> None:
        self._engine = engine
        self._producer = producer
        self._wire = wire
        self._topics = topics

    @activity.defn(name=names.UPDATE_HISTORY)
    async def update_generation_history(self, command: UpdateHistory) -> Published:
        """Raises `ApplicationError`."""
        activity.heartbeat()
        try:
            known = await self._insert(command.entry)
        except (SQLAlchemyError, OSError) as error:
            raise database_error(error) from error
        if known is not None:
            return known
        message = await self._message(command)
        return await self._producer.publish(message, lambda place: self._keep(message, place), activity.heartbeat)

    async def _insert(self, entry: History) -> Published | None:
        """Where the entry's event was acknowledged; None for a new entry, and for one whose event was not."""
        async with self._engine.begin() as connection:
            await insert_once(connection, HISTORY, _row(entry))
            row = (await connection.execute(select(HISTORY).where(HISTORY.c.history_id == entry.history_id))).one()
        if row.published_topic is None:
            return None
        return Published(topic=row.published_topic, partition=row.published_partition, offset=row.published_offset)

    async def _keep(self, message: Message, place: Published) -> None:
        values = {f"published_{name}": value for name, value in place.model_dump().items()}
        async with self._engine.begin() as connection:
            await connection.execute(update(HISTORY).where(HISTORY.c.history_id == message.id).values(values))

    async def _message(self, command: UpdateHistory) -> Message:
        entry, topic = command.entry, self._topics.history
        return Message(
            id=entry.history_id,
            event_id=entry.event_id,
            record=models.HISTORY,
            topic=topic,
            key=entry.user_id.encode() if command.key is None else command.key,
            value=await encoded(self._wire, topic, models.HISTORY, entry.model_dump()),
            headers=headers.cloud_event(
                event_id=entry.history_id,
                event_type=models.HISTORY,
                source=SOURCE,
                time=entry.recorded_at,
                subject=str(entry.event_id),
                traceparent=tracing.traceparent() or command.traceparent,
            ),
        )


def _row(entry: History) -> dict[str, Any]:
    row = {
        **entry.model_dump(exclude={"error", "status"}),
        "status": entry.status.value,
        "error_code": entry.error.code if entry.error else None,
        "error_message": entry.error.message if entry.error else None,
    }
    # PostgreSQL keeps no NUL in a text; a prompt may have one.
    return {name: value.replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value for name, value in row.items()}
