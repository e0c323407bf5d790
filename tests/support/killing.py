"""SIGKILL of a real worker process in the worst moment of each step: when it has acted, and nobody knows.

A proxy before Temporal keeps back what the worker says of a step: the activity's result, or the workflow task whose commands tell of a
local activity, a child or the run's end. The server takes the step for running, the worker for done. One run for each step waits there
side by side; then one SIGKILL hits all of them, and a second worker has to end each.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import AliasChoices, SecretStr
from temporalio.api.enums.v1 import CommandType, PendingActivityState
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskCompletedResponse,
)
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from headrace import setup, temporal
from headrace.completions import Received, completions
from headrace.settings import Settings
from headrace.wire import Wire
from notifier.__main__ import main as notifier
from schemas.catalog import Catalog, shipped
from schemas.completion import Status
from schemas.ids import workflow_id
from schemas.request import Accepted, Request
from tests.faults.members import environment
from tests.support import runs
from tests.support.eventually import eventually
from tests.support.temporal_namespace import in_namespace_of_its_own
from tests.support.temporal_proxy import TemporalProxy

END = "COMPLETE_WORKFLOW_EXECUTION"
"""The step in which a run that succeeds ends."""
CANCELLED_END = "CANCEL_WORKFLOW_EXECUTION"

_NAMED = (CommandType.COMMAND_TYPE_RECORD_MARKER, CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
_CLOSED = {Status.SUCCEEDED: WorkflowExecutionStatus.COMPLETED, Status.CANCELLED: WorkflowExecutionStatus.CANCELED}


@dataclass(frozen=True)
class Row:
    """A workflow, and the steps in which its worker is killed, one run for each."""

    workflow: str
    task_queue: str
    request: Callable[[UUID], Request]
    """A request that succeeds, of the given event ID."""
    steps: Sequence[str]
    """Names of activities (local ones and those of children too), the type of a child that is started, or `END`."""
    signal: str | None = None
    """Sent before the first step."""
    ends: Status = Status.SUCCEEDED


@dataclass
class Held:
    """One run and the step that it is to be held in."""

    row: Row
    step: str
    event_id: UUID = field(default_factory=uuid4)
    token: bytes | None = None
    """Of the task of which the worker tells; None until it is held."""

    def __str__(self) -> str:
        return f"{self.row.workflow} killed in {self.step}"


class HoldingProxy(TemporalProxy):
    """Never forwards what a worker says of the steps in `held`."""

    def __init__(self, address: Callable[[], str], held: list[Held]) -> None:
        super().__init__(address)
        self._held = held
        self._tasks: dict[bytes, tuple[str, str]] = {}
        """By task token: the workflow ID, and the activity's name or nothing."""

    async def _serve(self, method: str, request: bytes, context: Any) -> bytes:
        name = method.rpartition("/")[2]
        if self._is_held(name, request):
            await asyncio.Event().wait()
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
        steps: Callable[[str, str], bool]
        if name in ("RespondActivityTaskCompleted", "RespondActivityTaskFailed"):
            kind = RespondActivityTaskCompletedRequest if name.endswith("Completed") else RespondActivityTaskFailedRequest
            token = kind.FromString(request).task_token
            steps = _is_activity
        elif name == "RespondWorkflowTaskCompleted":
            told = RespondWorkflowTaskCompletedRequest.FromString(request)
            token = told.task_token
            commands = list(told.commands)
            steps = lambda step, _: any(_tells_of(command, step) for command in commands)  # noqa: E731 - beside its other
        else:
            return False
        run, activity = self._tasks.get(token, ("", ""))
        for held in self._held:
            # A child's workflow ID has its parent's in it.
            if str(held.event_id) in run and (held.token == token or (held.token is None and steps(held.step, activity))):
                held.token = token
                return True
        return False


def _is_activity(step: str, activity: str) -> bool:
    return step == activity


def _tells_of(command: Any, step: str) -> bool:
    if command.command_type in _NAMED:
        return step.encode() in command.SerializeToString()
    return bool(CommandType.Name(command.command_type) == f"COMMAND_TYPE_{step}")


