"""The transaction activities with the database."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from headrace.settings import Settings
from headrace.store.engine import engine_of
from workers.domain import Activities
from workers.transaction.activities import TransactionActivities
from workers.transaction.books import Books


@contextlib.asynccontextmanager
async def activities(settings: Settings) -> AsyncIterator[Activities]:
    database = engine_of(settings, "workers-transaction")
    try:
        yield TransactionActivities(Books(database)).all()
    finally:
        await database.dispose()
