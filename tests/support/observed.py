"""Workflows and activities to be counted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    import structlog

    from schemas.errors import FailureType

SECRET = "a prompt that nobody else may read"
log = structlog.get_logger(__name__)


@activity.defn
async def step(act: str) -> str:
    log.info("step_logs")
    match act:
        case "raises":
            raise KeyError(SECRET)
        case "refused":
            raise ApplicationError(SECRET, type=FailureType.BACKEND_REFUSED, non_retryable=True)
        case "hangs":
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.05)
    return act


@activity.defn
async def local_step(act: str) -> str:
    return act


@workflow.defn
class Steps:
    """As many steps as it is given; waits for `go` before the last one."""

    def __init__(self) -> None:
        self._gone = False

    @workflow.run
    async def run(self, acts: list[str], waits: bool = False) -> str:
        workflow.logger.info("run_logs")
        await workflow.execute_local_activity(local_step, "local", start_to_close_timeout=timedelta(seconds=10))
        for number, act in enumerate(acts):
            if waits and number == len(acts) - 1:
                await workflow.wait_condition(lambda: self._gone)
            await workflow.execute_activity(
                step,
                act,
                start_to_close_timeout=timedelta(seconds=60),
                heartbeat_timeout=timedelta(seconds=1),
                retry_policy=RetryPolicy(maximum_attempts=2),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        return "done"

    @workflow.signal
    async def go(self) -> None:
        workflow.logger.info("signal_logs")
        self._gone = True


FAILED_TASKS: set[str] = set()


@workflow.defn(sandboxed=False)
class FailsTwice:
    """Its task fails once for each of `attempts`: nothing of it is in the history then, so the next attempt is no replay either."""

    @workflow.run
    async def run(self, attempts: list[str]) -> None:
        for attempt in attempts:
            if attempt not in FAILED_TASKS:
                FAILED_TASKS.add(attempt)
                raise RuntimeError("a fault")


@workflow.defn
class Impure:
    """What a replay could not repeat."""

    @workflow.run
    async def run(self) -> str:
        return datetime.now(UTC).isoformat()
