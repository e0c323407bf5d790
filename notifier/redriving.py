"""The workflows that send again, and their activities with all that they need."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from headrace import kafka
from headrace.patience import until_there
from headrace.settings import Settings
from headrace.wire import Wire
from notifier.redrive.activities import RedriveActivities
from notifier.redrive.workflow import RedriveWorkflow
from notifier.rerun.activities import RerunActivities
from notifier.rerun.workflow import RerunFailedWorkflow
from schemas.catalog import Catalog, shipped
from schemas.routes import load_routes

WORKFLOWS: Sequence[type] = (RedriveWorkflow, RerunFailedWorkflow)

_STOP_SECONDS = 5.0


@contextlib.asynccontextmanager
async def redriving(
    settings: Settings, database: AsyncEngine, client: Client, stop: asyncio.Event
) -> AsyncIterator[list[Callable[..., Any]]]:
    """Raises `headrace.patience.Stopped`, and `schemas.routes.RouteError`."""
    wire = Wire.of(settings, Catalog([*shipped(), *load_routes(settings.routes_file).schemas()]))
    producer = kafka.producer(settings, idempotent=False)
    try:
        await until_there("kafka", producer.start, stop)
        yield [
            RedriveActivities(settings, database, producer, wire).redrive_dead_letters,
            RerunActivities(client, database).rerun_failed_runs,
        ]
    finally:
        # Without a broker stop() would not end.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(producer.stop(), _STOP_SECONDS)
        await wire.close()
