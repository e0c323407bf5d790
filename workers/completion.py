"""The last step of every workflow, whatever happened before it: the completion, awaited, with its history entry side by side."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import exceptions, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.completion import CompletionError, Published, SendCompletion, Status, UpdateHistory
    from schemas.errors import FailureType, bounded


async def announce(completion: SendCompletion, history: UpdateHistory) -> None:
    """Publishes both, shielded from cancellation. Returns when the completion is acknowledged; history is best effort."""
    task = asyncio.create_task(_announce(completion, history))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # A cancelled run owes its completion like any other: it is awaited again, and the caller ends as cancelled afterwards.
            continue


async def _announce(completion: SendCompletion, history: UpdateHistory) -> None:
    sending = workflow.start_activity(
        names.SEND_COMPLETION,
        completion,
        result_type=Published,
        task_queue=names.QUEUE_NOTIFICATIONS,
        start_to_close_timeout=timedelta(seconds=15),
        # Without a limit of attempts: while Kafka is away a completion waits, it is never lost.
        retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
    )
    recording = workflow.start_activity(
        names.UPDATE_HISTORY,
        history,
        result_type=Published,
        task_queue=names.QUEUE_NOTIFICATIONS,
        start_to_close_timeout=timedelta(seconds=10),
        heartbeat_timeout=timedelta(seconds=5),
        retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(seconds=1)),
    )
    await workflow.wait([sending, recording])
    if (failure := recording.exception()) is not None:
        workflow.logger.warning("history_not_recorded: %s", failure)
    sending.result()


def sort_failure(error: BaseException) -> tuple[Status, CompletionError]:
    """How a run ended that raised `error`: a failed activity raises `ActivityError`, and its cause says why."""
    if is_cancelled_exception(error):
        return Status.CANCELLED, CompletionError(code=FailureType.CANCELLED, message="the run was cancelled")
    cause = error.cause if isinstance(error, ActivityError) and error.cause else error
    if isinstance(cause, exceptions.TimeoutError):
        return Status.FAILED, CompletionError(code=FailureType.TIMED_OUT, message=bounded(_words(error)))
    if isinstance(cause, ApplicationError) and cause.type is not None and cause.type in set(FailureType):
        return Status.FAILED, CompletionError(code=cause.type, message=bounded(cause.message))
    # An exception that nobody sorted. Its text may hold anything and goes no further than Temporal and the logs.
    step = error.activity_type if isinstance(error, ActivityError) else "the workflow"
    kind = cause.type if isinstance(cause, ApplicationError) and cause.type else type(cause).__name__
    return Status.FAILED, CompletionError(code=FailureType.INTERNAL, message=bounded(f"a fault of this software in {step}: {kind}"))


def _words(error: BaseException) -> str:
    if isinstance(error, ActivityError):
        return f"{error.activity_type} did not end in time"
    return str(error)
