"""An image worker with fakes at its ports."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority

from schemas import names
from schemas.image import (
    Backend,
    BatchImageGenerationRequested,
    BatchImageGenerationResult,
    CancellableImageGenerationRequested,
    ImageGenerationRequested,
    ImageGenerationResult,
)
from schemas.request import Accepted
from tests.support import runs
from tests.support.runs import FakeNotifier
from workers.image.activities import ImageActivities, ImageBackend, Picture, StoredObject
from workers.image.logic import load_filter
from workers.image.models import Drawing


@dataclass
class FakeBackend:
    """Gives what `act` gives for the number of the call, or raises it."""

    act: Callable[[int], Picture | Exception] = lambda _: Picture(b"a picture", "image/png", 2, 2, "fake")
    calls: int = 0

    async def generate(self, drawing: Drawing) -> Picture:  # noqa: ARG002 - the port's signature
        self.calls += 1
        answer = self.act(self.calls)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class HeldBackend:
    """Draws each prompt once `release` is set; remembers which it began, and which it was stopped at."""

    release: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    async def generate(self, drawing: Drawing) -> Picture:
        self.begun.append(drawing.prompt)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.stopped.append(drawing.prompt)
            raise
        return Picture(drawing.prompt.encode(), "image/png", 2, 2, "fake")


@dataclass
class FakeStore:
    objects: dict[str, StoredObject] = field(default_factory=dict)
    loses: bool = False

    async def put(self, key: str, data: bytes, content_type: str, sha256: str) -> None:  # noqa: ARG002 - as above
        if not self.loses:
            self.objects[key] = StoredObject(len(data), hashlib.sha256(data).hexdigest())

    async def head(self, key: str) -> StoredObject | None:
        return self.objects.get(key)

    async def url(self, key: str) -> str:
        return f"http://s3/{key}?signed"


@contextlib.asynccontextmanager
async def working(
    client: Client, backend: ImageBackend, store: FakeStore, notifier: FakeNotifier, slots: int | None = None
) -> AsyncIterator[None]:
    """`slots`: how many activities each of the two workers runs at one time."""
    backends: dict[Backend, ImageBackend] = {"huggingface": backend, "openai": backend, "local": backend}
    acts = ImageActivities(backends, store, load_filter(), None)
    async with runs.working(client, "image", acts.all(), notifier, slots):
        yield


def _common() -> dict[str, object]:
    return {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "size": "1024x1024", "backend": "local"}


async def start(client: Client, priority: Priority = Priority.default, **changed: object) -> WorkflowHandle[object, ImageGenerationResult]:
    request = ImageGenerationRequested.model_validate({**_common(), "prompt": "A mill", **changed})
    return await client.start_workflow(
        "ImageGenerationWorkflow",
        Accepted(request=request, origin=runs.origin("image.requests")),
        id=f"image-{request.event_id}",
        task_queue=names.QUEUE_IMAGE,
        result_type=ImageGenerationResult,
        priority=priority,
    )


async def start_cancellable(client: Client, **changed: object) -> WorkflowHandle[object, ImageGenerationResult]:
    request = CancellableImageGenerationRequested.model_validate({**_common(), "prompt": "A mill", **changed})
    return await client.start_workflow(
        "CancellableImageGenerationWorkflow",
        Accepted(request=request, origin=runs.origin("image.requests")),
        id=f"image-{request.event_id}",
        task_queue=names.QUEUE_IMAGE,
        result_type=ImageGenerationResult,
    )


async def start_batch(
    client: Client, prompts: list[str], priority: Priority = Priority.default, generation: int = 1, **changed: object
) -> WorkflowHandle[object, BatchImageGenerationResult]:
    request = BatchImageGenerationRequested.model_validate({**_common(), "prompts": prompts, **changed})
    return await client.start_workflow(
        "BatchImageGenerationWorkflow",
        Accepted(request=request, origin=runs.origin("image.requests"), generation=generation),
        id=f"image-{request.event_id}",
        task_queue=names.QUEUE_IMAGE,
        result_type=BatchImageGenerationResult,
        priority=priority,
    )
