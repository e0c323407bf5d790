"""The last step of every workflow, whatever happened before it: the completion, awaited, with its history entry side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import exceptions, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.completion import Completion, CompletionError, History, Published, SendCompletion, Status, UpdateHistory
    from schemas.errors import FailureType, bounded
    from schemas.ids import completion_id, history_id
    from schemas.request import Accepted, Model

ResultT = TypeVar("ResultT", bound=Model)


def _nothing(_: object) -> dict[str, Any]:
    return {}


async def concluded(
    accepted: Accepted[Any],
    completed: str,
    work: Awaitable[ResultT],
    *,
    partial: Callable[[], ResultT | None] = lambda: None,
    history: Callable[[ResultT | None], Mapping[str, Any]] = _nothing,
    send: str = names.SEND_COMPLETION,
) -> ResultT:
    """Awaits `work`, tells how it ended, and ends as it did. The whole body of a workflow's `run`.

    A run without an origin tells nobody. A fault of this code fails the workflow task, which is tried again: only what the steps answer
    is an outcome.

    Args:
        accepted: The workflow's argument.
        completed: Full name of the completion record; its namespace names the domain.
        work: The steps. It fails with `ApplicationError` of a `FailureType`, an activity's or a child's error, or a cancellation.
        partial: What is told as the result of a run that failed or was cancelled: what had been done until then.
        history: The history entry's own fields (`prompt`, `key`, `url`, `size_bytes`, `sha256`), given the result or None.
        send: The name of the activity that publishes.

    """
    try:
        result = await work
    except BaseException as error:
        if not isinstance(error, FailureError) and not is_cancelled_exception(error):
            raise
        status, reason = sort_failure(error)
        await _tell(accepted, completed, status, partial(), reason, history, send)
        if status is Status.CANCELLED:
            raise
        raise ApplicationError(reason.message, type=reason.code, non_retryable=True) from error
    await _tell(accepted, completed, Status.SUCCEEDED, result, None, history, send)
    return result


async def _tell(
    accepted: Accepted[Any],
    completed: str,
    status: Status,
    result: ResultT | None,
    error: CompletionError | None,
    history: Callable[[ResultT | None], Mapping[str, Any]],
    send: str,
) -> None:
    request, origin, info, now = accepted.request, accepted.origin, workflow.info(), workflow.now()
    if origin is None:
        return
    domain = completed.split(".")[-2]
    completion = Completion[Any](
        completion_id=completion_id(request.event_id, accepted.generation),
        event_id=request.event_id,
        user_id=request.user_id,
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        status=status,
        result=result,
        error=error,
        requested_at=request.requested_at,
        started_at=info.start_time,
        completed_at=now,
    )
    entry = History(
        history_id=history_id(request.event_id, accepted.generation),
        domain=domain,
        recorded_at=now,
        **completion.model_dump(include={"event_id", "user_id", "workflow_id", "run_id", "status", "error"}),
        **history(result),
    )
    carried = {"key": origin.key, "traceparent": origin.traceparent}
    sending = SendCompletion(
        domain=domain, record=completed, completion=completion.model_dump(mode="json"), generation=accepted.generation, **carried
    )
    await _announce_shielded(sending, UpdateHistory(entry=entry, **carried), send)


async def _announce_shielded(completion: SendCompletion, history: UpdateHistory, send: str) -> None:
    """Publishes both, shielded from cancellation. Returns when the completion is acknowledged; history is best effort."""
    task = asyncio.create_task(_announce(completion, history, send))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # A cancelled run owes its completion like any other: it is awaited again, and the caller ends as cancelled afterwards.
            continue


async def _announce(completion: SendCompletion, history: UpdateHistory, send: str) -> None:
    sending = workflow.start_activity(
        send,
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
    cause = error.cause if isinstance(error, ActivityError | ChildWorkflowError) and error.cause else error
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
