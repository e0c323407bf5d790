"""The workflow on a real server that skips time: how each run ends, and what it tells."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from temporalio import activity
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from headrace.schedules import SCHEDULES, upsert
from schemas import names
from schemas.maintenance import MaintenanceResult
from tests.support import runs
from tests.support.eventually import eventually
from tests.support.maintenance_runs import TODAY, FakeAnalytics, FakeArchive, FakePlace, activities, old, start, working
from tests.support.runs import FakeNotifier
from workers.maintenance.logic import archived_before
from workers.maintenance.models import ArchiveOrder


@pytest.fixture
def client(skipping: Client) -> Client:
    return skipping


ALL_DONE = MaintenanceResult(
    files_cleaned=1,
    bytes_freed=5,
    records_archived=7,
    archives_written=2,
    archive_bytes=99,
    archive_keys=["archive/history/0.parquet", "archive/history/1.parquet"],
    analytics_updated=True,
    days_recomputed=1,
)


async def test_a_requested_run_tells_what_it_did(client: Client) -> None:
    notifier, archive = FakeNotifier(), FakeArchive()
    async with working(client, activities(archive=archive), notifier):
        handle = await start(client, days_old=30)
        assert await handle.result() == ALL_DONE
        described = await handle.describe()
    [sent] = notifier.completions
    assert (sent.domain, sent.record, sent.key) == ("maintenance", "headrace.maintenance.MaintenanceCompleted", b"\xff\x00key")
    assert (sent.completion["status"], sent.completion["result"]) == ("SUCCEEDED", ALL_DONE.model_dump(mode="json"))
    assert set(archive.before) == {archived_before(described.start_time.date(), 30)}


async def test_a_history_entry_says_when_its_run_was_asked_for_and_when_it_started(client: Client) -> None:
    notifier = FakeNotifier()
    async with working(client, activities(), notifier):
        handle = await start(client)
        await handle.result()
    [recorded], [sent] = notifier.history, notifier.completions
    entry = recorded.entry
    assert (entry.domain, entry.backend, entry.status) == ("maintenance", None, "SUCCEEDED")
    assert entry.requested_at is not None
    assert entry.started_at is not None
    assert entry.requested_at <= entry.started_at <= entry.recorded_at
    assert sent.completion["started_at"] == entry.started_at.isoformat().replace("+00:00", "Z")


async def test_a_scheduled_run_archives_after_ninety_days_and_tells_nobody(client: Client) -> None:
    notifier, archive = FakeNotifier(), FakeArchive()
    async with working(client, activities(archive=archive), notifier):
        handle = await start(client, requested=False)
        assert await handle.result() == ALL_DONE
        described = await handle.describe()
    assert (notifier.completions, notifier.history) == ([], [])
    assert set(archive.before) == {archived_before(described.start_time.date(), 90)}


async def test_a_cancelled_run_whose_worker_is_killed_in_its_step_does_not_end_as_failed(client: Client) -> None:
    over = asyncio.Event()

    @activity.defn(name="archive_old_history")
    async def killed(_: ArchiveOrder) -> None:
        await client.get_workflow_handle(str(activity.info().workflow_id)).cancel()
        await over.wait()  # not a heartbeat any more

    notifier, acts = FakeNotifier(), activities()
    async with runs.working(client, "maintenance", [acts.cleanup_temp_files, killed, acts.update_daily_analytics], notifier):
        handle = await start(client)
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        over.set()
    assert isinstance(raised.value.cause, CancelledError)
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["result"]["files_cleaned"]) == ("CANCELLED", 1)


async def test_the_schedule_itself_starts_a_run_that_ends(client: Client) -> None:
    daily = SCHEDULES[names.SCHEDULE_MAINTENANCE]
    assert await upsert(client, "for-this-test", Schedule(action=daily.action, spec=daily.spec, policy=daily.policy))
    handle = client.get_schedule_handle("for-this-test")
    assert isinstance(daily.action, ScheduleActionStartWorkflow)
    async with working(client, activities(), FakeNotifier()):
        await handle.trigger()
        recent = await eventually(lambda: _recent(client))
        assert recent.startswith("maintenance-")
        with pytest.raises(ValueError, match="badly formed"):
            UUID(recent.removeprefix("maintenance-"))  # it is no request's run, and can be told from one
        result = await client.get_workflow_handle(recent, result_type=MaintenanceResult).result()
    await handle.delete()
    assert result == ALL_DONE


async def _recent(client: Client) -> str:
    described = await client.get_schedule_handle("for-this-test").describe()
    for each in described.info.recent_actions:
        return each.action.workflow_id  # type: ignore[attr-defined, no-any-return]
    return ""


async def test_a_step_that_fails_for_good_ends_the_run_and_tells_what_was_done_before(client: Client) -> None:
    def conflict() -> None:
        raise ApplicationError("the archive x is there with other content", type="ArchiveConflict", non_retryable=True)

    notifier = FakeNotifier()
    async with working(client, activities(archive=FakeArchive(conflict)), notifier):
        with pytest.raises(WorkflowFailureError):
            await (await start(client)).result()
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["error"]["code"]) == ("FAILED", "ArchiveConflict")
    assert sent.completion["result"] == MaintenanceResult(files_cleaned=1, bytes_freed=5).model_dump(mode="json")


async def test_a_scheduled_run_that_fails_fails_in_temporal_with_its_code(client: Client) -> None:
    def refuse() -> None:
        raise ApplicationError("S3 does not permit it", type="StorageRefused", non_retryable=True)

    notifier = FakeNotifier()
    async with working(client, activities(FakePlace(found={"tmp/a": old("tmp/a")}, act=refuse)), notifier):
        with pytest.raises(WorkflowFailureError) as raised:
            await (await start(client, requested=False)).result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert (raised.value.cause.type, notifier.completions) == ("StorageRefused", [])


async def test_a_storage_that_stays_away_is_tried_three_times(client: Client) -> None:
    calls: list[int] = []

    def away() -> None:
        calls.append(1)
        raise ApplicationError("away", type="StorageUnavailable")

    notifier = FakeNotifier()
    async with working(client, activities(archive=FakeArchive(away)), notifier):
        with pytest.raises(WorkflowFailureError):
            await (await start(client)).result()
    assert len(calls) == 3
    assert notifier.completions[0].completion["error"] == {"code": "StorageUnavailable", "message": "away"}


async def test_a_day_that_cannot_be_counted_is_told_and_fails_nothing(client: Client) -> None:
    day = TODAY - timedelta(days=200)
    notifier = FakeNotifier()
    async with working(client, activities(analytics=FakeAnalytics([day, TODAY], {day})), notifier):
        result = await (await start(client)).result()
    assert (result.analytics_updated, result.days_recomputed, result.days_left_out) == (False, 1, [day.isoformat()])
    assert notifier.completions[0].completion["status"] == "SUCCEEDED"


async def test_a_cancelled_run_ends_when_its_step_has_ended_and_tells_what_was_done(client: Client) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    notifier = FakeNotifier()
    async with working(client, activities(archive=FakeArchive(wait)), notifier):
        handle = await start(client)
        await began.wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        assert ended.is_set()
    assert isinstance(raised.value.cause, CancelledError)
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["result"]["files_cleaned"]) == ("CANCELLED", 1)
