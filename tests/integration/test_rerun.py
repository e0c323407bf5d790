"""Starting events anew whose run failed: the activity on the real Temporal, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest_asyncio
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import Priority, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headrace import setup, temporal
from headrace.settings import Settings
from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS, OPEN_EVENTS, RERUNS
from notifier.rerun.activities import RerunActivities
from schemas import ids, names
from schemas.image import ImageGenerationRequested
from schemas.redrive import Rerun, RerunTally, RunSelection
from schemas.request import Accepted, Origin
from tests.support.eventually import eventually
from tests.support.ingress import REQUESTED, fields
from tests.support.temporal_namespace import in_namespace_of_its_own


@workflow.defn(name="FailsAtFirst")
class FailsAtFirst:
    """Fails in its first generation; the second waits until it is told to end."""

    def __init__(self) -> None:
        self._go_on = False

    @workflow.signal
    def go_on(self) -> None:
        self._go_on = True

    @workflow.run
    async def run(self, accepted: Accepted[ImageGenerationRequested]) -> int:
        if accepted.generation == 1:
            raise ApplicationError("no", type="BackendRefused", non_retryable=True)
        await workflow.wait_condition(lambda: self._go_on)
        return accepted.generation


@dataclass
class World:
    """A namespace with a worker, and the rerun's activity."""

    client: Client
    store: AsyncEngine
    queue: str

    async def fail(self, *, told: bool = True, origin: bool = True, **options: Any) -> Accepted[Any]:
        """An event whose run fails."""
        request = ImageGenerationRequested.model_validate(fields())
        came_from = Origin(topic="image.requests", partition=1, offset=2, key=b"\xff\x00key")
        accepted: Accepted[Any] = Accepted(request=request, origin=came_from if origin else None)
        handle = await self.client.start_workflow(
            "FailsAtFirst",
            accepted,
            id=ids.workflow_id("image", request.event_id),
            search_attributes=attributes(request),
            priority=Priority(priority_key=2, fairness_key="u"),
            **{"task_queue": self.queue, **options},
        )
        if "start_delay" not in options:
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
        if told:
            await self.tell(request.event_id)
        return accepted

    async def tell(self, event_id: UUID) -> None:
        """As if the completion of the first generation had been published."""
        row = {"completion_id": ids.completion_id(event_id), "event_id": event_id, "record": "r", "topic": "t"}
        async with self.store.begin() as connection:
            await insert_once(connection, COMPLETIONS, {**row, "partition": 0, "offset": 0, "published_at": datetime.now(UTC)})

    def asked(self, *event_ids: UUID, **changed: Any) -> Rerun:
        selection = RunSelection(
            records=(REQUESTED,),
            event_ids=frozenset(event_ids),
            until=datetime.now(UTC) + timedelta(hours=1),
            codes=changed.pop("codes", frozenset()),
        )
        return Rerun.model_validate({"rerun_id": uuid4(), "selection": selection, **changed})

    async def rerun(self, asked: Rerun) -> RerunTally:
        activities = RerunActivities(self.client, self.store)
        return (await ActivityEnvironment().run(activities.rerun_failed_runs, asked)).tally

    async def seen(self, *event_ids: UUID) -> None:
        """Until Temporal's visibility shows their failed runs."""

        async def shown() -> bool:
            return (await self.rerun(self.asked(*event_ids, dry_run=True))).found == len(event_ids)

        await eventually(shown, timeout=30)

    async def runs(self, event_id: UUID) -> list[str]:
        found = [run.run_id async for run in self.client.list_workflows(f"WorkflowId = '{ids.workflow_id('image', event_id)}'")]
        return sorted(found)

    async def rows(self) -> list[Any]:
        async with self.store.connect() as connection:
            return list((await connection.execute(select(RERUNS))).all())

    def latest(self, event_id: UUID) -> WorkflowHandle[Any, int]:
        return self.client.get_workflow_handle(ids.workflow_id("image", event_id), result_type=int)


def attributes(request: ImageGenerationRequested) -> TypedSearchAttributes:
    pairs = {
        names.SEARCH_ATTRIBUTE_EVENT_ID: str(request.event_id),
        names.SEARCH_ATTRIBUTE_USER_ID: request.user_id,
        names.SEARCH_ATTRIBUTE_EVENT_TYPE: REQUESTED,
    }
    return TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in pairs.items()])


@pytest_asyncio.fixture
async def world(settings: Settings, store: AsyncEngine) -> AsyncIterator[World]:
    settings = await in_namespace_of_its_own(settings)
    await setup._search_attributes(settings, lambda _: None)
    client, queue = await temporal.connect(settings), f"q-{uuid4()}"
    async with Worker(client, task_queue=queue, workflows=[FailsAtFirst], workflow_runner=UnsandboxedWorkflowRunner()):
        yield World(client, store, queue)


