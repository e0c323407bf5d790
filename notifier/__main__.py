"""`python -m notifier`: a Temporal worker that publishes completions and history, and completes the runs that could not tell themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from headrace import health, temporal
from headrace.idempotent import IdempotentProducer
from headrace.interceptors import Observed
from headrace.lifecycle import run_service
from headrace.patience import Stopped, until_there
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from headrace.wire import Wire
from notifier.history import HistoryActivities
from notifier.producer import OnceProducer
from notifier.publish import CompletionActivities
from notifier.reconcile.activities import ReconcileActivities
from notifier.reconcile.events import OpenEvents
from notifier.reconcile.runs import Runs
from notifier.reconcile.watch import watching
from notifier.reconcile.workflow import ReconcileCompletions
from notifier.redriving import WORKFLOWS, redriving
from schemas import names
from schemas.routes import load_routes
from schemas.topics import Topics

log = structlog.get_logger(__name__)

_LABEL = "notifications"
"""The `domain` of its activities in the metrics: they serve every domain."""
_GRACE = timedelta(seconds=5)
"""For activities that run when the process is told to stop: one acknowledgement takes milliseconds, and without a broker none comes."""


async def main(settings: Settings, stop: asyncio.Event) -> None:
    ready = False
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(health.serve(settings, lambda: ready and not stop.is_set()))
        with contextlib.suppress(Stopped):
            database = engine_of(settings, "notifier")
            stack.push_async_callback(database.dispose)
            await until_there("database", lambda: migrate.usable(database), stop)
            activities = await stack.enter_async_context(publishing(settings, database, stop))
            client = await until_there("temporal", lambda: temporal.entered(settings), stop)
            reconciling = reconciler(settings, database, client, activities)
            sending_again = await stack.enter_async_context(redriving(settings, database, client, stop))
            worker = build_worker(
                client,
                names.QUEUE_NOTIFICATIONS,
                [*activities.all(), *reconciling, *sending_again],
                [ReconcileCompletions, *WORKFLOWS],
            )
            await stack.enter_async_context(watching(client, database))
            ready = True
            log.info("notifier_started", queue=names.QUEUE_NOTIFICATIONS)
            await _run(worker, stop)


@dataclass(frozen=True, slots=True)
class Publishing:
    """The activities that publish, and what the reconciler shares with them."""

    completions: CompletionActivities
    history: HistoryActivities
    wire: Wire

    def all(self) -> list[Callable[..., Any]]:
        return [self.completions.send_completion_notification, self.completions.notify_user, self.history.update_generation_history]


@contextlib.asynccontextmanager
async def publishing(settings: Settings, database: AsyncEngine, stop: asyncio.Event) -> AsyncIterator[Publishing]:
    """The notifier's activities with all that they need. Raises `Stopped` and `RouteError`."""
    async with contextlib.AsyncExitStack() as stack:
        wire = Wire.of(settings, load_routes(settings.routes_file).catalog())
        stack.push_async_callback(wire.close)
        producer = IdempotentProducer(settings)
        await until_there("kafka", producer.__aenter__, stop)
        stack.push_async_exit(producer)
        once = OnceProducer(producer)
        stack.push_async_callback(once.close)
        topics = Topics(settings.topic_prefix)
        yield Publishing(CompletionActivities(database, once, wire, topics), HistoryActivities(database, once, wire, topics), wire)


def reconciler(settings: Settings, database: AsyncEngine, client: Client, publishing: Publishing) -> list[Callable[..., Any]]:
    """The activities of `ReconcileCompletions`. They publish through those that the runs use: one send for each ID in a process."""
    acts = ReconcileActivities(OpenEvents(database), publishing.completions, lambda: Runs(client), settings, publishing.wire)
    return [acts.note_open_events, acts.complete_ended_runs]


def build_worker(client: Client, queue: str, activities: Sequence[Callable[..., Any]], workflows: Sequence[type] = ()) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        activities=activities,
        interceptors=[Observed(_LABEL)],
        workflows=workflows,
        workflow_runner=SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules("schemas", "notifier")),
        max_concurrent_activities=200,
        graceful_shutdown_timeout=_GRACE,
    )


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
    run_service("notifier", main)
