"""`python -m workers [--domain D]`: the composition root."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from headrace import health, temporal
from headrace.lifecycle import run_service
from headrace.patience import Stopped, until_there
from headrace.settings import Settings
from workers.domain import Activities, Domain
from workers.registry import DOMAINS

log = structlog.get_logger(__name__)

_GRACE = timedelta(seconds=10)
_MAX_ACTIVITIES = 32
_CANCEL_REACHES = timedelta(seconds=2)
"""How late an activity may learn that it was cancelled: the answer to a heartbeat says so, and this is the least between two."""
# Our own light modules are imported once for the process and not again for each run: a third of a run's Python time.
_PASSED_THROUGH = ("schemas", "workers")


def build_workers(client: Client, domain: Domain, activities: Activities, max_activities: int = _MAX_ACTIVITIES) -> list[Worker]:
    """One worker for each of the domain's queues."""
    runner = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH))
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            workflow_runner=runner,
            max_concurrent_activities=max_activities,
            max_heartbeat_throttle_interval=_CANCEL_REACHES,
            graceful_shutdown_timeout=_GRACE,
        )
        for queue, workflows in domain.queues.items()
    ]


async def serve(settings: Settings, stop: asyncio.Event, chosen: list[Domain]) -> None:
    """Runs the workers of these domains until `stop` is set; raises when one fails."""
    running = False
    async with health.serve(settings.health_port, lambda: running), contextlib.AsyncExitStack() as opened:
        opened.enter_context(contextlib.suppress(Stopped))
        client = await until_there("temporal", lambda: temporal.connect(settings), stop)
        for domain in chosen:
            activities = await opened.enter_async_context(domain.activities(settings))
            for worker in build_workers(client, domain, activities):
                await opened.enter_async_context(worker)
                log.info("worker_started", queue=worker.task_queue)
        running = True
        await stop.wait()
        running = False


def _chosen() -> list[Domain]:
    parser = argparse.ArgumentParser(prog="python -m workers")
    parser.add_argument("--domain", choices=sorted(DOMAINS), help="only this domain's worker")
    domain = parser.parse_args().domain
    return [DOMAINS[domain]] if domain else list(DOMAINS.values())


if __name__ == "__main__":
    domains = _chosen()
    run_service(lambda settings, stop: serve(settings, stop, domains))
