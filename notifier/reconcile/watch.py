"""What every notifier does beside its worker: sees that the schedule is there, and says how far behind the reconciler is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from headrace import schedules
from headrace.figures import open_events
from headrace.store.away import why
from schemas import names
from schemas.errors import bounded

log = structlog.get_logger(__name__)

OPEN = Gauge("headrace_notifier_open_events", "Accepted events without a completion a minute after they were accepted.")
UNRECONCILED = Gauge("headrace_notifier_unreconciled_events", "Those of them that are due to be looked at.")
OLDEST_OPEN = Gauge("headrace_notifier_oldest_open_seconds", "Age of the oldest open event; its run may simply be long.")
LAG = Gauge(
    "headrace_notifier_reconcile_lag_seconds", "How long the oldest unreconciled event has waited; above some minutes nobody reconciles."
)

_EVERY_SECONDS = 15.0
_SCHEDULE_EVERY = 20
"""Rounds: five minutes."""


@contextlib.asynccontextmanager
async def watching(client: Client, database: AsyncEngine) -> AsyncIterator[None]:
    """While the block runs."""
    task = asyncio.create_task(_watch(client, database), name="watch")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _watch(client: Client, database: AsyncEngine) -> None:
    number = 0
    while True:
        if number % _SCHEDULE_EVERY == 0:
            await _schedule(client)
        await _measure(database)
        number += 1
        await asyncio.sleep(_EVERY_SECONDS)


async def _schedule(client: Client) -> None:
    """Somebody may have deleted it, or Temporal may have been set up anew; a paused one is there and stays paused."""
    try:
        if await schedules.ensure(client, names.RECONCILE_SCHEDULE):
            log.warning("schedule_made", schedule=names.RECONCILE_SCHEDULE)
    except RPCError as error:
        log.warning("schedule_not_seen", schedule=names.RECONCILE_SCHEDULE, error=bounded(str(error), 300))


async def _measure(database: AsyncEngine) -> None:
    try:
        found = await open_events(database)
    except (SQLAlchemyError, OSError) as error:
        log.warning("open_events_not_counted", error=why(error))
        return
    OPEN.set(found.open)
    UNRECONCILED.set(found.unreconciled)
    OLDEST_OPEN.set(found.oldest_open_seconds)
    LAG.set(found.lag_seconds)
