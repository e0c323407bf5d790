"""The events that are open, in SQL: taken from the ledger page by page, looked at when they are due, gone when they have their completion.

The ledger is the ingress's hot path and gets no index and no write for this: it is read behind its end, by an index that it has. An event
that completes before the reconciler comes by never has a row here, so what a common event costs is its share of two reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row, and_, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace.store.insert import insert_all_once, upsert
from headrace.store.tables import COMPLETIONS, LEDGER, OPEN_EVENTS, RECONCILER
from schemas.command import COMMAND
from schemas.ids import completion_id, workflow_id

T = TypeVar("T")

SETTLE = timedelta(seconds=60)
"""A ledger row may appear up to so long after the moment that it carries: a locked database, another machine's clock."""

_LEDGER, _CLOSED_RUNS = "ledger", "closed_runs"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_ACCEPTED = ("started", "pending")
_CHUNK = 500
"""IDs in one statement."""

Key = tuple[UUID, int]
"""An event and its generation. A row that is of the next one by now is left alone by who has looked at the one before."""


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """An accepted event, or a later generation of one, without a completion."""

    event_id: UUID
    record: str
    topic: str
    partition: int
    offset: int
    workflow_id: str
    run_id: str | None
    claimed_at: datetime
    missing_since: datetime | None
    generation: int

    @property
    def key(self) -> Key:
        return self.event_id, self.generation


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the ledger, in the order of claims."""

    claimed_at: datetime
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Page:
    """What one reading of the ledger came to; `cursor` is None at its end."""

    read: int
    noted: int
    cursor: Cursor | None


class OpenEvents:
    """Every method raises `SQLAlchemyError` or `OSError` while the database is away. Any two processes may call any of them at once."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def reached(self) -> Cursor:
        """Up to where the ledger is done with."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(RECONCILER).where(RECONCILER.c.name == _LEDGER))).one_or_none()
        return Cursor(_BEGINNING, UUID(int=0)) if row is None else Cursor(row.reached_at, row.event_id)

    async def note(self, after: Cursor, until: datetime, now: datetime, at_most: int = 1000) -> Page:
        """Takes the next rows that were claimed up to a moment: those without a published completion are open.

        What may still change its place in the order (`SETTLE`) is read again the next time.
        """
        claimed = LEDGER.c.claimed_at
        behind = and_(claimed >= after.claimed_at, or_(claimed > after.claimed_at, LEDGER.c.event_id > after.event_id))
        query = select(LEDGER).where(behind, claimed <= until).order_by(claimed, LEDGER.c.event_id).limit(at_most)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
            wanted = [row for row in rows if row.record != COMMAND and row.disposition in _ACCEPTED]
            done = await _published(connection, [(row.event_id, 1) for row in wanted])
        fresh = [_open_row(row, now) for row in wanted if (row.event_id, 1) not in done]
        settled = [row for row in rows if row.claimed_at <= now - SETTLE]
        async with self._engine.begin() as connection:
            if fresh:
                await insert_all_once(connection, OPEN_EVENTS, fresh)
            if settled:
                place = {"name": _LEDGER, "reached_at": settled[-1].claimed_at, "event_id": settled[-1].event_id}
                await upsert(connection, RECONCILER, place)
        last = Cursor(rows[-1].claimed_at, rows[-1].event_id) if len(rows) == at_most else None
        return Page(len(rows), len(fresh), last)

    async def due(self, now: datetime, at_most: int = 500) -> list[OpenEvent]:
        query = select(OPEN_EVENTS).where(OPEN_EVENTS.c.next_check <= now).order_by(OPEN_EVENTS.c.next_check).limit(at_most)
        async with self._engine.connect() as connection:
            return [_event(row) for row in (await connection.execute(query)).all()]

    async def published(self, keys: Collection[Key]) -> set[Key]:
        """Those whose completion Kafka has."""
        async with self._engine.connect() as connection:
            return await _published(connection, keys)

    async def decided(self, keys: Collection[Key]) -> set[Key]:
        """Those whose completion is decided, published or not."""
        async with self._engine.connect() as connection:
            return await _published(connection, keys, also_decided=True)

    async def disposition(self, event_id: UUID) -> str | None:
        """The ledger's, None when it was purged."""
        async with self._engine.connect() as connection:
            query = select(LEDGER.c.disposition).where(LEDGER.c.event_id == event_id)
            return (await connection.execute(query)).scalar_one_or_none()

    async def remove(self, keys: Iterable[Key]) -> None:
        async with self._engine.begin() as connection:
            for chunk in _chunks(list(keys)):
                await connection.execute(delete(OPEN_EVENTS).where(tuple_(OPEN_EVENTS.c.event_id, OPEN_EVENTS.c.generation).in_(chunk)))

    async def postpone(self, checks: dict[Key, datetime]) -> None:
        """Their runs are there: looked at again at these moments."""
        await self._update([{"next_check": at, "missing_since": None, **_bound(key)} for key, at in checks.items()])

    async def missing(self, since: dict[Key, datetime], again: datetime) -> None:
        """Their runs are not there."""
        await self._update([{"next_check": again, "missing_since": at, **_bound(key)} for key, at in since.items()])

    async def _update(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        change = update(OPEN_EVENTS).where(OPEN_EVENTS.c.event_id == bindparam("event"), OPEN_EVENTS.c.generation == bindparam("of"))
        async with self._engine.begin() as connection:
            await connection.execute(change, rows)

    async def bring_forward(self, workflow_ids: Collection[str], now: datetime) -> None:
        """They are due now."""
        event_ids = [found for each in workflow_ids if (found := _event_id(each)) is not None]
        async with self._engine.begin() as connection:
            for chunk in _chunks(event_ids):
                later = and_(OPEN_EVENTS.c.event_id.in_(chunk), OPEN_EVENTS.c.next_check > now)
                await connection.execute(update(OPEN_EVENTS).where(later).values(next_check=now))

    async def bring_missing_forward(self, now: datetime) -> None:
        """Those whose runs Temporal did not know are due now."""
        async with self._engine.begin() as connection:
            await connection.execute(update(OPEN_EVENTS).where(OPEN_EVENTS.c.missing_since.is_not(None)).values(next_check=now))

    async def closed_runs_seen(self) -> datetime:
        """Up to which close time the runs that were ended from outside are known."""
        async with self._engine.connect() as connection:
            query = select(RECONCILER.c.reached_at).where(RECONCILER.c.name == _CLOSED_RUNS)
            return (await connection.execute(query)).scalar_one_or_none() or _BEGINNING

    async def see_closed_runs(self, until: datetime) -> None:
        async with self._engine.begin() as connection:
            await upsert(connection, RECONCILER, {"name": _CLOSED_RUNS, "reached_at": until, "event_id": None})


async def _published(connection: AsyncConnection, keys: Collection[Key], *, also_decided: bool = False) -> set[Key]:
    found: set[Key] = set()
    by_completion = {completion_id(*key): key for key in keys}
    for chunk in _chunks(list(by_completion)):
        query = select(COMPLETIONS.c.completion_id).where(COMPLETIONS.c.completion_id.in_(chunk))
        if not also_decided:
            query = query.where(COMPLETIONS.c.published_at.is_not(None))
        found.update(by_completion[each] for each in (await connection.execute(query)).scalars())
    return found


def _bound(key: Key) -> dict[str, Any]:
    return {"event": key[0], "of": key[1]}


def _chunks(ids: list[T]) -> Iterable[list[T]]:
    return (ids[begin : begin + _CHUNK] for begin in range(0, len(ids), _CHUNK))


def _open_row(row: Row[Any], now: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("event_id", "record", "topic", "partition", "offset", "run_id", "claimed_at")},
        "workflow_id": row.workflow_id or workflow_id(row.record.split(".")[-2], row.event_id),  # none while it is pending
        "next_check": now,
        "missing_since": None,
        "generation": 1,
    }


def _event(row: Row[Any]) -> OpenEvent:
    return OpenEvent(**{name: getattr(row, name) for name in OpenEvent.__slots__})


def _event_id(workflow: str) -> UUID | None:
    """`<domain>-<event_id>`; None for a workflow that is somebody else's."""
    try:
        return UUID(workflow[-36:])
    except ValueError:
        return None