async def test_a_failed_run_is_started_anew_as_it_was_with_the_next_generation(world: World) -> None:
    accepted = await world.fail()
    event_id = accepted.request.event_id
    await world.seen(event_id)
    asked = world.asked(event_id)
    assert await world.rerun(asked) == RerunTally(found=1, started=1, codes={"BackendRefused": 1})
    described = await world.latest(event_id).describe()
    first = await anext(aiter(world.latest(event_id).fetch_history_events()))
    [argument] = await world.client.data_converter.decode(first.workflow_execution_started_event_attributes.input.payloads)
    assert Accepted[ImageGenerationRequested].model_validate(argument) == accepted.model_copy(update={"generation": 2})
    started = described.raw_description.workflow_execution_info
    assert {pair.key.name for pair in described.typed_search_attributes} >= {"EventId", "UserId", "EventType"}
    assert (started.priority.priority_key, started.priority.fairness_key) == (2, "u")
    [row] = await world.rows()
    assert (row.event_id, row.generation, row.run_id, row.rerun_id) == (event_id, 2, described.run_id, asked.rerun_id)
    async with world.store.connect() as connection:
        [opened] = (await connection.execute(select(OPEN_EVENTS))).all()
    assert (opened.event_id, opened.generation, opened.run_id, opened.record) == (event_id, 2, described.run_id, REQUESTED)
    assert (opened.workflow_id, opened.topic, opened.partition, opened.offset) == (described.id, "image.requests", 1, 2)
    await world.latest(event_id).signal("go_on")
    assert await world.latest(event_id).result() == 2


async def test_the_same_rerun_tried_again_and_asked_again_starts_one_run(world: World) -> None:
    event_id = (await world.fail()).request.event_id
    await world.seen(event_id)
    asked = world.asked(event_id)
    first = await world.rerun(asked)
    assert await world.rerun(asked) == first  # the activity is tried again
    async with world.store.begin() as connection:  # as if it had died after the start
        await connection.execute(update(RERUNS).values(run_id=None))
    assert await world.rerun(asked) == first
    assert (await world.rerun(world.asked(event_id))).superseded == 1
    [row] = await world.rows()
    assert row.run_id == (await world.latest(event_id).describe()).run_id

    async def two() -> bool:
        return len(await world.runs(event_id)) == 2

    await eventually(two)


async def test_two_reruns_at_one_time_start_one_run(world: World) -> None:
    event_id = (await world.fail()).request.event_id
    await world.seen(event_id)
    tallies = await asyncio.gather(*(world.rerun(world.asked(event_id)) for _ in range(4)))
    assert sum(tally.started for tally in tallies) == 1
    assert sum(tally.superseded for tally in tallies) == 3
    assert len(await world.rows()) == 1


async def test_a_rerun_that_died_before_the_start_is_taken_over_and_a_living_one_is_not(world: World) -> None:
    event_id = (await world.fail()).request.event_id
    await world.seen(event_id)
    failed = await world.latest(event_id).describe()
    claimed = {"event_id": event_id, "generation": 2, "workflow_id": failed.id, "failed_run_id": failed.run_id, "rerun_id": uuid4()}
    async with world.store.begin() as connection:
        await insert_once(connection, RERUNS, {**claimed, "claimed_at": datetime.now(UTC)})
    assert (await world.rerun(world.asked(event_id))).superseded == 1
    async with world.store.begin() as connection:
        await connection.execute(update(RERUNS).values(claimed_at=datetime.now(UTC) - timedelta(minutes=5)))
    assert (await world.rerun(world.asked(event_id))).started == 1
    assert len(await world.rows()) == 1


async def test_a_run_whose_end_was_not_told_waits_for_its_completion(world: World) -> None:
    event_id = (await world.fail(told=False)).request.event_id
    await world.seen(event_id)
    assert await world.rerun(world.asked(event_id)) == RerunTally(found=1, not_told=1)
    await world.tell(event_id)
    async with world.store.begin() as connection:  # decided, and Kafka may never take it
        await connection.execute(update(COMPLETIONS).values(published_at=None))
    assert await world.rerun(world.asked(event_id)) == RerunTally(found=1, not_told=1)
    async with world.store.begin() as connection:
        await connection.execute(update(COMPLETIONS).values(published_at=datetime.now(UTC)))
    assert (await world.rerun(world.asked(event_id))).started == 1


async def test_only_runs_of_an_event_and_of_the_code_asked_for_are_started(world: World) -> None:
    failed = (await world.fail()).request.event_id
    nobodys = (await world.fail(origin=False)).request.event_id
    hung = (await world.fail(start_delay=timedelta(hours=1))).request.event_id
    await world.latest(hung).terminate()
    await world.seen(failed, nobodys, hung)
    assert await world.rerun(world.asked(codes=frozenset({"Terminated"}), dry_run=True)) == RerunTally(
        found=3, started=1, other_code=1, not_ours=1, codes={"Terminated": 1}
    )
    assert await world.rows() == []
    assert await world.rerun(world.asked(codes=frozenset({"Terminated"}))) == RerunTally(
        found=3, started=1, other_code=1, not_ours=1, codes={"Terminated": 1}
    )
    assert [row.event_id for row in await world.rows()] == [hung]
