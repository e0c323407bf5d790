"""`python -m notifier`: a Temporal worker that publishes completions and history."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from headrace import health, temporal
from headrace.idempotent import IdempotentProducer
from headrace.lifecycle import run_service
from headrace.patience import Stopped, until_there
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine
from headrace.wire import Wire
from notifier.history import HistoryActivities
from notifier.producer import OnceProducer
from notifier.publish import CompletionActivities
from notifier.redriving import WORKFLOWS, redriving
from schemas import names
from schemas.catalog import Catalog, shipped
from schemas.topics import Topics

log = structlog.get_logger(__name__)

_GRACE = timedelta(seconds=5)
"""For activities that run when the process is told to stop: one acknowledgement takes milliseconds, and without a broker none comes."""


async def main(settings: Settings, stop: asyncio.Event) -> None:
    ready = False
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(health.serve(settings.health_port, lambda: ready and not stop.is_set()))
        with contextlib.suppress(Stopped):
            database = engine(settings.database_url)
            stack.push_async_callback(database.dispose)
            await until_there("database", lambda: _tables(database), stop)
            activities = await stack.enter_async_context(publishing(settings, database, stop))
            client = await until_there("temporal", lambda: temporal.connect(settings), stop)
            activities += await stack.enter_async_context(redriving(settings, database, client, stop))
            worker = build_worker(client, names.QUEUE_NOTIFICATIONS, activities, WORKFLOWS)
            ready = True
            log.info("notifier_started", queue=names.QUEUE_NOTIFICATIONS)
            await _run(worker, stop)


@contextlib.asynccontextmanager
async def publishing(settings: Settings, database: AsyncEngine, stop: asyncio.Event) -> AsyncIterator[list[Callable[..., Any]]]:
    """The notifier's activities with all that they need. Raises `Stopped`."""
    async with contextlib.AsyncExitStack() as stack:
        wire = Wire.of(settings, Catalog(shipped()))
        stack.push_async_callback(wire.close)
        producer = IdempotentProducer(settings)
        await until_there("kafka", producer.__aenter__, stop)
        stack.push_async_exit(producer)
        once = OnceProducer(producer)
        stack.push_async_callback(once.close)
        topics = Topics(settings.topic_prefix)
        completions = CompletionActivities(database, once, wire, topics)
        yield [
            completions.send_completion_notification,
            completions.notify_user,
            HistoryActivities(database, once, wire, topics).update_generation_history,
        ]


def build_worker(client: Client, queue: str, activities: Sequence[Callable[..., Any]], workflows: Sequence[type] = ()) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules("schemas", "notifier")),
        max_concurrent_activities=200,
        graceful_shutdown_timeout=_GRACE,
    )


async def _tables(database: AsyncEngine) -> None:
    revision = await migrate.current(database)
    if revision is None:
        url = database.url.render_as_string(hide_password=True)
        raise OSError(f"the database {url} has no tables yet: run `headrace setup`")
    if revision != migrate.newest():
        log.warning("other_tables", revision=revision, expected=migrate.newest(), hint="run `headrace setup`")


async def _run(worker: Worker, stop: asyncio.Event) -> None:
    """Runs the worker until `stop`; raises when it ends by itself."""
    running = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await worker.shutdown()
        await running
    finally:
        stopping.cancel()


if __name__ == "__main__":
    run_service(main)
