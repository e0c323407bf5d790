"""The dead letters: what they hold, and what became of them. Read a fetch at a time, however many there are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from aiokafka import ConsumerRecord
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.reading import records
from headrace.references import References
from headrace.settings import Settings
from headrace.store.tables import REDRIVES
from headrace.wire import Decoded, Wire
from schemas import headers
from schemas.errors import Rejected
from schemas.headers import Buried
from schemas.ids import dead_letter_id
from schemas.redrive import Range, Selection, State

_AT_ONCE = 500
"""Dead letters whose state is asked for in one statement."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of a dead-letter topic."""

    record: ConsumerRecord
    id: UUID
    buried: Buried | None
    """What its headers say; None for a record that is no dead letter of Headrace."""
    decoded: Decoded | None
    """None when its value cannot be read, or lies elsewhere and was not fetched."""
    value: bytes | None
    """Wherever it lay; None also when it was not fetched or is gone."""
    event_id: UUID | None
    """The value's, else that of the header `ce_id`."""
    time: datetime
    """When it was dead-lettered."""

    @property
    def reason(self) -> str | None:
        return self.buried.reason if self.buried else None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a dead letter."""

    state: State
    cause: str | None = None
    redrive_id: UUID | None = None
    settled_at: datetime | None = None
    to_topic: str | None = None
    to_partition: int | None = None
    to_offset: int | None = None


_OPEN = Fate(State.OPEN)


async def dead_letters(
    settings: Settings, wire: Wire, wanted: Sequence[Range], selection: Selection
) -> AsyncGenerator[list[DeadLetter], None]:
    """The selected ones, some hundreds at a time at the most.

    Raises `aiokafka.errors.KafkaError`, and `schemas.errors.Transient` while the schema registry is away.
    """
    chunk: list[DeadLetter] = []
    async with contextlib.aclosing(records(settings, wanted)) as found:
        async for record in found:
            letter = await read_letter(wire, record)
            if is_selected(letter, selection):
                chunk.append(letter)
            if len(chunk) == _AT_ONCE:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


async def read_letter(wire: Wire, record: ConsumerRecord, references: References | None = None) -> DeadLetter:
    """A value that lies elsewhere is fetched with `references` alone: it is large.

    Raises `schemas.errors.Transient` while the schema registry, or S3, is away.
    """
    dead = headers.buried(record.headers)
    decoded: Decoded | None = None
    value: bytes | None = record.value
    try:
        if references is not None:
            value = None  # unless it is found
            value = await references.value(record)
        decoded = await wire.decode(value)
    except Rejected:
        pass
    written = datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)
    return DeadLetter(
        record=record,
        id=dead_letter_id(record.topic, record.partition, record.offset, dead.time if dead else headers.rfc3339(written)),
        buried=dead,
        decoded=decoded,
        value=value,
        event_id=_event_id(decoded, record),
        time=_time(dead.time) if dead else written,
    )


def is_selected(letter: DeadLetter, selection: Selection) -> bool:
    return selection.takes(reason=letter.reason, event_id=letter.event_id, key=letter.record.key, time=letter.time)


async def fates(engine: AsyncEngine, letters: Collection[DeadLetter]) -> dict[UUID, Fate]:
    """Of each of them, by its ID; not for more than some hundreds. Raises as SQLAlchemy and the driver do."""
    table = REDRIVES.c
    wanted = [letter.id for letter in letters]
    async with engine.connect() as connection:
        rows = await connection.execute(
            select(
                table.dead_letter_id,
                table.state,
                table.cause,
                table.redrive_id,
                table.settled_at,
                table.to_topic,
                table.to_partition,
                table.to_offset,
            ).where(table.dead_letter_id.in_(wanted))
        )
        known = {found: Fate(State(state), *others) for found, state, *others in rows}
    return {each: known.get(each, _OPEN) for each in wanted}


def _event_id(decoded: Decoded | None, record: ConsumerRecord) -> UUID | None:
    found = decoded.value.get("event_id") if decoded else None
    if found is None:
        found = headers.ce_id(record.headers)
    try:
        return found if isinstance(found, UUID) or found is None else UUID(str(found))
    except ValueError:
        return None


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
