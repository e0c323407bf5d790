"""Completions and history, and the two activities of the notifier that publish them."""

from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict

from schemas.request import Generation, Model


class Status(StrEnum):
    """How a request ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    TERMINATED = "TERMINATED"
    REJECTED = "REJECTED"


class CompletionError(Model):
    code: str
    """A `FailureType`, or for REJECTED the dead letter's `Reason`."""
    message: str


ResultT = TypeVar("ResultT", bound=Model)


class Completion(Model, Generic[ResultT]):
    """The record `<Request name without "Requested">Completed`."""

    completion_id: UUID
    event_id: UUID
    user_id: str
    workflow_id: str | None = None
    run_id: str | None = None
    status: Status
    result: ResultT | None = None
    error: CompletionError | None = None
    requested_at: AwareDatetime
    started_at: AwareDatetime | None = None
    completed_at: AwareDatetime


class OpenResult(Model):
    """A result of which nothing is known here: that of a team's own workflow. Its schema says what is in it."""

    model_config = ConfigDict(extra="allow")


OpenCompletion = Completion[OpenResult]


class History(Model):
    """The record `headrace.history.HistoryRecorded`."""

    history_id: UUID
    event_id: UUID
    user_id: str
    domain: str
    workflow_id: str
    run_id: str
    status: Status
    prompt: str = ""
    key: str | None = None
    url: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    error: CompletionError | None = None
    recorded_at: AwareDatetime
    backend: str | None = None
    requested_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None


class SendCompletion(Model):
    """Argument of the activity `send_completion_notification`."""

    domain: str
    record: str
    """Full name of the completion record."""
    completion: dict[str, Any]
    """The completion's fields as JSON."""
    key: bytes | None = None
    traceparent: str | None = None
    generation: Generation = 1


class UpdateHistory(Model):
    """Argument of the activity `update_generation_history`."""

    entry: History
    key: bytes | None = None
    traceparent: str | None = None


class Published(Model):
    """Where a record was acknowledged. Result of both activities."""

    topic: str
    partition: int
    offset: int


def completion_record(request_record: str) -> str:
    """`headrace.image.ImageGenerationRequested` -> `headrace.image.ImageGenerationCompleted`."""
    return request_record.removesuffix("Requested") + "Completed"
