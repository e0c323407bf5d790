"""Who decides how an event ended: the first to write its row, before anything is sent.

A run's own completion and one that the reconciler writes on its behalf have the same ID and may be on their way at the same time. Two
records of one ID that say different things would be worse than none, so what is sent is always what the row holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS
from notifier.producer import Message
from schemas.completion import Published, Status

_SENT: dict[str, Any] = {"key": None, "value": None, "headers": None}


@dataclass(frozen=True, slots=True)
class Decided:
    """An event's end: published at `place`, or still to be sent as `message`."""

    status: Status | None
    """None for one that was published before statuses were kept."""
    place: Published | None
    message: Message | None


class Decisions:
    """The rows of `completions`. Every method raises `SQLAlchemyError` or `OSError` while the database is away."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def decide(self, message: Message, status: Status) -> Decided:
        """Decides for this message, unless its ID is decided: then that is the answer."""
        row = {
            "completion_id": message.id,
            "event_id": message.event_id,
            "record": message.record,
            "status": status.value,
            "topic": message.topic,
            "decided_at": datetime.now(UTC),
            "key": message.key,
            "value": message.value,
            "headers": _headers_as_text(message),
        }
        known = select(COMPLETIONS).where(COMPLETIONS.c.completion_id == message.id)
        while True:
            async with self._engine.begin() as connection:
                if await insert_once(connection, COMPLETIONS, row):
                    return Decided(status, None, message)
                found = (await connection.execute(known)).one_or_none()
            if found is not None:  # else it was withdrawn in between
                return _decided(found)

    async def acknowledged(self, message: Message, place: Published) -> None:
        """Of a message that Kafka has acknowledged twice the first place counts."""
        row = {**place.model_dump(), "published_at": datetime.now(UTC)}
        own = COMPLETIONS.c.completion_id == message.id
        async with self._engine.begin() as connection:
            written = await connection.execute(update(COMPLETIONS).where(own, COMPLETIONS.c.published_at.is_(None)).values(**row, **_SENT))
            if written.rowcount == 0:
                # Its row is acknowledged, or somebody has removed it: then there is one again.
                fresh = {"completion_id": message.id, "event_id": message.event_id, "record": message.record}
                await insert_once(connection, COMPLETIONS, {**fresh, **row, "decided_at": row["published_at"]})

    async def withdraw(self, message: Message) -> None:
        """Decides no more for a message that Kafka will never take: another one has to tell how the event ended."""
        own = COMPLETIONS.c.completion_id == message.id
        async with self._engine.begin() as connection:
            await connection.execute(
                delete(COMPLETIONS).where(own, COMPLETIONS.c.published_at.is_(None), COMPLETIONS.c.value == message.value)
            )

    async def undelivered(self, before: datetime, at_most: int) -> list[Message]:
        """What was decided before a moment and has no acknowledgement written down, the oldest first."""
        left = (
            select(COMPLETIONS)
            .where(COMPLETIONS.c.published_at.is_(None), COMPLETIONS.c.decided_at < before)
            .order_by(COMPLETIONS.c.decided_at)
            .limit(at_most)
        )
        async with self._engine.connect() as connection:
            return [_message(row) for row in (await connection.execute(left)).all()]


def _decided(row: Any) -> Decided:
    status = None if row.status is None else Status(row.status)
    if row.published_at is None:
        return Decided(status, None, _message(row))
    return Decided(status, Published(topic=row.topic, partition=row.partition, offset=row.offset), None)


def _message(row: Any) -> Message:
    headers = [(name, None if value is None else value.encode()) for name, value in json.loads(row.headers)]
    return Message(
        id=row.completion_id,
        event_id=row.event_id,
        record=row.record,
        topic=row.topic,
        key=row.key,
        value=row.value,
        headers=headers,
    )


def _headers_as_text(message: Message) -> str:
    """They are our own, and text."""
    return json.dumps([(name, None if value is None else value.decode()) for name, value in message.headers])
