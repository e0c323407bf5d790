"""Pictures in the real S3."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError

from headrace import s3
from headrace.settings import Settings
from tests.support.image_runs import FakeBackend
from workers.image.activities import ImageActivities, StoredObject
from workers.image.logic import load_filter, object_key
from workers.image.models import GeneratedImage
from workers.image.storage import S3Images

DATA = b"the bytes of a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = object_key(SHA256, "image/png")
IMAGE = GeneratedImage(
    key=KEY,
    sha256=SHA256,
    size_bytes=len(DATA),
    content_type="image/png",
    width=2,
    height=2,
    backend="local",
    model="m",
    generation_seconds=0.1,
)


@pytest_asyncio.fixture
async def store(settings: Settings) -> AsyncIterator[S3Images]:
    client = s3.client(settings)
    client.create_bucket(Bucket=settings.s3_bucket)
    try:
        yield S3Images(client, settings.s3_bucket, 60)
    finally:
        client.close()


def activities(store: S3Images) -> ImageActivities:
    backend = FakeBackend()
    return ImageActivities({"local": backend, "openai": backend, "huggingface": backend}, store, load_filter(), None)


async def test_a_stored_picture_is_found_whole_and_its_url_gives_the_same_bytes(store: S3Images) -> None:
    await store.put(KEY, DATA, "image/png", SHA256)
    assert await store.head(KEY) == StoredObject(len(DATA), SHA256)
    result = await activities(store).save_image_to_storage(IMAGE)
    async with httpx.AsyncClient(trust_env=False) as anybody:
        answer = await anybody.get(result.url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, DATA, "image/png")


async def test_a_picture_that_is_written_twice_is_one_object(store: S3Images, settings: Settings) -> None:
    await store.put(KEY, DATA, "image/png", SHA256)
    await store.put(KEY, DATA, "image/png", SHA256)
    client = s3.client(settings)
    listed = client.list_objects_v2(Bucket=settings.s3_bucket)
    client.close()
    assert [found["Key"] for found in listed["Contents"]] == [KEY]


async def test_a_picture_that_is_gone_fails_for_good(store: S3Images) -> None:
    assert await store.head(KEY) is None
    with pytest.raises(ApplicationError, match="is gone") as raised:
        await activities(store).save_image_to_storage(IMAGE)
    assert (raised.value.type, raised.value.non_retryable) == ("ImageLost", True)


@pytest.mark.parametrize("changed", [{"data": DATA + b"!", "sha256": SHA256}, {"data": DATA, "sha256": "0" * 64}])
async def test_another_object_under_the_key_is_not_passed_off_as_the_picture(store: S3Images, changed: dict[str, bytes | str]) -> None:
    await store.put(KEY, changed["data"], "image/png", changed["sha256"])  # type: ignore[arg-type]
    with pytest.raises(ApplicationError) as raised:
        await activities(store).save_image_to_storage(IMAGE)
    assert (raised.value.type, raised.value.non_retryable) == ("ImageLost", True)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"s3_endpoint_url": "http://127.0.0.1:1"}, "StorageUnavailable"),
        ({"s3_secret_access_key": SecretStr("wrong")}, "StorageRefused"),
    ],
    ids=["away", "bad key"],
)
async def test_an_s3_that_refuses_or_is_away_is_tried_again(settings: Settings, wrong: dict[str, object], code: str) -> None:
    changed = settings.model_copy(update=wrong)
    client = s3.client(changed)
    try:
        with pytest.raises(ApplicationError) as raised:
            await S3Images(client, changed.s3_bucket, 60).put(KEY, DATA, "image/png", SHA256)
    finally:
        client.close()
    assert (raised.value.type, raised.value.non_retryable) == (code, False)
