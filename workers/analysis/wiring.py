"""The analysis activities with the clients that they need."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from headrace import s3
from headrace.settings import Settings
from headrace.store.engine import engine_of
from workers.analysis.activities import AnalysisActivities, Limits
from workers.analysis.processes import Processes
from workers.analysis.storage import S3Objects
from workers.analysis.table import SqlAnalyses
from workers.analysis.workplaces import workplaces
from workers.domain import Activities


@contextlib.asynccontextmanager
async def activities(settings: Settings) -> AsyncIterator[Activities]:
    storage, database = s3.client(settings), engine_of(settings, "workers-analysis")
    processes = Processes(settings.analysis_processes, settings.analysis_memory_bytes)
    with workplaces() as folder:
        try:
            acts = AnalysisActivities(
                S3Objects(storage, settings.s3_bucket, settings.s3_url_seconds),
                processes,
                SqlAnalyses(database),
                Limits(
                    bucket=settings.s3_bucket,
                    buckets=settings.analysis_buckets,
                    max_bytes=settings.analysis_max_bytes,
                    max_rows=settings.analysis_max_rows,
                ),
                folder,
            )
            yield acts.all()
        finally:
            await processes.close()
            await database.dispose()
            storage.close()
