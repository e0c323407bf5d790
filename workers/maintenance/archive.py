"""History that moves from the database into Parquet files.

The rows of an archive are chosen once, in the database, before anything is written; its key follows from them. So whoever stores it, and
however often, writes the same rows under the same key. The rows are deleted in the transaction that says the archive is done, after the
file was read back. Killed at any point, a run leaves rows that are in the table, or in one archive, or in both for the moment.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store.insert import insert_once
from headrace.store.tables import HISTORY, HISTORY_ARCHIVES
from schemas.errors import FailureType
from workers.maintenance import parquet
from workers.maintenance.database import asking_the_database
from workers.maintenance.logic import archive_key, midnight
from workers.maintenance.models import Archived
from workers.maintenance.parquet import NoArchiveError, Row

log = structlog.get_logger(__name__)

ROWS = 5000
"""Of one archive at the most: what is in memory at one time."""
_MAX_KEYS = 200


class ArchiveFiles(Protocol):
    """`workers.maintenance.storage.Bucket`."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, data: bytes) -> None: ...


class _Taken(Exception):  # noqa: N818 - not an accident
    """Another run has chosen some of the same rows."""


class HistoryArchive:
    def __init__(self, engine: AsyncEngine, files: ArchiveFiles, rows: int = ROWS) -> None:
        self._engine = engine
        self._files = files
        self._rows = rows

    async def unfinished(self) -> list[str]:
        query = select(HISTORY_ARCHIVES.c.key).where(HISTORY_ARCHIVES.c.archived_at.is_(None)).order_by(HISTORY_ARCHIVES.c.planned_at)
        with asking_the_database():
            async with self._engine.connect() as connection:
                return list((await connection.execute(query)).scalars())

    async def choose(self, before: datetime) -> str | None:
        while True:
            try:
                with asking_the_database():
                    async with self._engine.begin() as connection:
                        return await _choose(connection, before, self._rows)
            except _Taken:
                continue  # committed by the other run: the next look does not find them any more

    async def store(self, key: str, run_id: str) -> None:
        rows = await self._rows_of(key)
        if not rows:
            await self._forget(key)
            return
        data = await self._written(key, rows)
        await self._finish(key, rows, data, run_id)
        log.info("history_archived", key=key, rows=len(rows), bytes=len(data))

    async def done_by(self, run_id: str) -> Archived:
        table = HISTORY_ARCHIVES.c
        totals = select(func.coalesce(func.sum(table.rows), 0), func.count(), func.coalesce(func.sum(table.size_bytes), 0))
        keys = select(table.key).where(table.run_id == run_id).order_by(table.key).limit(_MAX_KEYS)
        with asking_the_database():
            async with self._engine.connect() as connection:
                count, archives, size = (await connection.execute(totals.where(table.run_id == run_id))).one()
                first = tuple((await connection.execute(keys)).scalars())
        return Archived(count=count, archives=archives, size_bytes=int(size), keys=first)

    async def _rows_of(self, key: str) -> list[Row]:
        columns = [HISTORY.c[name] for name in parquet.SCHEMA.names]
        query = select(*columns).where(HISTORY.c.archive_key == key).order_by(HISTORY.c.recorded_at, HISTORY.c.history_id)
        with asking_the_database():
            async with self._engine.connect() as connection:
                found = (await connection.execute(query)).mappings().all()
        return [{name: str(value) if isinstance(value, UUID) else value for name, value in row.items()} for row in found]

    async def _written(self, key: str, rows: list[Row]) -> bytes:
        """The file's bytes, as they were read back. What is there already with the same rows is not written again."""
        there = await self._files.get(key)
        if there is None or not await self._is_ours(key, there, rows):
            await self._files.put(key, await asyncio.to_thread(parquet.written, rows))
            there = await self._files.get(key)
        if there is None or await _read(there) != rows:
            raise ApplicationError(
                f"the archive {key} is not what was written to it; no row was deleted", type=FailureType.ARCHIVE_UNVERIFIED
            )
        return there

    async def _is_ours(self, key: str, data: bytes, rows: list[Row]) -> bool:
        """Whether the file has these rows as they are now; False when they have changed since. Raises for a file with other rows."""
        found = await _read(data)
        if found == rows:
            return True
        if found is None or {row["history_id"] for row in found} != {row["history_id"] for row in rows}:
            raise ApplicationError(
                f"the archive {key} is there with other content, and is not overwritten: move it away, and run maintenance again",
                type=FailureType.ARCHIVE_CONFLICT,
                non_retryable=True,
            )
        return False

    async def _finish(self, key: str, rows: list[Row], data: bytes, run_id: str) -> None:
        done = {
            "rows": len(rows),
            "size_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "archived_at": datetime.now(UTC),
            "run_id": run_id,
        }
        table = HISTORY_ARCHIVES.c
        with asking_the_database():
            async with self._engine.begin() as connection:
                marked = await connection.execute(
                    update(HISTORY_ARCHIVES).where(table.key == key, table.archived_at.is_(None)).values(done)
                )
                if marked.rowcount == 0:
                    return  # by another run, meanwhile
                deleted = await connection.execute(delete(HISTORY).where(HISTORY.c.archive_key == key))
                if deleted.rowcount != len(rows):
                    raise ApplicationError(
                        f"the rows of the archive {key} changed while it was written; no row was deleted",
                        type=FailureType.ARCHIVE_UNVERIFIED,
                    )

    async def _forget(self, key: str) -> None:
        """An archive without rows: done by another run, or somebody has deleted the rows before they were written."""
        rows = exists().where(HISTORY.c.archive_key == key)
        query = delete(HISTORY_ARCHIVES).where(HISTORY_ARCHIVES.c.key == key, HISTORY_ARCHIVES.c.archived_at.is_(None), ~rows)
        with asking_the_database():
            async with self._engine.begin() as connection:
                await connection.execute(query)


async def _choose(connection: AsyncConnection, before: datetime, limit: int) -> str | None:
    """Raises `_Taken`, which rolls back."""
    table = HISTORY.c
    free = table.archive_key.is_(None)
    oldest = select(table.recorded_at).where(free, table.recorded_at < before).order_by(table.recorded_at).limit(1)
    first: datetime | None = (await connection.execute(oldest)).scalar_one_or_none()
    if first is None:
        return None
    day = first.date()
    in_day = (free, table.recorded_at >= first, table.recorded_at < midnight(day + timedelta(days=1)))
    query = select(table.history_id).where(*in_day).order_by(table.recorded_at, table.history_id).limit(limit)
    ids = list((await connection.execute(query)).scalars())
    key = archive_key(day, ids)
    row: dict[str, Any] = {"key": key, "day": day, "rows": len(ids), "planned_at": datetime.now(UTC)}
    if not await insert_once(connection, HISTORY_ARCHIVES, row):
        # The very same rows were archived before and came again, from a backup for example: the same file takes them.
        await connection.execute(update(HISTORY_ARCHIVES).where(HISTORY_ARCHIVES.c.key == key).values(archived_at=None, run_id=None))
    claimed = await connection.execute(update(HISTORY).where(table.history_id.in_(ids), free).values(archive_key=key))
    if claimed.rowcount != len(ids):
        raise _Taken
    return key


async def _read(data: bytes) -> list[Row] | None:
    try:
        return await asyncio.to_thread(parquet.read, data)
    except NoArchiveError:
        return None
