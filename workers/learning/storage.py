"""Learning paths in SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store.away import why
from headrace.store.insert import insert_once
from headrace.store.tables import LEARNING_PATHS
from schemas.errors import FailureType
from workers.learning.logic import key
from workers.learning.models import EarlierPath, SavedPath, SavePath

_MOST_EARLIER = 100
_CATEGORY_CHARACTERS = 300
"""Of a category's key, which may be longer than its text: with a user ID it must fit into an entry of PostgreSQL's index, 2704 bytes."""
_TURNS = 100
"""Each turn that a path does not get its version, another of the same user and category has got it."""


class SqlPaths:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def earlier(self, user_id: str, category: str, *, but: UUID) -> list[EarlierPath]:
        """The newest first, at most a hundred."""
        table = LEARNING_PATHS.c
        query = (
            select(table.version, table.level, table.created_at, table.duration_days)
            .where(table.user_id == user_id, table.category == _category(category), table.event_id != but)
            .order_by(table.version.desc())
            .limit(_MOST_EARLIER)
        )
        async with self._transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [EarlierPath.model_validate(dict(row)) for row in rows]

    async def save(self, path: SavePath) -> SavedPath:
        """The event's row, which the first attempt writes with the next free version; a later generation writes its path over that.

        Number and row are one statement, and both the event and the version are unique: of two that write at once one gets nothing, and
        takes another turn in which it finds its event's row or the next version.
        """
        for _ in range(_TURNS):
            async with self._transaction() as connection:
                row = _row(path)
                if not await insert_once(connection, LEARNING_PATHS, row) and path.generation > 1:
                    # The generation before had saved, and did not come to its end. What is told is what is kept.
                    anew = {name: row[name] for name in ("level", "duration_days", "path")}
                    await connection.execute(update(LEARNING_PATHS).where(LEARNING_PATHS.c.event_id == path.event_id).values(anew))
            async with self._transaction() as connection:
                found = await _of_event(connection, path.event_id)
            if found is not None:
                return found
        raise ApplicationError("too many paths of this user and category at one time", type=FailureType.DATABASE_UNAVAILABLE)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            # Without the statement and its values.
            raise ApplicationError(f"the database does not answer: {why(error)}", type=FailureType.DATABASE_UNAVAILABLE) from error


def _category(name: str) -> str:
    return key(name)[:_CATEGORY_CHARACTERS]


def _row(path: SavePath) -> dict[str, object]:
    table, category = LEARNING_PATHS.c, _category(path.path.category)
    newest = select(func.coalesce(func.max(table.version), 0) + 1).where(table.user_id == path.user_id, table.category == category)
    return {
        "path_id": path.path.path_id,
        "event_id": path.event_id,
        "user_id": path.user_id,
        "category": category,
        "version": newest.scalar_subquery(),
        "level": path.path.level,
        "learning_style": path.learning_style,
        "time_commitment_hours": path.time_commitment_hours,
        "duration_days": path.path.estimated_duration_days,
        "path": path.path.model_dump_json(exclude={"version"}),
        "created_at": path.at,
    }


async def _of_event(connection: AsyncConnection, event_id: UUID) -> SavedPath | None:
    table = LEARNING_PATHS.c
    row = (await connection.execute(select(table.path_id, table.version).where(table.event_id == event_id))).one_or_none()
    return None if row is None else SavedPath(path_id=row.path_id, version=row.version)
