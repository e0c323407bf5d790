"""A completion that Kafka does not take: what is told instead, and how the run ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from schemas import names
from schemas.completion import Published, SendCompletion, UpdateHistory
from schemas.errors import FailureType
from schemas.request import Accepted, Model, OpenRequest, Origin
from workers.completion import concluded


class Text(Model):
    text: str


@workflow.defn(name="GivesLargeResults")
class GivesLargeResults:
    """Ends as its request says, with a large result or a large part of one."""

    @workflow.run
    async def run(self, accepted: Accepted[OpenRequest]) -> Text:
        large = Text(text="x" * 600_000)
        how = accepted.request.model_dump()["how"]
        return await concluded(accepted, "acme.texts.TextCompleted", self._work(how, large), partial=lambda: large)

    async def _work(self, how: str, large: Text) -> Text:
        if how == "fail":
            raise ApplicationError("no backend", type=FailureType.BACKEND_REFUSED, non_retryable=True)
        if how == "wait":
            await workflow.wait_condition(lambda: False)
        return large


class SmallTopic:
    """Of completions; it takes none with a result."""

    def __init__(self) -> None:
        self.completions: list[SendCompletion] = []
        self.history: list[UpdateHistory] = []

    @activity.defn(name=names.SEND_COMPLETION)
    async def send(self, command: SendCompletion) -> Published:
        if command.completion["result"] is not None:
            raise ApplicationError("Kafka refuses a record", type=FailureType.RESULT_TOO_LARGE, non_retryable=True)
        self.completions.append(command)
        return Published(topic="t", partition=0, offset=0)

    @activity.defn(name=names.UPDATE_HISTORY)
    async def record(self, command: UpdateHistory) -> Published:
        self.history.append(command)
        return Published(topic="t", partition=0, offset=0)

    @contextlib.asynccontextmanager
    async def working(self, client: Client, queue: str) -> AsyncIterator[None]:
        async with (
            Worker(client, task_queue=names.QUEUE_NOTIFICATIONS, activities=[self.send, self.record]),
            Worker(client, task_queue=queue, workflows=[GivesLargeResults], workflow_runner=UnsandboxedWorkflowRunner()),
        ):
            yield


@pytest.mark.parametrize(
    ("how", "status", "code", "ended"),
    [
        ("succeed", "FAILED", FailureType.RESULT_TOO_LARGE, WorkflowExecutionStatus.FAILED),
        ("fail", "FAILED", FailureType.BACKEND_REFUSED, WorkflowExecutionStatus.FAILED),
        ("wait", "CANCELLED", FailureType.CANCELLED, WorkflowExecutionStatus.CANCELED),
    ],
)
async def test_a_result_that_kafka_refuses_is_left_out_and_the_end_is_told(
    skipping: Client, how: str, status: str, code: FailureType, ended: WorkflowExecutionStatus
) -> None:
    topic, queue = SmallTopic(), uuid4().hex
    request = OpenRequest.model_validate({"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "how": how})
    accepted = Accepted[OpenRequest](request=request, origin=Origin(topic="t", partition=0, offset=0))
    async with topic.working(skipping, queue):
        run = await skipping.start_workflow(GivesLargeResults.run, accepted, id=queue, task_queue=queue)
        if how == "wait":
            await run.cancel()
        with pytest.raises(WorkflowFailureError):
            await run.result()
    assert (await run.describe()).status is ended
    [told] = topic.completions
    assert (told.completion["status"], told.completion["result"], told.completion["error"]["code"]) == (status, None, code)
    [recorded] = topic.history
    assert recorded.entry.status == status
