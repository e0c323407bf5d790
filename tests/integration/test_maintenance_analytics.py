"""The table of days, from rows in SQLite or PostgreSQL and from archives in the real S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace import s3
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import DAILY_ANALYTICS, HISTORY
from tests.support.maintenance_runs import TODAY, Attempts, analytics, history_row, keep, on
from workers.maintenance import analytics as days
from workers.maintenance.activities import MaintenanceActivities
from workers.maintenance.analytics import DailyAnalytics
from workers.maintenance.archive import HistoryArchive
from workers.maintenance.logic import midnight
from workers.maintenance.models import Analysed
from workers.maintenance.storage import Bucket


@pytest_asyncio.fixture
async def bucket(settings: Settings) -> AsyncIterator[Bucket]:
    client = s3.client(settings)
    client.create_bucket(Bucket=settings.s3_bucket)
    yield Bucket(client, settings.s3_bucket)
    client.close()


def maintaining(store: AsyncEngine, bucket: Bucket) -> Attempts:
    return Attempts(MaintenanceActivities([], timedelta(hours=24), HistoryArchive(store, bucket, 3), DailyAnalytics(store, bucket)))


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


async def totals(store: AsyncEngine) -> dict[date, int]:
    found: dict[date, int] = {}
    for row in await analytics(store):
        found[row["day"]] = found.get(row["day"], 0) + row["total"]
    return found


async def test_a_day_is_counted_by_domain_and_backend_with_its_failures_and_times(store: AsyncEngine, bucket: Bucket) -> None:
    seconds = [timedelta(seconds=each) for each in (1, 2, 3, 10)]
    moment = midnight(ago(1))
    rows = [history_row(moment, started_at=moment - each, requested_at=moment - 2 * each) for each in seconds]
    rows[0] |= {"status": "FAILED", "error_code": "BackendUnavailable"}
    rows[1] |= {"status": "CANCELLED", "error_code": "Cancelled"}
    rows.append(history_row(moment - timedelta(microseconds=1), domain="learning", backend=None, requested_at=None, started_at=None))
    await keep(store, rows)
    assert await maintaining(store, bucket).analyse() == Analysed(success=True, days_recomputed=2)
    learning, image = await analytics(store)
    assert {**image, "error_codes": json.loads(image["error_codes"])} == {
        "day": ago(1),
        "domain": "image",
        "backend": "local",
        "total": 4,
        "succeeded": 2,
        "failed": 1,
        "cancelled": 1,
        "timed_out": 0,
        "terminated": 0,
        "rejected": 0,
        "error_codes": {"BackendUnavailable": 1, "Cancelled": 1},
        "run_seconds_p50": 2.0,
        "run_seconds_p95": 10.0,
        "run_seconds_p99": 10.0,
        "run_seconds_max": 10.0,
        "answer_seconds_p50": 4.0,
        "answer_seconds_p95": 20.0,
        "answer_seconds_p99": 20.0,
        "answer_seconds_max": 20.0,
    }
    assert (learning["day"], learning["domain"], learning["backend"], learning["total"]) == (ago(2), "learning", "", 1)
    assert (learning["run_seconds_p50"], learning["answer_seconds_max"]) == (None, None)


async def test_days_that_were_archived_before_they_were_counted_are_not_lost(store: AsyncEngine, bucket: Bucket) -> None:
    rows = [on(days, hour) for days in (0, 1, 100, 101, 400) for hour in range(8)]
    await keep(store, rows)
    attempts = maintaining(store, bucket)
    assert (await attempts.archive()).count == 24
    assert await attempts.analyse() == Analysed(success=True, days_recomputed=5)
    assert await totals(store) == {ago(days): 8 for days in (0, 1, 100, 101, 400)}


async def test_recomputing_a_day_gives_the_same_from_rows_from_archives_and_from_both(store: AsyncEngine, bucket: Bucket) -> None:
    statuses = [("SUCCEEDED", None), ("FAILED", "TimedOut"), ("TERMINATED", None)]
    rows = [on(100, hour, status=status, error_code=code) for hour in range(8) for status, code in statuses]
    await keep(store, rows)
    attempts = maintaining(store, bucket)
    await attempts.analyse()
    from_rows = await analytics(store)
    assert await attempts.analyse() == Analysed(success=True, days_recomputed=0)

    await attempts.archive()
    assert await attempts.analyse() == Analysed(success=True, days_recomputed=0)
    assert await analytics(store) == from_rows

    async with store.begin() as connection:  # as an operator does who wants a day anew
        await connection.execute(delete(DAILY_ANALYTICS))
    assert (await attempts.analyse()).days_recomputed == 1
    assert await analytics(store) == from_rows

    await keep(store, [on(100, 20)])  # a row that came late
    assert (await attempts.analyse()).days_recomputed == 1
    assert await totals(store) == {ago(100): len(rows) + 1}
    await attempts.archive()
    assert (await attempts.analyse()).days_recomputed == 0


async def test_a_day_whose_archive_is_lost_keeps_what_was_known_and_holds_no_other_up(store: AsyncEngine, bucket: Bucket) -> None:
    await keep(store, [on(100), on(101)])
    attempts = maintaining(store, bucket)
    keys = (await attempts.archive()).keys
    await attempts.analyse()
    known = await analytics(store)
    bucket.client.delete_object(Bucket=bucket.name, Key=keys[1])
    await bucket.put(keys[0], b"damaged")
    await keep(store, [on(100, 20), on(101, 20), on(1)])
    assert await attempts.analyse() == Analysed(success=False, days_recomputed=1, days_left_out=(ago(101), ago(100)))
    assert (await analytics(store))[:2] == known
    assert (await totals(store))[ago(1)] == 1


async def test_history_that_somebody_deleted_takes_nothing_from_a_day(store: AsyncEngine, bucket: Bucket) -> None:
    await keep(store, [on(1, hour) for hour in range(4)])
    attempts = maintaining(store, bucket)
    await attempts.analyse()
    known = await analytics(store)
    async with store.begin() as connection:
        await connection.execute(delete(HISTORY))
    assert (await attempts.analyse()).days_recomputed == 0
    assert await analytics(store) == known


async def test_a_run_that_counted_earlier_and_writes_later_takes_nothing_back(store: AsyncEngine, bucket: Bucket) -> None:
    await keep(store, [on(0)])
    await maintaining(store, bucket).analyse()
    async with store.begin() as connection:  # another run has counted more meanwhile
        await connection.execute(update(DAILY_ANALYTICS).values(total=5))
    await DailyAnalytics(store, bucket).recompute(TODAY)
    assert await totals(store) == {TODAY: 5}


async def test_counting_while_other_runs_archive_and_count_comes_out_right(store: AsyncEngine, bucket: Bucket) -> None:
    await keep(store, [on(100 + days, hour) for days in range(3) for hour in range(9)])
    runs = [maintaining(store, bucket) for _ in range(4)]
    await asyncio.gather(runs[0].archive(), runs[1].archive(), runs[2].analyse(), runs[3].analyse())
    await runs[0].analyse()
    assert await totals(store) == {ago(100 + days): 9 for days in range(3)}


@pytest.mark.parametrize("moment", ["_count_table", "_read_archives"])
async def test_rows_that_move_into_an_archive_while_they_are_counted_are_counted_once(
    store: AsyncEngine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    await keep(store, [on(100, hour) for hour in range(6)])
    original, moved = getattr(days, moment), False

    async def moving(*arguments: Any) -> Any:
        nonlocal moved
        if not moved:
            moved = True
            assert (await maintaining(store, bucket).archive()).count == 6
        return await original(*arguments)

    monkeypatch.setattr(days, moment, moving)
    assert await DailyAnalytics(store, bucket).recompute(ago(100))
    assert moved
    assert await totals(store) == {ago(100): 6}


async def test_a_day_of_many_rows_is_read_in_pages(store: AsyncEngine, bucket: Bucket) -> None:
    """Twelve thousand rows: more than one page, in the database itself."""
    template = [on(1) for _ in range(12)]
    async with store.begin() as connection:
        for part in range(10):
            rows = [
                {**row, "history_id": type(row["history_id"])(int=part * 1000 + n * 100_000 + i)}
                for i in range(100)
                for n, row in enumerate(template)
            ]
            await connection.execute(insert(HISTORY), rows)
    await maintaining(store, bucket).analyse()
    assert await totals(store) == {ago(1): 12_000}
    async with store.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(HISTORY))).scalar_one() == 12_000


async def test_an_s3_that_is_away_fails_for_now_and_a_missing_database_too(store: AsyncEngine, settings: Settings, bucket: Bucket) -> None:
    await keep(store, [on(100)])
    await maintaining(store, bucket).archive()
    client = s3.client(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    with pytest.raises(ApplicationError) as raised:
        await maintaining(store, Bucket(client, settings.s3_bucket)).analyse()
    client.close()
    assert (raised.value.type, raised.value.non_retryable) == ("StorageUnavailable", False)
    away = engine("postgresql+asyncpg://me:hidden@127.0.0.1:1/x")
    with pytest.raises(ApplicationError) as raised:
        await maintaining(away, bucket).analyse()
    await away.dispose()
    assert (raised.value.type, raised.value.non_retryable) == ("DatabaseUnavailable", False)
