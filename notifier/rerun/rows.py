"""The rows of later generations: which redrive starts which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS, OPEN_EVENTS, RERUNS
from schemas.ids import completion_id
from schemas.request import Origin

_GIVEN_UP = timedelta(minutes=2)
"""After so long a rerun that has not started what it claimed is dead."""

_ROW = RERUNS.c


@dataclass(frozen=True, slots=True)
class Generation:
    """A run that is to be started."""

    event_id: UUID
    generation: int
    workflow_id: str
    failed_run_id: str
    record: str
    """The request's."""
    origin: Origin


class RerunRows:
    """Each call is one transaction. Raises as SQLAlchemy and the driver do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def is_told(self, event_id: UUID, generation: int) -> bool:
        """Whether the generation's completion is published."""
        own = COMPLETIONS.c.completion_id == completion_id(event_id, generation)
        query = select(COMPLETIONS.c.completion_id).where(own, COMPLETIONS.c.published_at.is_not(None))
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).one_or_none() is not None

    async def claim(self, rerun_id: UUID, wanted: Generation) -> bool:
        """Whether this rerun is to start it; the key lets only one. With the claim it is an open event, which the reconciler watches."""
        now = datetime.now(UTC)
        row = {name: getattr(wanted, name) for name in ("event_id", "generation", "workflow_id", "failed_run_id")}
        mine = (_ROW.event_id == wanted.event_id, _ROW.generation == wanted.generation)
        async with self._engine.begin() as connection:
            await insert_once(connection, RERUNS, {**row, "rerun_id": rerun_id, "claimed_at": now})
            await connection.execute(
                update(RERUNS)
                .where(*mine, _ROW.run_id.is_(None), _ROW.rerun_id != rerun_id, _ROW.claimed_at < now - _GIVEN_UP)
                .values(rerun_id=rerun_id, claimed_at=now)
            )
            owner = (await connection.execute(select(_ROW.rerun_id).where(*mine))).scalar_one()
            if owner == rerun_id:
                await _open(connection, wanted, now)
        return bool(owner == rerun_id)

    async def has_claimed(self, rerun_id: UUID, failed_run_id: str) -> bool:
        """Whether this rerun claimed the generation after a failed run before: an attempt of it that did not hear of its end."""
        query = select(_ROW.generation).where(_ROW.rerun_id == rerun_id, _ROW.failed_run_id == failed_run_id)
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).first() is not None

    async def settle(self, failed_run_id: str, run_id: str) -> None:
        """Writes down which run the generation after a failed one is."""
        started = update(RERUNS).where(_ROW.failed_run_id == failed_run_id, _ROW.run_id.is_(None)).values(run_id=run_id)
        async with self._engine.begin() as connection:
            for row in (await connection.execute(started.returning(_ROW.event_id, _ROW.generation))).all():
                mine = (OPEN_EVENTS.c.event_id == row.event_id, OPEN_EVENTS.c.generation == row.generation)
                await connection.execute(update(OPEN_EVENTS).where(*mine).values(run_id=run_id))


async def _open(connection: AsyncConnection, wanted: Generation, now: datetime) -> None:
    """Also where the row of the generation before is not gone yet: that one is told."""
    row = {
        **{name: getattr(wanted, name) for name in ("record", "workflow_id", "generation")},
        **wanted.origin.model_dump(include={"topic", "partition", "offset"}),
        "run_id": None,
        "claimed_at": now,
        "next_check": now,
        "missing_since": None,
    }
    await insert_once(connection, OPEN_EVENTS, {"event_id": wanted.event_id, **row})
    before = (OPEN_EVENTS.c.event_id == wanted.event_id, OPEN_EVENTS.c.generation < wanted.generation)
    await connection.execute(update(OPEN_EVENTS).where(*before).values(row))
