"""The last step of every workflow, whatever happened before it: the completion, awaited, with its history entry side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from datetime import datetime, timedelta
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
T = TypeVar("T")

_LARGE_BYTES = 512 * 1024
"""Of a completion as JSON."""


def _nothing(_: object) -> dict[str, Any]:
    return {}


async def concluded(
    accepted: Accepted[Any] | None,
    completed: str,
    work: Awaitable[ResultT],
    *,
    partial: Callable[[], ResultT | None] = lambda: None,
    history: Callable[[ResultT | None], Mapping[str, Any]] = _nothing,
    send: str = names.SEND_COMPLETION,
    codes: Collection[str] = (),
    since: datetime | None = None,
) -> ResultT:
    """Awaits `work`, tells how it ended, and ends as it did. The whole body of a workflow's `run`.

    A run without an origin, or without a request at all, tells nobody. A fault of this code fails the workflow task, which is tried
    again: only what the steps answer is an outcome.

    Args:
        accepted: The workflow's argument; None for a run that nobody asked for, on a schedule.
        completed: Full name of the completion record; its namespace names the domain.
        work: The steps. It fails with `ApplicationError` of a `FailureType`, an activity's or a child's error, or a cancellation.
        partial: What is told as the result of a run that failed or was cancelled: what had been done until then.
        history: The history entry's own fields (`prompt`, `key`, `url`, `size_bytes`, `sha256`, `backend`), given the result or None.
        send: The name of the activity that publishes.
        codes: Types of `ApplicationError` that a team's own steps raise, to be told as they are, as a `FailureType` is.
        since: When the first run started, of a chain that continued as new.

    """
    try:
        result = await work
    except BaseException as error:
        if not isinstance(error, FailureError) and not is_cancelled_exception(error):
            raise
        status, reason = sort_failure(error, codes)
        await _tell(accepted, completed, status, partial(), reason, history, send, since)
        if status is Status.CANCELLED:
            raise
        raise ApplicationError(reason.message, type=reason.code, non_retryable=True) from error
    await _tell(accepted, completed, Status.SUCCEEDED, result, None, history, send, since)
    return result


async def _tell(
    accepted: Accepted[Any] | None,
    completed: str,
    status: Status,
    result: ResultT | None,
    error: CompletionError | None,
    history: Callable[[ResultT | None], Mapping[str, Any]],
    send: str,
    since: datetime | None,
) -> None:
    if accepted is None or accepted.origin is None:
        return
    request, origin, info, now = accepted.request, accepted.origin, workflow.info(), workflow.now()
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
        started_at=since or info.start_time,
        completed_at=now,
    )
    entry = History(
        history_id=history_id(request.event_id, accepted.generation),
        domain=domain,
        recorded_at=now,
        **completion.model_dump(include={"event_id", "user_id", "workflow_id", "run_id", "status", "error", "requested_at", "started_at"}),
        **{"backend": getattr(request, "backend", None), **history(result)},
    )
    carried = {"key": origin.key, "traceparent": origin.traceparent}
    sending = SendCompletion(
        domain=domain, record=completed, completion=completion.model_dump(mode="json"), generation=accepted.generation, **carried
    )
    # Twice as much in Avro is what a topic takes unless it is configured: smaller ones are told and recorded in one workflow task.
    alone = len(completion.model_dump_json()) > _LARGE_BYTES
    try:
        await shielded(_announce(sending, UpdateHistory(entry=entry, **carried), send, alone=alone))
    except ActivityError as refused:
        too_large = sort_failure(refused)[1]
        if result is None or too_large.code != FailureType.RESULT_TOO_LARGE:
            raise
        failed = Status.FAILED if error is None else status
        await _tell(accepted, completed, failed, None, error or too_large, history, send, since)  # type: ignore[type-var] # of no result
        if error is None:
            raise ApplicationError(too_large.message, type=too_large.code, non_retryable=True) from refused


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives or raises, however often the run is cancelled meanwhile; the caller sees to it that it ends as cancelled."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # What a run owes it owes when it is cancelled too: it is awaited again.
            continue
    return task.result()


async def _announce(completion: SendCompletion, history: UpdateHistory, send: str, *, alone: bool) -> None:
    """Publishes both. Returns when the completion is acknowledged; history is best effort.

    With `alone` the completion first: Kafka may refuse it, and what is told instead has another history entry.
    """
    sending = workflow.start_activity(
        send,
        completion,
        result_type=Published,
        task_queue=names.QUEUE_NOTIFICATIONS,
        start_to_close_timeout=timedelta(seconds=15),
        # Without a limit of attempts: while Kafka is away a completion waits, it is never lost.
        retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
    )
    if alone:
        await sending
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


def sort_failure(error: BaseException, codes: Collection[str] = ()) -> tuple[Status, CompletionError]:
    """How a run ended that raised `error`: a failed activity raises `ActivityError`, and its cause says why."""
    if is_cancelled_exception(error):
        # A workflow that has more to say raises Temporal's own error; everything else that is cancelled has no words.
        said = error.message if isinstance(error, exceptions.CancelledError) else "the run was cancelled"
        return Status.CANCELLED, CompletionError(code=FailureType.CANCELLED, message=bounded(said))
    cause = error.cause if isinstance(error, ActivityError | ChildWorkflowError) and error.cause else error
    if isinstance(cause, exceptions.TimeoutError):
        return Status.FAILED, CompletionError(code=FailureType.TIMED_OUT, message=f"{_step(error)} did not end in time")
    if isinstance(cause, exceptions.TerminatedError):
        return Status.FAILED, CompletionError(code=FailureType.TERMINATED, message=f"{_step(error)} was terminated")
    if isinstance(cause, exceptions.WorkflowAlreadyStartedError):
        said = f"the run {bounded(cause.workflow_id, 200)} exists already, and is not run twice"
        return Status.FAILED, CompletionError(code=FailureType.ALREADY_STARTED, message=said)
    if isinstance(cause, ApplicationError) and cause.type is not None and cause.type in {*FailureType, *codes}:
        return Status.FAILED, CompletionError(code=cause.type, message=bounded(cause.message))
    # An exception that nobody sorted. Its text may hold anything and goes no further than Temporal and the logs.
    kind = cause.type if isinstance(cause, ApplicationError) and cause.type else type(cause).__name__
    return Status.FAILED, CompletionError(code=FailureType.INTERNAL, message=bounded(f"a fault of this software in {_step(error)}: {kind}"))


def _step(error: BaseException) -> str:
    if isinstance(error, ActivityError):
        return error.activity_type
    return error.workflow_type if isinstance(error, ChildWorkflowError) else "the workflow"