async def kill_in_every_step(settings: Settings, folder: Path, domain: str, rows: Sequence[Row]) -> dict[str, list[str]]:
    """What is wrong, by run; empty when each ended as its row says, with one completion."""
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    client, stop = await temporal.connect(settings), asyncio.Event()
    held = [Held(row, step) for row in rows for step in row.steps]
    telling = asyncio.create_task(notifier(settings, stop))
    try:
        async with (
            HoldingProxy(lambda: settings.temporal_address, held) as proxy,
            _worker(settings, folder / "first.log", domain, f"127.0.0.1:{proxy.port}") as first,
        ):
            handles = [await _start(client, domain, each) for each in held]
            await eventually(lambda: all(each.token for each in held), timeout=90)
            for each, handle in zip(held, handles, strict=True):
                await _assert_under_way(handle, each)
            first.kill()
            await first.wait()
        async with _worker(settings, folder / "second.log", domain, settings.temporal_address):
            async with asyncio.timeout(150):
                await asyncio.gather(*(runs.ended(handle) for handle in handles))
    finally:
        stop.set()
        await telling
    return await _wrong(settings, domain, held, handles)


@contextlib.asynccontextmanager
async def _worker(settings: Settings, log: Path, domain: str, address: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m workers --domain D` that listens to the Temporal at `address`; killed on leaving."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers", "--domain", domain),
            env=environment({**_variables(settings), "TEMPORAL_ADDRESS": address, "HEADRACE_STATE_DIR": str(log.parent)}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        await eventually(lambda: b"worker_started" in log.read_bytes() or process.returncode is not None, timeout=60)
        assert process.returncode is None, log.read_text()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _variables(settings: Settings) -> dict[str, str]:
    """The settings that a test has set, as a process reads them."""
    found = {}
    for name in settings.model_fields_set:
        alias, value = Settings.model_fields[name].validation_alias, getattr(settings, name)
        variable = alias.choices[0] if isinstance(alias, AliasChoices) else alias or f"HEADRACE_{name.upper()}"
        if value is not None:
            found[str(variable)] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return found


async def _start(client: Client, domain: str, each: Held) -> WorkflowHandle[Any, Any]:
    accepted: Accepted[Any] = Accepted(request=each.row.request(each.event_id), origin=runs.origin(f"{domain}.requests"))
    handle: WorkflowHandle[Any, Any] = await client.start_workflow(
        each.row.workflow,
        accepted,
        id=workflow_id(domain, each.event_id),
        task_queue=each.row.task_queue,
        start_signal=each.row.signal,
    )
    return handle


async def _assert_under_way(handle: WorkflowHandle[Any, Any], each: Held) -> None:
    """Temporal takes the step for running: its activity, here or in a child, or a workflow task."""
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING, str(each)
    for child in described.raw_description.pending_children:
        described = await handle._client.get_workflow_handle(child.workflow_id).describe()
    found = described.raw_description
    pending = {activity.activity_type.name: activity.state for activity in found.pending_activities}
    started = pending.get(each.step) == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    assert started or found.HasField("pending_workflow_task"), f"{each}: Temporal shows {pending}"


async def _wrong(
    settings: Settings, domain: str, held: Sequence[Held], handles: Sequence[WorkflowHandle[Any, Any]]
) -> dict[str, list[str]]:
    told: dict[UUID, list[Received]] = {}
    wire = Wire.of(settings, Catalog(shipped()))
    async with contextlib.aclosing(completions(settings, wire, [domain])) as found:
        async for received in found:
            told.setdefault(received.completion["event_id"], []).append(received)
    await wire.close()
    wrong: dict[str, list[str]] = {}
    for each, handle in zip(held, handles, strict=True):
        status = (await handle.describe()).status
        statuses = [received.completion["status"] for received in told.pop(each.event_id, [])]
        if statuses != [each.row.ends.value] or status is not _CLOSED[each.row.ends]:
            wrong[str(each)] = [f"the run is {status.name if status else None}", *statuses]
    if told:
        wrong["completions of events that nobody sent"] = [str(event_id) for event_id in told]
    return wrong
