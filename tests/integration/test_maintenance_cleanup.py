"""Temporary objects in the real S3 and temporary files on the real disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError

from headrace import s3
from headrace.settings import Settings
from tests.support.maintenance_runs import Attempts, FakeAnalytics, FakeArchive, FakePlace, old
from workers.maintenance.activities import MaintenanceActivities, TemporaryPlace
from workers.maintenance.files import TemporaryFiles
from workers.maintenance.models import Cleaned
from workers.maintenance.storage import Bucket, TemporaryObjects

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

EVERYTHING = timedelta(hours=-1)
"""As if the clock were an hour ahead: S3 gives each object its own time."""
NEIGHBOURS = [
    *("tmpfoo/a", "tmp", "images/a.png", "images/tmp/a", "archive/history/day=2026-01-01/a.parquet", "Tmp/a"),
    "requests/image.requests/1/a",
]


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[S3Client]:
    made = s3.client(settings)
    made.create_bucket(Bucket=settings.s3_bucket)
    yield made
    made.close()


def cleaning(*places: TemporaryPlace, keep: timedelta = EVERYTHING) -> Attempts:
    return Attempts(MaintenanceActivities(places, keep, FakeArchive(), FakeAnalytics()))


def keys(client: S3Client, settings: Settings) -> set[str]:
    return {each["Key"] for each in client.list_objects_v2(Bucket=settings.s3_bucket).get("Contents", [])}


def put(client: S3Client, settings: Settings, *names: str) -> None:
    for name in names:
        client.put_object(Bucket=settings.s3_bucket, Key=name, Body=b"12345")


async def test_cleaning_removes_what_is_below_tmp_and_no_neighbour(client: S3Client, settings: Settings) -> None:
    put(client, settings, "tmp/a", "tmp/deep/er/b.parquet", "tmp/naïve ü+%20&.json", *NEIGHBOURS[2:])
    put(client, settings, "tmpfoo/a")
    before = keys(client, settings)
    objects = TemporaryObjects(Bucket(client, settings.s3_bucket))
    assert await cleaning(objects).clean() == Cleaned(count=3, bytes_freed=15)
    assert keys(client, settings) == {key for key in before if not key.startswith("tmp/")}
    assert await cleaning(objects).clean() == Cleaned()


async def test_an_object_that_may_be_in_use_stays(client: S3Client, settings: Settings) -> None:
    put(client, settings, "tmp/a")
    assert await cleaning(TemporaryObjects(Bucket(client, settings.s3_bucket)), keep=timedelta(hours=24)).clean() == Cleaned()
    assert keys(client, settings) == {"tmp/a"}


async def test_an_object_that_vanishes_meanwhile_is_no_error(client: S3Client, settings: Settings) -> None:
    put(client, settings, "tmp/a")
    await TemporaryObjects(Bucket(client, settings.s3_bucket)).remove([old("tmp/a"), old("tmp/gone")])
    assert keys(client, settings) == set()


async def test_more_objects_than_s3_lists_at_once_are_all_removed(client: S3Client, settings: Settings) -> None:
    class Small:
        """S3 that lists two at a time."""

        list_objects_v2 = staticmethod(lambda **given: client.list_objects_v2(**given, MaxKeys=2))
        delete_objects = staticmethod(client.delete_objects)

    put(client, settings, *(f"tmp/{number}" for number in range(5)))
    pages = [len(page) async for page in TemporaryObjects(Bucket(Small(), settings.s3_bucket)).pages()]  # type: ignore[arg-type]
    assert pages == [2, 2, 1]
    assert (await cleaning(TemporaryObjects(Bucket(Small(), settings.s3_bucket))).clean()).count == 5  # type: ignore[arg-type]
    assert keys(client, settings) == set()


async def test_an_s3_that_is_away_is_tried_again(settings: Settings) -> None:
    made = s3.client(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"}))
    with pytest.raises(ApplicationError) as raised:
        await cleaning(TemporaryObjects(Bucket(made, settings.s3_bucket))).clean()
    made.close()
    assert (raised.value.type, raised.value.non_retryable) == ("StorageUnavailable", False)


async def test_a_key_that_s3_refuses_is_tried_again_and_says_what_to_check(settings: Settings) -> None:
    made = s3.client(settings.model_copy(update={"s3_secret_access_key": SecretStr("wrong")}))
    with pytest.raises(ApplicationError, match="HEADRACE_S3_SECRET_ACCESS_KEY") as raised:
        await cleaning(TemporaryObjects(Bucket(made, settings.s3_bucket))).clean()
    made.close()
    assert (raised.value.type, raised.value.non_retryable) == ("StorageRefused", False)


async def test_an_object_that_s3_refuses_to_delete_fails_and_is_named() -> None:
    class Guarded:
        def delete_objects(self, **_: object) -> dict[str, object]:
            return {"Errors": [{"Key": "tmp/a", "Code": "AccessDenied", "Message": "no"}]}

    with pytest.raises(ApplicationError, match="tmp/a: AccessDenied: no") as raised:
        await TemporaryObjects(Bucket(Guarded(), "b")).remove([old("tmp/a")])  # type: ignore[arg-type]
    assert (raised.value.type, raised.value.non_retryable) == ("StorageRefused", False)


async def test_a_bucket_that_is_not_there_is_told_from_one_that_is_empty(settings: Settings) -> None:
    made = s3.client(settings)
    with pytest.raises(ApplicationError) as raised:
        await cleaning(TemporaryObjects(Bucket(made, settings.s3_bucket))).clean()
    made.close()
    assert (raised.value.type, raised.value.non_retryable) == ("StorageRefused", False)


def file(path: Path, age: timedelta) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    moment = (datetime.now(UTC) - age).timestamp()
    os.utime(path, (moment, moment))
    return path


async def test_old_files_go_new_ones_and_neighbours_stay(tmp_path: Path) -> None:
    days, folder = timedelta(days=2), tmp_path / "tmp"
    gone = [file(folder / "a", days), file(folder / "deep" / "er" / "b", days)]
    stay = [file(folder / "new", timedelta(0)), file(tmp_path / "tmpfoo" / "a", days), file(tmp_path / "outside", days)]
    (folder / "link").symlink_to(tmp_path / "tmpfoo")
    (folder / "file-link").symlink_to(tmp_path / "outside")
    os.utime(folder / "link", (0, 0), follow_symlinks=False)
    cleaned = await cleaning(TemporaryFiles(folder), keep=timedelta(hours=24)).clean()
    assert cleaned.count == 3
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []
    assert not (folder / "link").is_symlink()
    assert not (folder / "deep" / "er").exists()


async def test_a_folder_that_is_not_there_has_nothing_to_clean(tmp_path: Path) -> None:
    assert await cleaning(TemporaryFiles(tmp_path / "nowhere")).clean() == Cleaned()


async def test_a_file_that_vanishes_meanwhile_is_no_error(tmp_path: Path) -> None:
    await TemporaryFiles(tmp_path).remove([old(str(tmp_path / "gone"))])


async def test_a_file_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()  # unlink refuses a folder, whoever asks
    with pytest.raises(ApplicationError, match=r"/folder cannot be .*Give the workers' user the right") as raised:
        await TemporaryFiles(tmp_path).remove([old(str(tmp_path / "folder"))])
    assert (raised.value.type, raised.value.non_retryable) == ("StorageRefused", True)


async def test_a_second_attempt_counts_on_from_the_first() -> None:
    def refuse() -> None:
        raise ApplicationError("away")

    first, second = FakePlace(found={"tmp/a": old("tmp/a"), "images/a": old("images/a")}), FakePlace(act=refuse)
    second.found = {"tmp/b": old("tmp/b", 7)}
    attempts = cleaning(first, second)
    with pytest.raises(ApplicationError):
        await attempts.clean()
    first.found, second.act = {}, lambda: None
    assert await attempts.clean() == Cleaned(count=2, bytes_freed=12)
    assert (first.removed, second.removed) == (["tmp/a"], ["tmp/b"])
