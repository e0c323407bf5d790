"""The rows of the dead letters that a redrive has in its hands.

A row is written before its record is sent, and settled after Kafka has acknowledged it. One that is still `sending` when somebody comes
to it again is doubtful: its record may be in the topic or not, and the topic is read to see.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace.store.tables import REDRIVES
from schemas.completion import Published
from schemas.redrive import State

_GIVEN_UP = timedelta(minutes=2)
"""After so long a redrive that was about to send is dead, and another may take its dead letters over: longer than any attempt to send."""

_ROW = REDRIVES.c


@dataclass(frozen=True, slots=True)
class Claim:
    """A dead letter that is to be sent, or parked."""

    dead_letter_id: UUID
    topic: str
    partition: int
    offset: int
    event_id: UUID | None
    reason: str
    redrives: int
    to_topic: str
    to_partition: int
    to_offset_at_least: int
    cause: str | None = None
    """Why it is parked; None for one that is to be sent."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a redrive has of the dead letters that it has claimed; those that are another's are in none of these."""

    fresh: frozenset[UUID]
    """To be sent."""
    doubtful: dict[UUID, int]
    """May have been sent, at this offset or a later one."""
    redriven: frozenset[UUID]
    parked: frozenset[UUID]


class RedriveRows:
    """Each call is one transaction. Raises as SQLAlchemy and the driver do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, redrive_id: UUID, claims: Sequence[Claim]) -> Held:
        """Claims dead letters that are open, and gives what this redrive has of them. Not for more than some hundreds."""
        now = datetime.now(UTC)
        rows = [{**_fields(each), "redrive_id": redrive_id, "claimed_at": now} for each in claims]
        wanted = [each.dead_letter_id for each in claims]
        async with self._engine.begin() as connection:
            # Writes first: on SQLite a transaction that began by reading fails when another process has written meanwhile.
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(REDRIVES).values(rows).on_conflict_do_nothing().returning(_ROW.dead_letter_id)
            fresh = set((await connection.execute(insert)).scalars()) - {each.dead_letter_id for each in claims if each.cause}
            await _take_over(connection, redrive_id, wanted, now)
            return await _held(connection, redrive_id, wanted, fresh)

    async def unpark(self, redrive_id: UUID, claims: Sequence[Claim]) -> Held:
        """The same for dead letters that are parked."""
        now = datetime.now(UTC)
        wanted = [each.dead_letter_id for each in claims]
        fresh: set[UUID] = set()
        async with self._engine.begin() as connection:
            for least in {(each.to_partition, each.to_offset_at_least) for each in claims}:
                these = [each.dead_letter_id for each in claims if (each.to_partition, each.to_offset_at_least) == least]
                unparked = await connection.execute(
                    update(REDRIVES)
                    .where(_ROW.dead_letter_id.in_(these), _ROW.state == State.PARKED, _ROW.redrive_id != redrive_id)
                    .values(
                        state=State.SENDING,
                        cause=None,
                        redrive_id=redrive_id,
                        redrives=_ROW.redrives + 1,
                        claimed_at=now,
                        settled_at=None,
                        to_partition=least[0],
                        to_offset_at_least=least[1],
                    )
                    .returning(_ROW.dead_letter_id)
                )
                fresh.update(unparked.scalars())
            await _take_over(connection, redrive_id, wanted, now)
            return await _held(connection, redrive_id, wanted, fresh)

    async def settle(self, redrive_id: UUID, sent: dict[UUID, Published], refused: dict[UUID, str]) -> None:
        """Writes down where the records are that were sent, and parks those that Kafka refuses."""
        now = datetime.now(UTC)
        mine = (_ROW.dead_letter_id == bindparam("id"), _ROW.redrive_id == redrive_id, _ROW.state == State.SENDING)
        async with self._engine.begin() as connection:
            if sent:
                done = update(REDRIVES).where(*mine).values(state=State.REDRIVEN, settled_at=now)
                done = done.values(to_partition=bindparam("new_partition"), to_offset=bindparam("new_offset"))
                places = [{"id": each, "new_partition": at.partition, "new_offset": at.offset} for each, at in sent.items()]
                await connection.execute(done, places)
            if refused:
                parked = update(REDRIVES).where(*mine).values(state=State.PARKED, settled_at=now, redrives=_ROW.redrives - 1)
                await connection.execute(parked.values(cause=bindparam("why")), [{"id": each, "why": why} for each, why in refused.items()])

    async def not_before(self, redrive_id: UUID, doubtful: dict[UUID, int]) -> None:
        """Writes down up to which offset the topic was read without finding them."""
        if not doubtful:
            return
        mine = (_ROW.dead_letter_id == bindparam("id"), _ROW.redrive_id == redrive_id, _ROW.state == State.SENDING)
        async with self._engine.begin() as connection:
            await connection.execute(
                update(REDRIVES).where(*mine).values(to_offset_at_least=bindparam("least")),
                [{"id": each, "least": least} for each, least in doubtful.items()],
            )


def _fields(claim: Claim) -> dict[str, Any]:
    fields = {name: getattr(claim, name) for name in Claim.__dataclass_fields__}
    state = State.SENDING if claim.cause is None else State.PARKED
    return {**fields, "state": state, "redrives": claim.redrives + (claim.cause is None)}


async def _take_over(connection: AsyncConnection, redrive_id: UUID, wanted: Collection[UUID], now: datetime) -> None:
    """Makes those doubtful and ours that a redrive has left behind which ended in the middle of sending."""
    left_behind = (_ROW.state == State.SENDING, _ROW.redrive_id != redrive_id, _ROW.claimed_at < now - _GIVEN_UP)
    await connection.execute(
        update(REDRIVES).where(_ROW.dead_letter_id.in_(wanted), *left_behind).values(redrive_id=redrive_id, claimed_at=now)
    )


async def _held(connection: AsyncConnection, redrive_id: UUID, wanted: Collection[UUID], fresh: set[UUID]) -> Held:
    found = (
        await connection.execute(
            select(_ROW.dead_letter_id, _ROW.state, _ROW.to_offset_at_least).where(
                _ROW.dead_letter_id.in_(wanted), _ROW.redrive_id == redrive_id
            )
        )
    ).all()
    return Held(
        fresh=frozenset(fresh),
        doubtful={
            row.dead_letter_id: row.to_offset_at_least for row in found if row.state == State.SENDING and row.dead_letter_id not in fresh
        },
        redriven=frozenset(row.dead_letter_id for row in found if row.state == State.REDRIVEN),
        parked=frozenset(row.dead_letter_id for row in found if row.state == State.PARKED),
    )
