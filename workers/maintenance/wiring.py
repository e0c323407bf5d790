"""The maintenance activities with the clients that they need."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

from headrace import s3
from headrace.settings import Settings, state_dir
from headrace.store.engine import engine_of
from workers.domain import Activities
from workers.maintenance.activities import MaintenanceActivities
from workers.maintenance.analytics import DailyAnalytics
from workers.maintenance.archive import HistoryArchive
from workers.maintenance.files import TemporaryFiles
from workers.maintenance.storage import Bucket, TemporaryObjects


@contextlib.asynccontextmanager
async def activities(settings: Settings) -> AsyncIterator[Activities]:
    # Its statements are over whole days of history; its activities' own time-outs end them.
    storage, database = s3.client(settings), engine_of(settings, "workers-maintenance", long_statements=True)
    bucket = Bucket(storage, settings.s3_bucket)
    try:
        yield MaintenanceActivities(
            [TemporaryObjects(bucket), TemporaryFiles(state_dir() / "tmp")],
            timedelta(hours=settings.temporary_hours),
            HistoryArchive(database, bucket),
            DailyAnalytics(database, bucket),
        ).all()
    finally:
        storage.close()
        await database.dispose()
