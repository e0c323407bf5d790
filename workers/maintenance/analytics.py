"""The table of days: computed from the history table and from the archives, wherever a day's rows lie."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace.store.tables import DAILY_ANALYTICS, HISTORY, HISTORY_ARCHIVES
from workers.maintenance import parquet
from workers.maintenance.archive import ArchiveFiles
from workers.maintenance.database import asking_the_database
from workers.maintenance.logic import Observation, Summary, Tally, midnight, observation
from workers.maintenance.parquet import NoArchiveError

log = structlog.get_logger(__name__)

_PAGE = 5000
"""Rows in memory at one time."""
_COLUMNS = [HISTORY.c[name] for name in ("domain", "backend", "status", "error_code", "recorded_at", "requested_at", "started_at")]
_KEYS = ("day", "domain", "backend")


class DailyAnalytics:
    def __init__(self, engine: AsyncEngine, files: ArchiveFiles) -> None:
        self._engine = engine
        self._files = files

    async def changed_days(self) -> list[date]:
        """A row is written once and never changes, so a day has changed when it has more rows than were counted."""
        with asking_the_database():
            async with self._engine.connect() as connection:
                rows = await _rows_by_day(connection)
                query = select(DAILY_ANALYTICS.c.day, func.sum(DAILY_ANALYTICS.c.total)).group_by(DAILY_ANALYTICS.c.day)
                counted: dict[date, int] = {day: total for day, total in (await connection.execute(query)).all()}  # noqa: C416 - rows
        return sorted(day for day, number in rows.items() if number > counted.get(day, 0))

    async def recompute(self, day: date) -> bool:
        while True:
            tally = Tally()
            with asking_the_database():
                async with self._engine.connect() as connection:
                    archives = await _archives(connection, day)
                    await _count_table(connection, day, tally)
                    moved = await _archives(connection, day) != archives
            if not moved:
                break  # else rows went into an archive while they were counted
        if not await _read_archives(self._files, archives, tally):
            return False
        with asking_the_database():
            async with self._engine.begin() as connection:
                for summary in tally.summaries():
                    await _save(connection, day, summary)
        return True


async def _read_archives(files: ArchiveFiles, keys: list[str], tally: Tally) -> bool:
    """False when one cannot be read."""
    for key in keys:
        data = await files.get(key)
        try:
            if data is None:
                raise NoArchiveError("there is no such object")
            observations = await asyncio.to_thread(_observations, data)
        except NoArchiveError as error:
            log.warning("archive_unreadable", key=key, error=str(error)[:300])
            return False
        tally.add(observations)
    return True


def _observations(data: bytes) -> list[Observation]:
    return [observation(row) for row in parquet.read(data)]


async def _rows_by_day(connection: AsyncConnection) -> dict[date, int]:
    """From day to day along the index on `recorded_at`: no portable SQL gives the UTC day of a moment."""
    query = select(HISTORY_ARCHIVES.c.day, func.sum(HISTORY_ARCHIVES.c.rows)).where(HISTORY_ARCHIVES.c.archived_at.is_not(None))
    found: dict[date, int] = {day: rows for day, rows in (await connection.execute(query.group_by(HISTORY_ARCHIVES.c.day))).all()}  # noqa: C416
    moment = HISTORY.c.recorded_at
    first = select(moment).order_by(moment).limit(1)
    begun: datetime | None = (await connection.execute(first)).scalar_one_or_none()
    while begun is not None:
        day = begun.date()
        end = midnight(day + timedelta(days=1))
        number = select(func.count()).select_from(HISTORY).where(moment >= midnight(day), moment < end)
        found[day] = found.get(day, 0) + (await connection.execute(number)).scalar_one()
        begun = (await connection.execute(first.where(moment >= end))).scalar_one_or_none()
    return found


async def _archives(connection: AsyncConnection, day: date) -> list[str]:
    table = HISTORY_ARCHIVES.c
    query = select(table.key).where(table.day == day, table.archived_at.is_not(None)).order_by(table.key)
    return list((await connection.execute(query)).scalars())


async def _count_table(connection: AsyncConnection, day: date, tally: Tally) -> None:
    moment = HISTORY.c.recorded_at
    query = select(*_COLUMNS).where(moment >= midnight(day), moment < midnight(day + timedelta(days=1)))
    result = await connection.stream(query.execution_options(yield_per=_PAGE))
    async for page in result.mappings().partitions(_PAGE):
        tally.add(observation(dict(row)) for row in page)


async def _save(connection: AsyncConnection, day: date, summary: Summary) -> None:
    values: dict[str, Any] = {
        "day": day,
        "domain": summary.domain,
        "backend": summary.backend,
        **summary.counts,
        "error_codes": json.dumps(summary.error_codes),
        **summary.seconds,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(DAILY_ANALYTICS).values(values)
    changed = {name: insert.excluded[name] for name in values if name not in _KEYS}
    # A run that counted earlier and writes later takes nothing back.
    await connection.execute(
        insert.on_conflict_do_update(index_elements=list(_KEYS), set_=changed, where=insert.excluded.total >= DAILY_ANALYTICS.c.total)
    )
