"""Data sets in the real S3, and the table on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from headrace import s3
from headrace.demo.datasets import customers
from headrace.settings import Settings
from headrace.store.tables import ANALYSES
from schemas import ids
from tests.support.analysis_runs import FakeAnalyses, processes
from workers.analysis.activities import AnalysisActivities, Limits
from workers.analysis.models import Dataset, Exploration, LoadDataset, SaveAnalysis, SavedAnalysis, Visualizations
from workers.analysis.processes import Processes
from workers.analysis.storage import S3Objects
from workers.analysis.table import SqlAnalyses

__all__ = ["processes"]


@pytest_asyncio.fixture
async def objects(settings: Settings) -> AsyncIterator[S3Objects]:
    client = s3.client(settings)
    client.create_bucket(Bucket=settings.s3_bucket)
    client.put_object(Bucket=settings.s3_bucket, Key="uploads/u/customers.csv", Body=customers(50).csv.encode())
    try:
        yield S3Objects(client, settings.s3_bucket, 60)
    finally:
        client.close()


async def test_a_report_that_is_stored_is_found_by_its_url_as_a_page(objects: S3Objects, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("<!DOCTYPE html>")
    stored = await objects.put("analyses/x/report.html", file, "text/html; charset=utf-8")
    async with httpx.AsyncClient(trust_env=False) as anybody:
        answer = await anybody.get(await objects.url("analyses/x/report.html"))
    assert (answer.text, answer.headers["content-type"], stored.size_bytes) == ("<!DOCTYPE html>", "text/html; charset=utf-8", 15)
    await objects.fetch("analyses/x/report.html", tmp_path / "again")
    assert (tmp_path / "again").read_text() == "<!DOCTYPE html>"


@pytest.mark.parametrize(
    ("bucket", "key", "most", "code"),
    [
        (None, "uploads/u/nothing.csv", 10**6, "DatasetNotFound"),
        ("no-such-bucket", "x.csv", 10**6, "DatasetNotFound"),
        (None, "uploads/u/customers.csv", 100, "DatasetTooLarge"),
    ],
)
async def test_an_upload_that_cannot_be_read_fails_for_good(
    objects: S3Objects, settings: Settings, tmp_path: Path, bucket: str | None, key: str, most: int, code: str
) -> None:
    with pytest.raises(ApplicationError) as raised:
        await objects.fetch_upload(bucket or settings.s3_bucket, key, tmp_path / "source", most)
    assert (raised.value.type, raised.value.non_retryable) == (code, True)
    assert not (tmp_path / "source").exists(), "it was read before it was measured"


async def test_an_intermediate_that_is_gone_fails_for_good(objects: S3Objects, tmp_path: Path) -> None:
    with pytest.raises(ApplicationError) as raised:
        await objects.fetch("tmp/analyses/x/dataset.parquet", tmp_path / "dataset.parquet")
    assert (raised.value.type, raised.value.non_retryable) == ("IntermediateLost", True)


@pytest.mark.parametrize(
    ("bucket", "wrong", "code", "final"),
    [
        (None, {"s3_secret_access_key": SecretStr("wrong")}, "StorageRefused", False),
        (None, {"s3_endpoint_url": "http://127.0.0.1:1"}, "StorageUnavailable", False),
        ("open-data", {"s3_secret_access_key": SecretStr("wrong")}, "DatasetAccessDenied", True),
    ],
    ids=["our keys are wrong", "away", "another's bucket refuses us"],
)
async def test_a_refusal_is_final_only_in_a_bucket_that_is_not_ours(
    settings: Settings, tmp_path: Path, bucket: str | None, wrong: dict[str, object], code: str, final: bool
) -> None:
    changed = settings.model_copy(update=wrong)
    client = s3.client(changed)
    try:
        reading = S3Objects(client, changed.s3_bucket, 60)
        with pytest.raises(ApplicationError) as raised:
            await reading.fetch_upload(bucket or changed.s3_bucket, "uploads/u/x.csv", tmp_path / "source", 1000)
    finally:
        client.close()
    assert (raised.value.type, raised.value.non_retryable) == (code, final)


async def test_a_data_set_that_is_loaded_twice_is_the_same_object(objects: S3Objects, settings: Settings, processes: Processes) -> None:
    limits = Limits(settings.s3_bucket, (), 10**6, 1000)
    acts = AnalysisActivities(objects, processes, FakeAnalyses(), limits)
    asked = LoadDataset(event_id=uuid4(), user_id="u", file_path=f"s3://{settings.s3_bucket}/uploads/u/customers.csv", file_type="csv")
    first = await ActivityEnvironment().run(acts.load_dataset, asked)
    second = await ActivityEnvironment().run(acts.load_dataset, asked)
    assert first == second
    assert (first.rows, len(first.columns)) == (50, 10)
    client = s3.client(settings)
    listed = client.list_objects_v2(Bucket=settings.s3_bucket, Prefix="tmp/")
    client.close()
    assert [found["Key"] for found in listed["Contents"]] == [f"tmp/analyses/{asked.event_id}/dataset.parquet"]


async def test_an_analysis_that_is_saved_twice_at_once_is_one_row_and_a_later_generation_takes_it(store: AsyncEngine) -> None:
    event_id = uuid4()
    given = SaveAnalysis(
        event_id=event_id,
        user_id="u",
        file_path="s3://headrace/uploads/u/x.csv",
        file_type="csv",
        analysis_type="exploratory",
        requested_at=datetime.now(UTC),
        dataset=Dataset(event_id=event_id, key="k", size_bytes=1, sha256="s", rows=5, columns=[]),
        findings=[],
        exploration=Exploration(key="k", summary="s", suggested_clusters=None),
        clustering=None,
        visualizations=Visualizations(pictures=[]),
    )
    saved = SavedAnalysis(analysis_id=ids.analysis_id(event_id), summary="5 rows", key="r", url="u", size_bytes=1, sha256="s")
    analyses = SqlAnalyses(store)
    await asyncio.gather(*(analyses.save(given, saved) for _ in range(3)))
    async with store.connect() as connection:
        [row] = (await connection.execute(select(ANALYSES))).all()
    assert (row.event_id, row.analysis_id, row.rows, row.clusters, row.requested_at) == (
        event_id,
        saved.analysis_id,
        5,
        None,
        given.requested_at,
    )
    later, elsewhere = given.model_copy(update={"generation": 2}), saved.model_copy(update={"key": "r2", "sha256": "s2"})
    await analyses.save(later, elsewhere)
    await analyses.save(given, saved)
    async with store.connect() as connection:
        [row] = (await connection.execute(select(ANALYSES))).all()
    assert (row.report_key, row.report_sha256, row.analysis_id) == ("r2", "s2", saved.analysis_id), "the later generation's"
