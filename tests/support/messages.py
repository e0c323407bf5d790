"""Completions and history entries for tests, and the topics that they are sent to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest_asyncio
from aiokafka import AIOKafkaProducer

from headrace import kafka, setup
from headrace.settings import Settings
from schemas import ids
from schemas.completion import Completion, CompletionError, History, SendCompletion, Status, UpdateHistory
from schemas.image import ImageGenerationResult
from schemas.routes import load_routes

RECORD = "headrace.image.ImageGenerationCompleted"
NOW = datetime(2026, 11, 24, 12, 0, 0, 123000, tzinfo=UTC)


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    """Settings of one test whose topics are there."""
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    return settings


@pytest_asyncio.fixture
async def raw(ready: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Sends whatever a test gives it, to the topics of `ready`."""
    producer = kafka.producer(ready, idempotent=False)
    await producer.start()
    yield producer
    await producer.stop()


def completion(event_id: UUID | None = None, *, message: str | None = None) -> Completion[ImageGenerationResult]:
    """A succeeded one, or a failed one with `message`."""
    event_id = event_id or uuid4()
    result = ImageGenerationResult(
        key="image/1.png",
        url="https://example.org/1.png",
        content_type="image/png",
        size_bytes=10,
        sha256="0" * 64,
        width=64,
        height=64,
        backend="local",
        model="local",
        generation_seconds=0.5,
    )
    return Completion[ImageGenerationResult](
        completion_id=ids.completion_id(event_id),
        event_id=event_id,
        user_id="user-1",
        workflow_id=ids.workflow_id("image", event_id),
        run_id=str(uuid4()),
        status=Status.SUCCEEDED if message is None else Status.FAILED,
        result=result if message is None else None,
        error=None if message is None else CompletionError(code="Internal", message=message),
        requested_at=NOW,
        started_at=NOW,
        completed_at=NOW,
    )


def send_completion(event_id: UUID | None = None, *, message: str | None = None, generation: int = 1, **fields: Any) -> SendCompletion:
    event_id = event_id or uuid4()
    as_json = completion(event_id, message=message).model_dump(mode="json")
    as_json["completion_id"] = str(ids.completion_id(event_id, generation))
    command = {"domain": "image", "record": RECORD, "completion": as_json, "key": b"\xffkey", "generation": generation}
    return SendCompletion(**{**command, **fields})


def update_history(event_id: UUID | None = None, *, prompt: str = "a fox", **fields: Any) -> UpdateHistory:
    event_id = event_id or uuid4()
    entry = History(
        history_id=ids.history_id(event_id),
        event_id=event_id,
        user_id="user-1",
        domain="image",
        workflow_id=ids.workflow_id("image", event_id),
        run_id=str(uuid4()),
        status=Status.SUCCEEDED,
        prompt=prompt,
        key="image/1.png",
        url="https://example.org/1.png",
        size_bytes=10,
        sha256="0" * 64,
        recorded_at=NOW,
        backend="local",
        requested_at=NOW,
        started_at=NOW,
    )
    return UpdateHistory(**{"entry": entry, "key": b"\xffkey", **fields})
