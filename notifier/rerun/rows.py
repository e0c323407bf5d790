"""The rows of later generations: which redrive starts which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.tables import COMPLETIONS, RERUNS
from schemas.ids import completion_id

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


class RerunRows:
    """Each call is one transaction. Raises as SQLAlchemy and the driver do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def is_told(self, event_id: UUID, generation: int) -> bool:
        """Whether the generation's completion is published."""
        query = select(COMPLETIONS.c.completion_id).where(COMPLETIONS.c.completion_id == completion_id(event_id, generation))
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).one_or_none() is not None

    async def claim(self, rerun_id: UUID, wanted: Generation) -> bool:
        """Whether this rerun is to start it; the key lets only one."""
        now = datetime.now(UTC)
        row = {name: getattr(wanted, name) for name in Generation.__dataclass_fields__}
        mine = (_ROW.event_id == wanted.event_id, _ROW.generation == wanted.generation)
        async with self._engine.begin() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(RERUNS).values(**row, rerun_id=rerun_id, claimed_at=now).on_conflict_do_nothing()
            await connection.execute(insert)
            await connection.execute(
                update(RERUNS)
                .where(*mine, _ROW.run_id.is_(None), _ROW.rerun_id != rerun_id, _ROW.claimed_at < now - _GIVEN_UP)
                .values(rerun_id=rerun_id, claimed_at=now)
            )
            owner = (await connection.execute(select(_ROW.rerun_id).where(*mine))).scalar_one()
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
            await connection.execute(started)
