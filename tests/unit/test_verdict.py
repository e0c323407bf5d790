"""What the last event of a history says of the completion."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import ActivityType, Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import ActivityFailureInfo, ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import (
    ActivityTaskCompletedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
)

from notifier.reconcile.verdict import announced, ending, next_run
from schemas import names
from schemas.completion import Status
from schemas.errors import MAX_MESSAGE


def event(kind: str, **attributes: Any) -> HistoryEvent:
    return HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE_{kind}"), **attributes)


def failed(failure: Failure) -> HistoryEvent:
    return event(
        "WORKFLOW_EXECUTION_FAILED", workflow_execution_failed_event_attributes=WorkflowExecutionFailedEventAttributes(failure=failure)
    )


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("WORKFLOW_EXECUTION_COMPLETED", Status.SUCCEEDED, None),
        ("WORKFLOW_EXECUTION_FAILED", Status.FAILED, "Internal"),
        ("WORKFLOW_EXECUTION_CANCELED", Status.CANCELLED, "Cancelled"),
        ("WORKFLOW_EXECUTION_TIMED_OUT", Status.TIMED_OUT, "TimedOut"),
        ("WORKFLOW_EXECUTION_TERMINATED", Status.TERMINATED, "Terminated"),
    ],
)
def test_every_way_to_end_has_its_status(kind: str, status: Status, code: str | None) -> None:
    found = ending(event(kind))
    assert found is not None
    assert (found.status, found.error.code if found.error else None) == (status, code)


@pytest.mark.parametrize("kind", ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED", "ACTIVITY_TASK_STARTED", "TIMER_FIRED"])
def test_a_run_that_goes_on_has_not_ended(kind: str) -> None:
    assert ending(event(kind)) is None


def test_the_failure_of_a_step_is_not_hidden_behind_its_wrapping() -> None:
    cause = Failure(message="no room", application_failure_info=ApplicationFailureInfo(type="StorageUnavailable"))
    found = ending(failed(Failure(message="Activity task failed", activity_failure_info=ActivityFailureInfo(), cause=cause)))
    assert found is not None
    assert found.error is not None
    assert (found.error.code, found.error.message) == ("StorageUnavailable", "no room")


def test_a_failure_of_any_length_fits_into_a_completion() -> None:
    found = ending(failed(Failure(message="x" * 10**6)))
    assert found is not None
    assert found.error is not None
    assert len(found.error.message) == MAX_MESSAGE


def test_an_operators_reason_of_any_length_fits_into_a_completion() -> None:
    attributes = WorkflowExecutionTerminatedEventAttributes(reason="x" * 10**6)
    found = ending(event("WORKFLOW_EXECUTION_TERMINATED", workflow_execution_terminated_event_attributes=attributes))
    assert found is not None
    assert found.error is not None
    assert len(found.error.message) < MAX_MESSAGE


def test_a_chain_goes_on_where_a_run_ends() -> None:
    attributes = WorkflowExecutionContinuedAsNewEventAttributes(new_execution_run_id="next")
    assert next_run(event("WORKFLOW_EXECUTION_CONTINUED_AS_NEW", workflow_execution_continued_as_new_event_attributes=attributes)) == "next"
    assert next_run(event("WORKFLOW_EXECUTION_TERMINATED")) == ""


@pytest.mark.parametrize(
    ("name", "done", "is_told"),
    [(names.SEND_COMPLETION, 7, True), (names.NOTIFY_USER, 7, True), (names.SEND_COMPLETION, 6, False), ("x", 7, False)],
)
def test_only_what_the_run_has_really_published_counts_as_told(name: str, done: int, is_told: bool) -> None:
    given = Payloads(payloads=[Payload(data=b"{}")])
    scheduled = ActivityTaskScheduledEventAttributes(activity_type=ActivityType(name=name), input=given)
    events = [
        event("ACTIVITY_TASK_SCHEDULED", event_id=7, activity_task_scheduled_event_attributes=scheduled),
        event(
            "ACTIVITY_TASK_COMPLETED",
            activity_task_completed_event_attributes=ActivityTaskCompletedEventAttributes(scheduled_event_id=done),
        ),
    ]
    assert announced(events) == (given if is_told else None)
