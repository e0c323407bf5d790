"""From the last event of a history to the status of a completion. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from schemas import names
from schemas.completion import CompletionError, Status
from schemas.errors import FailureType, bounded

_WHY = 300
"""Characters of somebody's reason."""

GONE = CompletionError(
    code=FailureType.RUN_GONE,
    message="Temporal knows the run no more: it was deleted, or it has ended without telling and its retention has passed",
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, and when."""

    status: Status
    error: CompletionError | None
    closed_at: datetime


def ending(last: HistoryEvent) -> Ending | None:
    """None for an event that closes nothing."""
    closed_at = last.event_time.ToDatetime(UTC)
    match last.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED | EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            return Ending(Status.SUCCEEDED, None, closed_at)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return Ending(Status.FAILED, _failure(last.workflow_execution_failed_event_attributes.failure), closed_at)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            return Ending(Status.CANCELLED, CompletionError(code=FailureType.CANCELLED, message="the run was cancelled"), closed_at)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            error = CompletionError(code=FailureType.TIMED_OUT, message="the run did not end within its time-out")
            return Ending(Status.TIMED_OUT, error, closed_at)
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            reason = bounded(last.workflow_execution_terminated_event_attributes.reason, _WHY)
            message = "the run was terminated" + (f": {reason}" if reason else "")
            return Ending(Status.TERMINATED, CompletionError(code=FailureType.TERMINATED, message=message), closed_at)
        case _:
            return None


def next_run(last: HistoryEvent) -> str:
    """The run that goes on where this one ended (continue-as-new, a retry, a cron's next); empty for the end of the chain."""
    kind = last.WhichOneof("attributes")
    attributes = getattr(last, kind) if kind else None
    return str(getattr(attributes, "new_execution_run_id", ""))


def announced(events: Sequence[HistoryEvent]) -> Payloads | None:
    """Argument of the completion that the run itself has published: then that is how it ended, whatever closed it afterwards."""
    done = {
        event.activity_task_completed_event_attributes.scheduled_event_id
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    }
    for event in reversed(events):
        scheduled = event.activity_task_scheduled_event_attributes
        is_send = event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED and scheduled.activity_type.name in (
            names.SEND_COMPLETION,
            names.NOTIFY_USER,
        )
        if is_send and event.event_id in done:
            return scheduled.input
    return None


def _failure(failure: Failure) -> CompletionError:
    """A failed step's failure wraps the one that says why."""
    while (failure.HasField("activity_failure_info") or failure.HasField("child_workflow_execution_failure_info")) and failure.HasField(
        "cause"
    ):
        failure = failure.cause
    kind = failure.application_failure_info.type
    code = kind if kind in set(FailureType) else FailureType.INTERNAL
    return CompletionError(code=code, message=bounded(failure.message or "the run failed"))
