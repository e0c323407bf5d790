"""History that moves into the real S3, from SQLite and from PostgreSQL: no row lost, none in two archives, whatever happens in between."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import pytest
import pytest_asyncio
from pyarrow.fs import S3FileSystem
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace import s3
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import HISTORY, HISTORY_ARCHIVES
from tests.support.maintenance_runs import TODAY, Attempts, FakeAnalytics, keep, left, on
from workers.maintenance import parquet
from workers.maintenance.activities import MaintenanceActivities
from workers.maintenance.archive import ArchiveFiles, HistoryArchive
from workers.maintenance.logic import archived_before
from workers.maintenance.storage import Bucket

ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture
async def bucket(settings: Settings) -> AsyncIterator[Bucket]:
    client = s3.client(settings)
    client.create_bucket(Bucket=settings.s3_bucket)
    yield Bucket(client, settings.s3_bucket)
    client.close()


def archiving(store: AsyncEngine, files: ArchiveFiles, rows: int = 3) -> Attempts:
    return Attempts(MaintenanceActivities([], timedelta(hours=24), HistoryArchive(store, files, rows), FakeAnalytics()))


def archives(bucket: Bucket) -> dict[str, list[UUID]]:
    """History IDs by key, as anybody reads them."""
    found: dict[str, list[UUID]] = {}
    for each in bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="archive/history/").get("Contents", []):
        data = bucket.client.get_object(Bucket=bucket.name, Key=each["Key"])["Body"].read()
        found[each["Key"]] = [UUID(row["history_id"]) for row in parquet.read(data)]
    return found


def ids(bucket: Bucket) -> list[UUID]:
    return sorted(id_ for found in archives(bucket).values() for id_ in found)


def ids_of(rows: list[dict[str, Any]]) -> list[UUID]:
    return sorted(row["history_id"] for row in rows)


async def test_rows_of_days_that_are_old_enough_move_and_the_others_stay(store: AsyncEngine, bucket: Bucket) -> None:
    moving = [on(91), on(91), on(91, 0), on(91, 23), on(200), on(400, status="FAILED", error_code="Internal", error_message="why")]
    staying = [on(90, 0), on(0), on(-1)]
    await keep(store, [*moving, *staying])
    attempts = archiving(store, bucket)
    done = await attempts.archive()
    assert (done.count, done.archives, list(done.keys)) == (6, 4, sorted(archives(bucket)))
    assert await left(store) == {row["history_id"] for row in staying}
    assert ids(bucket) == ids_of(moving)
    assert all(len(found) <= 3 for found in archives(bucket).values())
    async with store.connect() as connection:
        known = (await connection.execute(select(HISTORY_ARCHIVES))).mappings().all()
    for row in known:
        data = bucket.client.get_object(Bucket=bucket.name, Key=row["key"])["Body"].read()
        assert (row["size_bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert (row["rows"], row["run_id"]) == (len(archives(bucket)[row["key"]]), attempts.run_id)
        assert row["key"].startswith(f"archive/history/day={row['day']}/")
    again = await archiving(store, bucket).archive()
    assert (again.count, again.archives, again.keys) == (0, 0, ())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_pandas_reads_the_archives_as_the_documentation_says(store: AsyncEngine, bucket: Bucket, settings: Settings) -> None:
    row = on(100, prompt="naïve 🎡\x01 'quoted'\n", url=None)
    await keep(store, [row, on(101), on(101)])
    await archiving(store, bucket).archive()

    def documented() -> pd.DataFrame:
        secret = settings.s3_secret_access_key.get_secret_value() if settings.s3_secret_access_key else None
        s3 = S3FileSystem(endpoint_override=settings.s3_endpoint_url, access_key=settings.s3_access_key_id, secret_key=secret)
        return pd.read_parquet(f"{settings.s3_bucket}/archive/history", filesystem=s3).drop_duplicates("history_id")

    read = await asyncio.to_thread(documented)
    assert len(read) == 3
    assert sorted(read["day"].astype(str)) == [str(TODAY - timedelta(days=days)) for days in (101, 101, 100)]
    assert len(read[read["day"] == str(TODAY - timedelta(days=100))]) == 1
    [found] = read[read["history_id"] == str(row["history_id"])].to_dict("records")
    assert (found["prompt"], found["recorded_at"], found["size_bytes"]) == (row["prompt"], row["recorded_at"], row["size_bytes"])


class Crash(BaseException):
    """The process dies: nothing after it runs, and nobody handles it."""


class Crashing(Bucket):
    """Dies at the given call of a kind, before or after it."""

    def __init__(self, bucket: Bucket, kind: str, number: int, *, after: bool) -> None:
        super().__init__(bucket.client, bucket.name)
        self._kind, self._left, self._after = kind, number, after

    async def _maybe(self, kind: str, call: Callable[[], Any]) -> Any:
        self._left -= kind == self._kind
        dies = kind == self._kind and self._left == 0
        if dies and not self._after:
            raise Crash
        result = await call()
        if dies:
            raise Crash
        return result

    async def get(self, key: str) -> bytes | None:
        found: bytes | None = await self._maybe("get", lambda: super(Crashing, self).get(key))
        return found

    async def put(self, key: str, data: bytes) -> None:
        await self._maybe("put", lambda: super(Crashing, self).put(key, data))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("kind", "number"), [("get", 1), ("put", 1), ("get", 2), ("put", 2), ("get", 4)])
async def test_a_crash_anywhere_between_choosing_and_deleting_loses_and_doubles_nothing(
    store: AsyncEngine, bucket: Bucket, kind: str, number: int, *, after: bool
) -> None:
    rows = [on(100) for _ in range(7)]
    await keep(store, rows)
    first = archiving(store, Crashing(bucket, kind, number, after=after))
    with pytest.raises(Crash):
        await first.archive()
    assert {*await left(store), *ids(bucket)} == {row["history_id"] for row in rows}
    # A late row of the same day, and other sizes of archives, make no other archive of what was chosen.
    late = on(100, 0)
    await keep(store, [late])
    second = archiving(store, bucket, rows=5)
    second.run_id = first.run_id
    done = await second.archive()
    assert done.count == 8
    assert ids(bucket) == ids_of([*rows, late])
    assert await left(store) == set()


async def test_kill_9_between_upload_and_delete_loses_and_doubles_nothing(store: AsyncEngine, bucket: Bucket, settings: Settings) -> None:
    rows = [on(100) for _ in range(7)]
    await keep(store, rows)
    url = store.url.render_as_string(hide_password=False)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HEADRACE_S3_ACCESS_KEY_ID": settings.s3_access_key_id or "",
        "HEADRACE_S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value() if settings.s3_secret_access_key else "",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.maintenance_stalled", url, settings.s3_bucket, str(settings.s3_endpoint_url)),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    assert process.stdout is not None
    uploaded = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    process.kill()
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]
    assert list(archives(bucket)) == [uploaded]
    assert len(await left(store)) == 7
    assert (await archiving(store, bucket).archive()).count == 7
    assert uploaded in archives(bucket)
    assert ids(bucket) == ids_of(rows)
    assert await left(store) == set()


async def test_two_runs_at_once_archive_each_row_once(store: AsyncEngine, bucket: Bucket) -> None:
    rows = [on(100 + number % 2) for number in range(30)]
    await keep(store, rows)
    runs = [archiving(store, bucket, size) for size in (3, 3, 4)]
    done = await asyncio.gather(*(run.archive() for run in runs))
    # Whoever ends first leaves what another run has chosen to that run.
    assert sum(each.count for each in done) == 30
    assert ids(bucket) == ids_of(rows)
    assert await left(store) == set()


async def test_rows_that_a_backup_brought_back_go_into_the_archive_that_they_are_in(store: AsyncEngine, bucket: Bucket) -> None:
    rows = [on(100), on(100)]
    await keep(store, rows)
    await archiving(store, bucket).archive()
    before = archives(bucket)
    await keep(store, rows)
    assert (await archiving(store, bucket).archive()).count == 2
    assert archives(bucket) == before
    assert await left(store) == set()


async def test_an_archive_with_other_content_is_not_overwritten_and_no_row_is_deleted(store: AsyncEngine, bucket: Bucket) -> None:
    rows, others = [on(200)], [on(199), on(100)]
    await keep(store, [*rows, *others])
    archive = HistoryArchive(store, bucket)
    key = await archive.choose(archived_before(TODAY, 90))
    assert key is not None
    await bucket.put(key, b"somebody else's")
    with pytest.raises(ApplicationError, match="is there with other content, and is not overwritten") as raised:
        await archiving(store, bucket).archive()
    assert (raised.value.type, raised.value.non_retryable) == ("ArchiveConflict", True)
    assert await bucket.get(key) == b"somebody else's"
    assert await left(store) == {row["history_id"] for row in rows}  # the other days are not held up
    bucket.client.delete_object(Bucket=bucket.name, Key=key)
    assert ids(bucket) == ids_of(others)
    assert (await archiving(store, bucket).archive()).count == 1


async def test_a_row_that_the_notifier_has_completed_since_the_upload_is_archived_as_it_is_now(store: AsyncEngine, bucket: Bucket) -> None:
    await keep(store, [on(100, published_topic=None)])
    with pytest.raises(Crash):
        await archiving(store, Crashing(bucket, "put", 1, after=True)).archive()
    async with store.begin() as connection:
        await connection.execute(update(HISTORY).values(published_topic="history"))
    await archiving(store, bucket).archive()
    [key] = archives(bucket)
    [row] = parquet.read(await bucket.get(key) or b"")
    assert row["published_topic"] == "history"


async def test_a_file_that_is_not_what_was_written_deletes_nothing(store: AsyncEngine, bucket: Bucket) -> None:
    class Losing(Bucket):
        async def put(self, key: str, data: bytes) -> None:
            await super().put(key, data[:-1])

    rows = [on(100)]
    await keep(store, rows)
    with pytest.raises(ApplicationError, match="no row was deleted") as raised:
        await archiving(store, Losing(bucket.client, bucket.name)).archive()
    assert (raised.value.type, raised.value.non_retryable) == ("ArchiveUnverified", False)
    assert await left(store) == {row["history_id"] for row in rows}


async def test_rows_that_somebody_deleted_meanwhile_hold_nothing_up(store: AsyncEngine, bucket: Bucket) -> None:
    await keep(store, [on(100)])
    assert await HistoryArchive(store, bucket).choose(archived_before(TODAY, 90)) is not None
    async with store.begin() as connection:
        await connection.execute(delete(HISTORY))
    assert (await archiving(store, bucket).archive()).count == 0
    async with store.connect() as connection:
        assert (await connection.execute(select(HISTORY_ARCHIVES))).all() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_s3_that_is_away_deletes_nothing_and_is_tried_again(store: AsyncEngine, settings: Settings) -> None:
    rows = [on(100)]
    await keep(store, rows)
    client = s3.client(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    with pytest.raises(ApplicationError) as raised:
        await archiving(store, Bucket(client, settings.s3_bucket)).archive()
    client.close()
    assert (raised.value.type, raised.value.non_retryable) == ("StorageUnavailable", False)
    assert await left(store) == {row["history_id"] for row in rows}


@pytest.mark.parametrize("url", ["postgresql+asyncpg://me:hidden@127.0.0.1:1/x", "sqlite+aiosqlite:///{}/none.db"])
async def test_a_database_that_is_away_or_has_no_tables_is_tried_again(url: str, tmp_path: Path) -> None:
    database = engine(url.format(tmp_path))
    with pytest.raises(ApplicationError, match="the database does not answer as it must") as raised:
        await archiving(database, Bucket(None, "b")).archive()  # type: ignore[arg-type]
    await database.dispose()
    assert (raised.value.type, raised.value.non_retryable) == ("DatabaseUnavailable", False)
    assert "hidden" not in str(raised.value)


async def test_a_name_that_was_never_chosen_stores_nothing(store: AsyncEngine, bucket: Bucket) -> None:
    await HistoryArchive(store, bucket).store(f"archive/history/{uuid4()}", "run")
    assert archives(bucket) == {}
