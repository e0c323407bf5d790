"""The maintenance activities. Light to import: the places that they work on are handed in by the composition root.

Two runs at once do not break each other: what is removed twice was there once, an archive's rows are chosen by the database once and
for ever, and a day is only ever replaced by one that counts as many rows or more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType
from workers.heartbeat import heartbeat
from workers.maintenance.logic import Temporary, archived_before, removable
from workers.maintenance.models import Analysed, Archived, ArchiveOrder, Cleaned


class TemporaryPlace(Protocol):
    """Where temporary things lie. Each raises `ApplicationError`."""

    prefix: str

    def pages(self) -> AsyncIterator[Sequence[Temporary]]: ...

    async def remove(self, found: Sequence[Temporary]) -> None:
        """One that is gone already is no error."""
        ...


class Archive(Protocol):
    """History that moves from the database into files. Each raises `ApplicationError`."""

    async def unfinished(self) -> list[str]:
        """Keys of archives whose rows are chosen and not yet deleted, from any run."""
        ...

    async def choose(self, before: datetime) -> str | None:
        """Chooses the oldest rows of one day for an archive, gives its key; None when no row is older than `before`."""
        ...

    async def store(self, key: str, run_id: str) -> None:
        """Writes the file, reads it back, deletes its rows. Doing it again, also at the same time, changes nothing."""
        ...

    async def done_by(self, run_id: str) -> Archived: ...


class Analytics(Protocol):
    """Each raises `ApplicationError`."""

    async def changed_days(self) -> list[date]:
        """Days that have more rows, in the table and in archives, than were counted."""
        ...

    async def recompute(self, day: date) -> bool:
        """False when an archive of that day cannot be read; the day is then left as it was."""
        ...


class MaintenanceActivities:
    def __init__(self, places: Sequence[TemporaryPlace], keep: timedelta, archive: Archive, analytics: Analytics) -> None:
        self._places = places
        self._keep = keep
        self._archive = archive
        self._analytics = analytics

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [self.cleanup_temp_files, self.archive_old_history, self.update_daily_analytics]

    @activity.defn(name="cleanup_temp_files")
    async def cleanup_temp_files(self) -> Cleaned:
        """Removes what is older than the setting. A later attempt counts on from where the one before it was cut off."""
        before = datetime.now(UTC) - self._keep
        count, freed = activity.info().heartbeat_details or (0, 0)
        async with heartbeat(lambda: (count, freed)):
            for place in self._places:
                async for page in place.pages():
                    if old := removable(page, place.prefix, before):
                        await place.remove(old)
                        count, freed = count + len(old), freed + sum(each.size_bytes for each in old)
                        activity.heartbeat(count, freed)
        return Cleaned(count=count, bytes_freed=freed)

    @activity.defn(name="archive_old_history")
    async def archive_old_history(self, order: ArchiveOrder) -> Archived:
        """Finishes what a killed worker left, then archives the rest.

        The database says how far it is, in the transaction that deletes; heartbeats say it too, to whoever looks at the run.
        """
        run_id, before = activity.info().workflow_run_id or "", archived_before(order.today, order.days_old)
        key: str | None = None
        conflicts: list[ApplicationError] = []

        async def store(key: str) -> None:
            try:
                await self._archive.store(key, run_id)
            except ApplicationError as error:
                if error.type != FailureType.ARCHIVE_CONFLICT:
                    raise
                conflicts.append(error)  # told at the end: one such file holds no other day up

        async with heartbeat(lambda: (key,)):
            for key in await self._archive.unfinished():
                await store(key)
            while (key := await self._archive.choose(before)) is not None:
                await store(key)
        if conflicts:
            raise conflicts[0]
        return await self._archive.done_by(run_id)

    @activity.defn(name="update_daily_analytics")
    async def update_daily_analytics(self) -> Analysed:
        """Recomputes the days that have rows which were not counted yet, from the table and from the archives."""
        done: list[date] = []
        left_out: list[date] = []
        async with heartbeat(lambda: (len(done), len(left_out))):
            for day in await self._analytics.changed_days():
                (done if await self._analytics.recompute(day) else left_out).append(day)
        return Analysed(success=not left_out, days_recomputed=len(done), days_left_out=tuple(left_out))
