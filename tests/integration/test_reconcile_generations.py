"""A later generation of an event has one completion of its own, whatever ends its run, and the first keeps the one that it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest, ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from headrace import setup, temporal
from headrace.figures import open_events
from headrace.settings import Settings
from headrace.store.tables import OPEN_EVENTS
from notifier.__main__ import publishing
from notifier.reconcile.events import OpenEvents
from notifier.rerun.rows import Generation, RerunRows
from schemas.ids import completion_id, workflow_id
from schemas.request import Origin
from schemas.routes import load_routes
from tests.support.eventually import eventually
from tests.support.ingress import REQUESTED
from tests.support.messages import send_completion
from tests.support.reconciling import KEY, TRACEPARENT, Stand, stand

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def at(settings: Settings, store: AsyncEngine) -> AsyncIterator[Stand]:
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    async with stand(settings, store, await temporal.connect(settings)) as made:
        yield made


async def told(at: Stand, event_id: UUID, number: int) -> list[dict[str, Any]]:
    """Reconciles until the event has so many completions, and twice more: there is none beyond, and nothing is open."""

    async def enough() -> bool:
        await at.reconcile()
        await at.make_due()
        return len(await at.completions(event_id)) >= number

    await eventually(enough, timeout=40)
    for _ in range(2):
        await at.make_due()
        await at.reconcile()
    found = await at.completions(event_id)
    assert len(found) == number
    assert await at.open_events() == set()
    return found


async def failed(at: Stand) -> tuple[UUID, dict[str, Any]]:
    """An event whose first generation has failed, and its completion."""
    event_id = await at.accept(prompt="fail")
    [first] = await told(at, event_id, 1)
    assert (first["completion_id"], first["status"]) == (completion_id(event_id), "FAILED")
    return event_id, first


async def has_ended(at: Stand, event_id: UUID, run_id: str) -> None:
    handle = at.client.get_workflow_handle(workflow_id("image", event_id), run_id=run_id)

    async def closed() -> bool:
        return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING

    await eventually(closed, timeout=30)


async def test_a_second_generation_that_is_terminated_is_completed_under_its_own_id(at: Stand) -> None:
    event_id, first = await failed(at)
    run_id = await at.run_again(event_id)
    assert (await at.reconcile()).still_open == 1
    assert (await open_events(at.store)).open == 1
    await at.handle(event_id).terminate(reason="not this one either")
    unchanged, second = await told(at, event_id, 2)
    assert unchanged == first
    assert (second["status"], second["error"]["message"]) == ("TERMINATED", "the run was terminated: not this one either")
    assert (second["completion_id"], second["run_id"], second["key"]) == (completion_id(event_id, 2), run_id, KEY)
    assert (second["headers"]["ce_generation"], second["headers"]["traceparent"].decode()) == (b"2", TRACEPARENT)
    assert "ce_generation" not in first["headers"]
    assert (await open_events(at.store)).open == 0


async def test_of_a_second_generations_own_completion_and_the_reconcilers_one_is_sent(at: Stand) -> None:
    event_id, first = await failed(at)
    run_id = await at.run_again(event_id)
    await at.handle(event_id).terminate()
    await has_ended(at, event_id, run_id)
    own = send_completion(event_id, generation=2)
    async with publishing(at.settings, at.store, asyncio.Event()) as another:
        late = ActivityEnvironment().run(another.completions.send_completion_notification, own)
        await asyncio.gather(late, at.reconcile())
        await ActivityEnvironment().run(another.completions.send_completion_notification, own)
    await at.make_due()
    await at.reconcile()
    # Sent at the same time it may be there twice, as any completion may: the same one.
    values = {record.value for record in await at.records()}
    assert len(values) == 2
    assert {each["completion_id"] for each in await at.completions(event_id)} == {first["completion_id"], completion_id(event_id, 2)}


@sqlite_only
async def test_a_second_generation_that_tells_itself_is_told_once(at: Stand) -> None:
    event_id, first = await failed(at)
    await at.run_again(event_id, "end")
    await ActivityEnvironment().run(at.publishing.completions.send_completion_notification, send_completion(event_id, generation=2))
    by_id = {each["completion_id"]: each for each in await told(at, event_id, 2)}  # of two keys: their order is nobody's
    assert by_id[completion_id(event_id)] == first
    assert by_id[completion_id(event_id, 2)]["status"] == "SUCCEEDED"


@sqlite_only
async def test_a_second_generation_that_was_deleted_is_completed_although_the_first_is_there(at: Stand) -> None:
    event_id, first = await failed(at)
    run_id = await at.run_again(event_id)
    execution = WorkflowExecution(workflow_id=workflow_id("image", event_id), run_id=run_id)
    await at.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=at.client.namespace, workflow_execution=execution)
    )

    async def gone() -> bool:
        try:
            await at.client.get_workflow_handle(execution.workflow_id, run_id=run_id).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False

    await eventually(gone, timeout=30)
    unchanged, second = await told(at, event_id, 2)
    assert unchanged == first
    assert (second["completion_id"], second["error"]["code"], second["run_id"]) == (completion_id(event_id, 2), "RunGone", run_id)


@sqlite_only
async def test_a_third_generation_is_told_after_the_second(at: Stand) -> None:
    event_id, _ = await failed(at)
    await at.run_again(event_id, "break")
    await told(at, event_id, 2)
    await at.run_again(event_id, "end", generation=3)
    found = await told(at, event_id, 3)
    assert [each["completion_id"] for each in found] == [completion_id(event_id, number) for number in (1, 2, 3)]
    assert [each["status"] for each in found] == ["FAILED", "FAILED", "SUCCEEDED"]


async def test_a_first_run_is_not_judged_by_another_that_goes_on_under_its_workflow_id(at: Stand) -> None:
    event_id = await at.accept(prompt="fail")
    first = await at.handle(event_id).describe()
    await has_ended(at, event_id, first.run_id)
    await at.start_again(event_id, generation=2)
    [found] = await told(at, event_id, 1)
    assert (found["completion_id"], found["status"], found["run_id"]) == (completion_id(event_id), "FAILED", first.run_id)


@sqlite_only
async def test_a_first_run_that_failed_is_not_told_as_the_success_of_another(at: Stand) -> None:
    event_id = await at.accept(prompt="break")
    first = await at.handle(event_id).describe()
    await has_ended(at, event_id, first.run_id)
    await has_ended(at, event_id, await at.start_again(event_id, "end", generation=2))
    [found] = await told(at, event_id, 1)
    assert (found["status"], found["run_id"]) == ("FAILED", first.run_id)


@sqlite_only
async def test_a_run_that_was_reset_goes_on_in_the_run_that_it_was_reset_to(at: Stand) -> None:
    event_id = await at.accept()
    first = at.handle(event_id)

    async def waits() -> bool:
        return len([event async for event in first.fetch_history_events()]) >= 4

    await eventually(waits, timeout=30)
    run_id = (await first.describe()).run_id
    execution = WorkflowExecution(workflow_id=first.id, run_id=run_id)
    await at.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=at.client.namespace, workflow_execution=execution, workflow_task_finish_event_id=4, request_id=str(uuid4())
        )
    )
    await has_ended(at, event_id, run_id)
    for _ in range(3):
        await at.reconcile()
        await at.make_due()
    assert await at.completions(event_id) == []
    await first.terminate(reason="and now it ends")
    [found] = await told(at, event_id, 1)
    assert found["error"]["message"] == "the run was terminated: and now it ends"


@sqlite_only
async def test_a_chain_that_goes_on_is_open_and_is_told_by_its_last_run(at: Stand) -> None:
    event_id, _ = await failed(at)
    run_id = await at.run_again(event_id, "again again wait")
    await has_ended(at, event_id, run_id)
    for _ in range(2):
        await at.make_due()
        assert (await at.reconcile()).still_open == 1
    await at.handle(event_id).terminate()
    _, second = await told(at, event_id, 2)
    assert (second["status"], second["completion_id"], second["run_id"] != run_id) == ("TERMINATED", completion_id(event_id, 2), True)


@sqlite_only
async def test_a_second_generation_whose_rerun_died_before_it_noted_the_run_is_found_by_its_argument(at: Stand) -> None:
    event_id, _ = await failed(at)
    run_id = await at.run_again(event_id, "break", settled=False)
    _, second = await told(at, event_id, 2)
    assert (second["completion_id"], second["run_id"]) == (completion_id(event_id, 2), run_id)


@sqlite_only
async def test_a_generation_that_was_claimed_and_never_started_is_told_of_nothing(at: Stand) -> None:
    event_id, first = await failed(at)
    before = await at.handle(event_id).describe()
    origin = Origin(topic="t", partition=0, offset=0)
    wanted = Generation(event_id, 2, before.id, before.run_id, REQUESTED, origin)
    assert await RerunRows(at.store).claim(uuid4(), wanted)
    await at.reconcile()
    assert await at.open_events() == {event_id}
    async with at.store.begin() as connection:
        await connection.execute(update(OPEN_EVENTS).values(claimed_at=datetime.now(UTC) - timedelta(hours=1)))
    assert await told(at, event_id, 1) == [first]


async def test_who_has_looked_at_the_generation_before_does_not_remove_the_next(at: Stand) -> None:
    event_id, events = uuid4(), OpenEvents(at.store)
    await at.claim(event_id)
    now = datetime.now(UTC)
    await events.note(await events.reached(), now, now)
    wanted = Generation(event_id, 2, workflow_id("image", event_id), "a run", REQUESTED, Origin(topic="t", partition=0, offset=0))
    assert await RerunRows(at.store).claim(uuid4(), wanted)
    await events.postpone({(event_id, 1): now + timedelta(hours=1)})
    await events.remove([(event_id, 1)])
    [left] = await events.due(datetime.now(UTC))
    assert left.key == (event_id, 2)
    await events.remove([left.key])
    assert await at.open_events() == set()
