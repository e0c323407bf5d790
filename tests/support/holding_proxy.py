"""A proxy before Temporal that keeps back what a worker says of chosen steps: the worker has acted, and nobody knows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import grpc.aio  # type: ignore[import-untyped]
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskCompletedResponse,
)

from schemas.completion import Status
from schemas.request import Request
from tests.support.temporal_proxy import TemporalProxy

END = "COMPLETE_WORKFLOW_EXECUTION"
"""The step in which a run that succeeds ends."""
FAILED_END = "FAIL_WORKFLOW_EXECUTION"
CANCELLED_END = "CANCEL_WORKFLOW_EXECUTION"

_NAMED = (CommandType.COMMAND_TYPE_RECORD_MARKER, CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
_ANSWERS: dict[str, Any] = {
    "RespondActivityTaskCompleted": RespondActivityTaskCompletedRequest,
    "RespondActivityTaskFailed": RespondActivityTaskFailedRequest,
}
_HEARTBEAT = "RecordActivityTaskHeartbeat"
_BEAT_SECONDS = 2.0


@dataclass(frozen=True)
class Row:
    """A workflow, and the steps in which its worker is killed, one run for each."""

    workflow: str
    task_queue: str
    request: Callable[[UUID], Request]
    """A request of the given event ID that ends as `ends` says."""
    steps: Sequence[str]
    """Names of activities (local ones and those of children too), the type of a child that is started, or one of the ends."""
    signal: str | None = None
    """Sent before the first step."""
    cancelled_in: str | None = None
    """The activity in which the run is cancelled: it has acted, what it says is lost, and only then the cancel comes."""
    ends: Status = Status.SUCCEEDED


@dataclass(eq=False)
class Held:
    """One run and the step that it is to be held in."""

    row: Row
    step: str
    event_id: UUID = field(default_factory=uuid4)
    tokens: set[bytes] = field(default_factory=set)
    """Of the tasks of which the worker tells; none until it is held. More than one: steps side by side, or a later attempt."""
    lost: set[bytes] = field(default_factory=set)
    """The same of the activity in which the run is cancelled."""

    def __str__(self) -> str:
        return f"{self.row.workflow} killed in {self.step}" + (f", cancelled in {self.row.cancelled_in}" if self.row.cancelled_in else "")


class HoldingProxy(TemporalProxy):
    """Never forwards what a worker says of the steps in `held`, in any attempt.

    While an activity is held its last heartbeat is repeated: to the server it goes on until its worker is killed.
    """

    def __init__(self, address: Callable[[], str], held: Sequence[Held]) -> None:
        super().__init__(address)
        self._held = held
        self._tasks: dict[bytes, tuple[str, str]] = {}
        """By task token: the workflow ID, and the activity's name or nothing."""
        self._beats: dict[bytes, bytes] = {}
        """By task token: the last heartbeat."""

    @contextlib.asynccontextmanager
    async def beating(self, namespace: str) -> AsyncIterator[None]:
        beat = self._channel.unary_unary(f"/temporal.api.workflowservice.v1.WorkflowService/{_HEARTBEAT}")

        async def repeat() -> None:
            while True:
                for token in [token for each in self._held for token in each.tokens if self._tasks[token][1]]:
                    empty = RecordActivityTaskHeartbeatRequest(namespace=namespace, task_token=token)
                    with contextlib.suppress(grpc.aio.AioRpcError):  # of an attempt that is over
                        await beat(self._beats.get(token, empty.SerializeToString()))
                await asyncio.sleep(_BEAT_SECONDS)

        beats = asyncio.create_task(repeat())
        try:
            yield
        finally:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats

    async def _serve(self, method: str, request: bytes, context: Any) -> bytes:
        name = method.rpartition("/")[2]
        if self._is_held(name, request):
            await asyncio.Event().wait()
        if name == _HEARTBEAT:
            self._beats[RecordActivityTaskHeartbeatRequest.FromString(request).task_token] = request
        answer = await super()._serve(method, request, context)
        if name == "PollWorkflowTaskQueue":
            task = PollWorkflowTaskQueueResponse.FromString(answer)
            self._tasks[task.task_token] = (task.workflow_execution.workflow_id, "")
        elif name == "PollActivityTaskQueue":
            self._remember(PollActivityTaskQueueResponse.FromString(answer))
        elif name == "RespondWorkflowTaskCompleted":
            found = RespondWorkflowTaskCompletedResponse.FromString(answer)
            if found.HasField("workflow_task"):
                self._tasks[found.workflow_task.task_token] = (found.workflow_task.workflow_execution.workflow_id, "")
            for eager in found.activity_tasks:
                self._remember(eager)
        return answer

    def _remember(self, task: PollActivityTaskQueueResponse) -> None:
        self._tasks[task.task_token] = (task.workflow_execution.workflow_id, task.activity_type.name)

    def _is_held(self, name: str, request: bytes) -> bool:
        if name in _ANSWERS:
            token: bytes = _ANSWERS[name].FromString(request).task_token
            run, activity = self._tasks.get(token, ("", ""))
            return any(_hold(held, token, activity) for held in self._held_in(run))
        if name == "RespondWorkflowTaskCompleted":
            told = RespondWorkflowTaskCompletedRequest.FromString(request)
            run, _ = self._tasks.get(told.task_token, ("", ""))
            for held in self._held_in(run):
                if any(_tells_of(command, held.step) for command in told.commands):
                    held.tokens.add(told.task_token)
                    return True
        return False

    def _held_in(self, run: str) -> list[Held]:
        """A child's workflow ID has its parent's in it."""
        return [held for held in self._held if str(held.event_id) in run]


def _hold(held: Held, token: bytes, activity: str) -> bool:
    if activity == held.row.cancelled_in:
        held.lost.add(token)
    if activity == held.step:
        held.tokens.add(token)
    return activity in (held.step, held.row.cancelled_in)


def _tells_of(command: Any, step: str) -> bool:
    if command.command_type in _NAMED:
        return step.encode() in command.SerializeToString()
    return bool(CommandType.Name(command.command_type) == f"COMMAND_TYPE_{step}")
