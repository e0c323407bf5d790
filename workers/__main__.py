"""`python -m workers [--domain D]`: the composition root."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.worker import Interceptor, Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from headrace import health, temporal
from headrace.interceptors import Observed
from headrace.lifecycle import Misconfigured, run_service
from headrace.patience import Stopped, until_there
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from schemas.routes import load_routes
from workers import check, versions
from workers.domain import Activities, Domain
from workers.modules import known_domains

log = structlog.get_logger(__name__)

_GRACE = timedelta(seconds=10)
_CANCEL_REACHES = timedelta(seconds=2)
"""How late an activity may learn that it was cancelled: the answer to a heartbeat says so, and this is the least between two."""
# Our own light modules are imported once for the process and not again for each run: a third of a run's Python time.
# Those of a team are not among them: the sandbox stops its workflows at a clock or a random number that replay could not repeat.
_PASSED_THROUGH = ("schemas", "workers", "headrace")


def sandbox() -> SandboxedWorkflowRunner:
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH))


def build_workers(
    client: Client,
    domain: Domain,
    activities: Activities,
    interceptors: Sequence[Interceptor] = (),
    *,
    max_activities: int = 32,
    deployment: WorkerDeploymentConfig | None = None,
) -> list[Worker]:
    """One worker for each of the domain's queues."""
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            interceptors=interceptors,
            workflow_runner=sandbox(),
            max_concurrent_activities=max_activities,
            max_heartbeat_throttle_interval=_CANCEL_REACHES,
            graceful_shutdown_timeout=_GRACE,
            deployment_config=deployment,
        )
        for queue, workflows in domain.queues.items()
    ]


async def serve(settings: Settings, stop: asyncio.Event, only: str | None = None) -> None:
    """Runs the workers of every domain, or of one, until `stop` is set.

    Raises when one fails, and `Misconfigured` when the routes ask for what no worker runs.
    """
    domains = known_domains(settings.worker_modules)
    if only is not None and only not in domains:
        raise Misconfigured(f"no domain is called {only!r}; there are: {', '.join(sorted(domains))}", code=2)
    check.hold(load_routes(settings.routes_file), domains)
    runtime = temporal.runtime(settings)
    running = False
    async with health.serve(settings, lambda: running), contextlib.AsyncExitStack() as opened:
        opened.enter_context(contextlib.suppress(Stopped))
        client = await until_there("temporal", lambda: temporal.entered(settings, runtime=runtime), stop)
        started: list[Worker] = []
        chosen = {name: domain for name, domain in domains.items() if only in (None, name)}
        if any(domain.tables for domain in chosen.values()):
            await until_there("database", lambda: _tables(settings), stop)
        for name, domain in chosen.items():
            activities = await opened.enter_async_context(domain.activities(settings))
            deployment, slots = versions.deployment(settings, name), domain.max_activities(settings)
            for worker in build_workers(client, domain, activities, [Observed(name)], max_activities=slots, deployment=deployment):
                await opened.enter_async_context(worker)
                started.append(worker)
                log.info("worker_started", queue=worker.task_queue, version=deployment and deployment.version.to_canonical_string())
        running = True
        await stop.wait()
        running = False
        # Side by side: each gives its activities `_GRACE`, and all of them together have no more.
        await asyncio.gather(*(worker.shutdown() for worker in started))


async def _tables(settings: Settings) -> None:
    database = engine_of(settings, "workers")
    try:
        await migrate.usable(database)
    finally:
        await database.dispose()


def _chosen() -> str | None:
    parser = argparse.ArgumentParser(prog="python -m workers")
    parser.add_argument("--domain", help="only this domain's worker")
    domain: str | None = parser.parse_args().domain
    return domain


if __name__ == "__main__":
    chosen = _chosen()
    run_service("workers", lambda settings, stop: serve(settings, stop, chosen))
