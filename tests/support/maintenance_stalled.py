"""`python -m tests.support.maintenance_stalled DATABASE BUCKET ENDPOINT`: archives, and stands still after an upload, to be killed."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from headrace import s3
from headrace.settings import Settings
from headrace.store.engine import engine
from tests.support.maintenance_runs import Attempts, FakeAnalytics
from workers.maintenance.activities import MaintenanceActivities
from workers.maintenance.archive import HistoryArchive
from workers.maintenance.storage import Bucket


class Stalling(Bucket):
    async def put(self, key: str, data: bytes) -> None:
        await super().put(key, data)
        sys.stdout.write(f"{key}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def main(settings: Settings) -> None:
    database = engine(settings.database_url)
    archive = HistoryArchive(database, Stalling(s3.client(settings), settings.s3_bucket), rows=3)
    await Attempts(MaintenanceActivities([], timedelta(hours=24), archive, FakeAnalytics())).archive()


if __name__ == "__main__":
    asyncio.run(main(Settings(database_url=sys.argv[1], s3_bucket=sys.argv[2], s3_endpoint_url=sys.argv[3])))
