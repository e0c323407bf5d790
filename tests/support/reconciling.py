"""A reconciler in the test's own process, on a real Temporal and Kafka; runs that tell nobody; and the ledger rows of their events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from aiokafka import ConsumerRecord
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headrace import kafka
from headrace.settings import Settings
from headrace.store.tables import LEDGER, OPEN_EVENTS
from headrace.wire import Wire
from notifier.__main__ import Publishing, publishing
from notifier.reconcile.activities import ReconcileActivities
from notifier.reconcile.events import OpenEvents
from notifier.reconcile.runs import Runs
from notifier.rerun.rows import Generation, RerunRows
from schemas.ids import workflow_id
from schemas.image import ImageGenerationRequested
from schemas.reconcile import Reconcile, Reconciled
from schemas.request import Accepted, Origin
from schemas.topics import Topics
from tests.support.ingress import REQUESTED, fields, framed, read_all

KEY = b"\xff\x00key"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@workflow.defn(name="Untold")
class Untold:
    """Ends as its request's prompt says, and tells nobody."""

    @workflow.run
    async def run(self, accepted: Accepted[ImageGenerationRequested]) -> str:
        match accepted.request.prompt.split(" ", 1)[0]:
            case "fail":
                raise ApplicationError("the store is on fire", type="StorageUnavailable", non_retryable=True)
            case "break":
                raise ApplicationError("what a team says", type="TeamsOwn", non_retryable=True)
            case "again":
                following = accepted.request.model_copy(update={"prompt": accepted.request.prompt.split(" ", 1)[1]})
                workflow.continue_as_new(accepted.model_copy(update={"request": following}))
            case "end":
                return "done"
            case _:
                await workflow.wait_condition(lambda: False)
        raise AssertionError


@dataclass
class Stand:
    """What a test has at hand."""

    settings: Settings
    store: AsyncEngine
    client: Client
    publishing: Publishing
    queue: str
    runs: list[Runs] = field(default_factory=list)

    @property
    def wire(self) -> Wire:
        return self.publishing.wire

    async def accept(self, *, prompt: str = "wait", started: bool = True, **row: Any) -> UUID:
        """An event: its record in Kafka and its row in the ledger."""
        request = ImageGenerationRequested.model_validate(fields(prompt=prompt))
        topic = Topics(self.settings.topic_prefix).requests("image")
        headers = [("traceparent", TRACEPARENT.encode())]
        async with kafka.producer(self.settings, idempotent=False) as producer:
            sent = await producer.send_and_wait(topic, framed(request.model_dump()), key=KEY, headers=headers)
        identity = workflow_id("image", request.event_id)
        if started:
            origin = Origin(topic=topic, partition=sent.partition, offset=sent.offset, key=KEY, traceparent=TRACEPARENT)
            handle = await self.client.start_workflow(
                "Untold",
                Accepted(request=request, origin=origin),
                id=identity,
                task_queue=self.queue,
                execution_timeout=row.pop("timeout", None),
            )
            row = {"run_id": handle.result_run_id, **row}
        await self.claim(request.event_id, partition=sent.partition, offset=sent.offset, workflow_id=identity, **row)
        return request.event_id

    async def claim(self, event_id: UUID, **row: Any) -> None:
        """A row of the ledger as the ingress leaves it."""
        known = {
            "event_id": event_id,
            "record": REQUESTED,
            "payload_sha256": bytes(32),
            "topic": Topics(self.settings.topic_prefix).requests("image"),
            "partition": 0,
            "offset": 10**9,
            "disposition": "started",
            "workflow_id": workflow_id("image", event_id),
            "run_id": None,
            "claimed_at": datetime.now(UTC) - timedelta(seconds=1),
            "settled_at": None,
        }
        async with self.store.begin() as connection:
            await connection.execute(insert(LEDGER).values({**known, **row}))

    async def run_again(self, event_id: UUID, prompt: str = "wait", *, generation: int = 2, settled: bool = True) -> str:
        """A later generation as a rerun leaves it; the run's ID. `prompt` says how it ends."""
        rows, rerun_id, before = RerunRows(self.store), uuid4(), await self.handle(event_id).describe()
        accepted = await self.accepted(event_id, before.run_id)
        assert accepted.origin is not None
        wanted = Generation(event_id, generation, before.id, before.run_id, REQUESTED, accepted.origin)
        assert await rows.claim(rerun_id, wanted)
        run_id = await self.start_again(event_id, prompt, generation)
        if settled:
            await rows.settle(before.run_id, run_id)
        return run_id

    async def start_again(self, event_id: UUID, prompt: str = "wait", generation: int = 1) -> str:
        """Another run of the workflow, of which no row knows; its ID."""
        accepted = await self.accepted(event_id, None)
        changed = {"generation": generation, "request": accepted.request.model_copy(update={"prompt": prompt})}
        again = accepted.model_copy(update=changed)
        handle = await self.client.start_workflow("Untold", again, id=workflow_id("image", event_id), task_queue=self.queue)
        return handle.result_run_id or ""

    async def accepted(self, event_id: UUID, run_id: str | None) -> Accepted[ImageGenerationRequested]:
        """What a run was started with."""
        handle = self.client.get_workflow_handle(workflow_id("image", event_id), run_id=run_id)
        first = await anext(aiter(handle.fetch_history_events(page_size=1)))
        [argument] = await self.client.data_converter.decode(first.workflow_execution_started_event_attributes.input.payloads)
        return Accepted[ImageGenerationRequested].model_validate(argument)

    def handle(self, event_id: UUID) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id("image", event_id))

    def activities(self) -> ReconcileActivities:
        def make() -> Runs:
            self.runs.append(Runs(self.client))
            return self.runs[-1]

        return ReconcileActivities(OpenEvents(self.store), self.publishing.completions, make, self.settings, self.wire)

    async def reconcile(self, **asked: Any) -> Reconciled:
        """One round, of a reconciler that waits for nobody."""
        acts, argument = self.activities(), Reconcile(**{"grace_seconds": 0, **asked})
        await ActivityEnvironment().run(acts.note_open_events, argument)
        found: Reconciled = await ActivityEnvironment().run(acts.complete_ended_runs, argument)
        return found

    async def make_due(self) -> None:
        async with self.store.begin() as connection:
            await connection.execute(update(OPEN_EVENTS).values(next_check=datetime.now(UTC)))

    async def open_events(self) -> set[UUID]:
        async with self.store.connect() as connection:
            return set((await connection.execute(select(OPEN_EVENTS.c.event_id))).scalars())

    async def records(self) -> list[ConsumerRecord]:
        """Of the completion topic, byte for byte."""
        return await read_all(self.settings, Topics(self.settings.topic_prefix).completions("image"))

    async def completions(self, event_id: UUID) -> list[dict[str, Any]]:
        """The records of one event, repeats too, with their keys and headers."""
        found = []
        for record in await self.records():
            value = (await self.wire.decode(record.value)).value
            if value["event_id"] == event_id:
                found.append({**value, "key": record.key, "headers": dict(record.headers)})
        return found


@contextlib.asynccontextmanager
async def stand(settings: Settings, store: AsyncEngine, client: Client) -> AsyncIterator[Stand]:
    """With a worker for `Untold`; the topics are there."""
    queue = f"untold-{uuid4()}"
    worker = Worker(client, task_queue=queue, workflows=[Untold], workflow_runner=UnsandboxedWorkflowRunner())
    async with publishing(settings, store, asyncio.Event()) as made, worker:
        yield Stand(settings, store, client, made, queue)
