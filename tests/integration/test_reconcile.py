"""Every accepted event has one terminal completion, whatever has ended its run: on the real servers, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from headrace import setup, temporal
from headrace.completions import completions
from headrace.figures import open_events
from headrace.settings import Settings
from headrace.store.tables import COMPLETIONS, OPEN_EVENTS
from notifier.__main__ import publishing
from notifier.reconcile.events import SETTLE, Cursor, OpenEvents
from notifier.reconcile.runs import Runs
from schemas.ids import completion_id, workflow_id
from schemas.reconcile import Reconcile
from schemas.routes import load_routes
from tests.support.eventually import eventually
from tests.support.messages import send_completion
from tests.support.reconciling import KEY, TRACEPARENT, Stand, stand

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def at(settings: Settings, store: AsyncEngine) -> AsyncIterator[Stand]:
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    async with stand(settings, store, await temporal.connect(settings)) as made:
        yield made


async def closed(at: Stand, event_id: UUID) -> None:
    """Until the run has ended."""

    async def has_ended() -> bool:
        return (await at.handle(event_id).describe()).status is not WorkflowExecutionStatus.RUNNING

    await eventually(has_ended, timeout=30)


async def forgotten(at: Stand, event_id: UUID) -> None:
    execution = WorkflowExecution(workflow_id=workflow_id("image", event_id))
    await at.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=at.client.namespace, workflow_execution=execution)
    )

    async def gone() -> bool:
        try:
            await at.handle(event_id).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False

    await eventually(gone, timeout=30)


async def one_completion(at: Stand, event_id: UUID, **asked: Any) -> dict[str, Any]:
    """Reconciles until the event has its completion, and once more."""

    async def told() -> list[dict[str, Any]]:
        await at.reconcile(**asked)
        await at.make_due()
        return await at.completions(event_id)

    found: list[dict[str, Any]] = await eventually(told, timeout=40)
    await at.make_due()
    await at.reconcile(**asked)
    assert await at.completions(event_id) == found
    assert event_id not in await at.open_events()
    assert len(found) == 1
    return found[0]


async def test_a_run_that_is_terminated_is_completed_with_the_reason_and_as_its_request(at: Stand) -> None:
    event_id = await at.accept()
    assert (await at.reconcile()).still_open == 1
    await at.handle(event_id).terminate(reason="the wrong image")
    found = await one_completion(at, event_id)
    assert (found["status"], found["error"]) == ("TERMINATED", {"code": "Terminated", "message": "the run was terminated: the wrong image"})
    assert (found["completion_id"], found["user_id"], found["key"]) == (completion_id(event_id), "u", KEY)
    assert found["headers"]["traceparent"].decode() == TRACEPARENT
    described = await at.handle(event_id).describe()
    assert (found["workflow_id"], found["run_id"], found["result"]) == (described.id, described.run_id, None)


@sqlite_only
async def test_a_run_that_times_out_is_completed(at: Stand) -> None:
    event_id = await at.accept(timeout=timedelta(seconds=1))
    found = await one_completion(at, event_id)
    assert (found["status"], found["error"]["code"], found["key"]) == ("TIMED_OUT", "TimedOut", KEY)


@sqlite_only
@pytest.mark.parametrize(
    ("prompt", "status", "error"),
    [
        ("fail", "FAILED", {"code": "StorageUnavailable", "message": "the store is on fire"}),
        ("break", "FAILED", {"code": "Internal", "message": "what a team says"}),
        ("end", "SUCCEEDED", None),
        ("again again fail", "FAILED", {"code": "StorageUnavailable", "message": "the store is on fire"}),
    ],
)
async def test_a_run_that_ends_without_telling_is_told_of(at: Stand, prompt: str, status: str, error: dict[str, str] | None) -> None:
    event_id = await at.accept(prompt=prompt)
    found = await one_completion(at, event_id)
    assert (found["status"], found["error"], found["result"], found["key"]) == (status, error, None, KEY)


@sqlite_only
async def test_a_cancelled_run_that_does_not_tell_is_told_of(at: Stand) -> None:
    event_id = await at.accept()
    await at.handle(event_id).cancel()
    with pytest.raises(WorkflowFailureError):
        await at.handle(event_id).result()
    assert (await one_completion(at, event_id))["status"] == "CANCELLED"


async def test_a_run_that_was_deleted_is_completed_from_the_record_in_kafka(at: Stand) -> None:
    event_id = await at.accept()
    await forgotten(at, event_id)
    assert (await at.reconcile()).missing == 1
    assert await at.completions(event_id) == [], "one answer alone is not believed"
    found = await one_completion(at, event_id)
    assert (found["status"], found["error"]["code"]) == ("TERMINATED", "RunGone")
    assert (found["user_id"], found["key"], found["headers"]["traceparent"].decode()) == ("u", KEY, TRACEPARENT)


@sqlite_only
async def test_a_deleted_run_whose_record_is_gone_too_is_completed_with_what_the_ledger_knows(at: Stand) -> None:
    at_another_place, never_there, elsewhere = uuid4(), uuid4(), uuid4()
    await at.accept(started=False)
    await at.claim(at_another_place, offset=0)
    await at.claim(never_there, offset=10**6)
    await at.claim(elsewhere, topic="nowhere.requests")
    for event_id in (at_another_place, never_there, elsewhere):
        found = await one_completion(at, event_id)
        assert (found["status"], found["error"]["code"], found["user_id"], found["key"]) == ("TERMINATED", "RunGone", "", None)


@sqlite_only
async def test_a_workflow_that_no_worker_knows_stays_open_until_somebody_ends_it(at: Stand) -> None:
    at.queue = f"nobody-{uuid4()}"
    event_id = await at.accept()
    await at.reconcile()
    assert (await open_events(at.store)).open == 1
    assert await at.completions(event_id) == []
    await at.handle(event_id).terminate()
    assert (await one_completion(at, event_id))["status"] == "TERMINATED"


@sqlite_only
async def test_a_terminated_run_is_found_at_once_although_it_was_not_due_for_an_hour(at: Stand) -> None:
    event_id = await at.accept(claimed_at=datetime.now(UTC) - timedelta(days=2))
    await at.reconcile()
    await at.handle(event_id).terminate()

    async def completed() -> bool:
        await at.reconcile()
        return bool(await at.completions(event_id))

    await eventually(completed, timeout=30)


@sqlite_only
async def test_a_run_that_visibility_does_not_know_is_not_completed_while_it_runs(at: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    async def knows_nothing(self: Runs, workflow_ids: Collection[str]) -> dict[str, str]:  # noqa: ARG001 - as the real one
        return {}

    monkeypatch.setattr(Runs, "running", knows_nothing)
    event_id = await at.accept()
    assert (await at.reconcile()).still_open == 1
    assert await at.completions(event_id) == []


@sqlite_only
async def test_a_run_that_has_just_ended_is_given_the_time_to_tell_itself(at: Stand) -> None:
    event_id = await at.accept(prompt="end", claimed_at=datetime.now(UTC) - timedelta(hours=1))
    await closed(at, event_id)
    await at.reconcile(grace_seconds=600)
    assert (await at.reconcile(grace_seconds=600)).completed == {}
    assert await at.completions(event_id) == []


@sqlite_only
async def test_an_event_that_was_never_started_is_not_taken_for_one_whose_run_was_deleted(at: Stand) -> None:
    pending, refused = uuid4(), uuid4()
    await at.claim(pending, disposition="pending", workflow_id=None)
    await at.claim(refused, disposition="rejected", workflow_id=None)
    for _ in range(3):
        await at.reconcile()
        await at.make_due()
    assert await at.open_events() == {pending}
    assert await at.records() == []


@sqlite_only
async def test_an_empty_temporal_does_not_make_the_reconciler_end_every_event(at: Stand) -> None:
    events = [uuid4() for _ in range(60)]
    for event_id in events:
        await at.claim(event_id)
    await at.reconcile()
    await at.make_due()
    assert (await at.reconcile()).withheld == len(events)
    assert await at.records() == []
    assert (await at.reconcile(believe_gone=True)).completed == {"TERMINATED": len(events)}


async def test_of_a_late_completion_and_the_reconcilers_the_first_to_decide_is_the_one_that_is_sent(at: Stand) -> None:
    event_id = await at.accept()
    await at.reconcile()
    await at.handle(event_id).terminate()
    await closed(at, event_id)
    async with publishing(at.settings, at.store, asyncio.Event()) as another:
        late = ActivityEnvironment().run(another.completions.send_completion_notification, send_completion(event_id))
        await at.make_due()
        await asyncio.gather(late, at.reconcile())
        await ActivityEnvironment().run(another.completions.send_completion_notification, send_completion(event_id))
        await at.make_due()
        await at.reconcile()
    records = await at.records()
    # Sent at the same time it may be there twice, as any completion may: the same one.
    assert len({record.value for record in records}) == 1
    async with contextlib.aclosing(completions(at.settings, at.wire, ["image"])) as found:
        assert [received.completion["event_id"] async for received in found] == [event_id]


async def test_what_a_dead_notifier_had_decided_is_sent_as_it_was_decided(at: Stand) -> None:
    command = send_completion()
    event_id = UUID(command.completion["event_id"])
    await at.claim(event_id)
    await ActivityEnvironment().run(at.publishing.completions.send_completion_notification, command)
    [sent] = await at.records()
    # As the dead process left it: decided, sent, and its acknowledgement not written down.
    unsaid = {"key": sent.key, "value": sent.value, "published_at": None, "partition": None, "offset": None}
    headers = '[["ce_id", "as it was"]]'
    async with at.store.begin() as connection:
        await connection.execute(update(COMPLETIONS).values(**unsaid, headers=headers))
    assert (await at.reconcile()).delivered == 1
    first, again = await at.records()
    assert (again.key, again.value, again.headers) == (first.key, first.value, (("ce_id", b"as it was"),))
    async with at.store.connect() as connection:
        row = (await connection.execute(select(COMPLETIONS))).one()
    assert (row.offset, row.value, row.headers) == (again.offset, None, None)
    await at.make_due()
    await at.reconcile()
    assert event_id not in await at.open_events()
    assert len(await at.records()) == 2


@sqlite_only
async def test_a_completion_that_kafka_never_takes_leaves_the_event_to_the_reconciler(at: Stand) -> None:
    event_id = await at.accept(prompt="break")
    with pytest.raises(Exception, match="refuses a record"):
        await ActivityEnvironment().run(
            at.publishing.completions.send_completion_notification, send_completion(event_id, message="x" * 2_500_000)
        )
    assert (await one_completion(at, event_id))["error"] == {"code": "Internal", "message": "what a team says"}


async def test_events_that_were_claimed_in_one_instant_are_all_read_page_by_page(at: Stand) -> None:
    instant, events = datetime.now(UTC) - timedelta(minutes=5), OpenEvents(at.store)
    wanted = {uuid4() for _ in range(7)}
    for event_id in wanted:
        await at.claim(event_id, claimed_at=instant)
    now, pages = datetime.now(UTC), []
    cursor: Cursor | None = await events.reached()
    while cursor is not None:
        page = await events.note(cursor, now, now, at_most=3)
        pages.append(page.noted)
        cursor = page.cursor
    assert (pages, await at.open_events()) == ([3, 3, 1], wanted)
    assert (await events.reached()).claimed_at == instant


async def test_a_ledger_row_that_appears_late_is_not_passed_over(at: Stand) -> None:
    now, events = datetime.now(UTC), OpenEvents(at.store)
    early, late = uuid4(), uuid4()
    await at.claim(early, claimed_at=now - timedelta(seconds=1))
    await events.note(await events.reached(), now, now)
    await at.claim(late, claimed_at=now - SETTLE / 2)
    await events.note(await events.reached(), now, now)
    assert await at.open_events() == {early, late}


@sqlite_only
async def test_a_completed_event_leaves_no_row_behind(at: Stand) -> None:
    command = send_completion()
    await ActivityEnvironment().run(at.publishing.completions.send_completion_notification, command)
    await at.claim(UUID(command.completion["event_id"]))
    noted = await ActivityEnvironment().run(at.activities().note_open_events, Reconcile(grace_seconds=0))
    assert (noted.read, noted.noted) == (1, 0)
    assert await at.open_events() == set()


@sqlite_only
async def test_the_lag_grows_while_nobody_reconciles_and_ends_when_somebody_does(at: Stand) -> None:
    await at.accept(claimed_at=datetime.now(UTC) - timedelta(hours=1))
    before = await open_events(at.store)
    assert (before.open, before.lag_seconds > 3000) == (0, True)
    await at.reconcile()
    after = await open_events(at.store)
    assert (after.open, after.unreconciled, after.lag_seconds < 600, after.oldest_open_seconds > 3000) == (1, 0, True, True)
    async with at.store.connect() as connection:
        assert (await connection.execute(select(OPEN_EVENTS.c.next_check))).scalar_one() > datetime.now(UTC)
