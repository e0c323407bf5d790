"""An image worker with fakes at its ports, and a notifier that only remembers: on a real server that can skip time."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from schemas import names
from schemas.completion import Published, SendCompletion, UpdateHistory
from schemas.image import Backend, ImageGenerationRequested, ImageGenerationResult
from schemas.request import Accepted, Origin
from workers.__main__ import build_worker
from workers.image.activities import ImageActivities, ImageBackend, Picture, StoredObject
from workers.image.logic import load_filter
from workers.image.models import Drawing
from workers.registry import DOMAINS


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


class FakeNotifier:
    """Fails the given number of times, then remembers."""

    def __init__(self, *, completion_failures: int = 0, history_failures: int = 0) -> None:
        self.completions: list[SendCompletion] = []
        self.history: list[UpdateHistory] = []
        self._failures = {"completion": completion_failures, "history": history_failures}

    def recover(self) -> None:
        self._failures = {"completion": 0, "history": 0}

    def _fail(self, kind: str) -> None:
        if self._failures[kind] > 0:
            self._failures[kind] -= 1
            raise RuntimeError("Kafka is away")

    @activity.defn(name=names.SEND_COMPLETION)
    async def send(self, command: SendCompletion) -> Published:
        self._fail("completion")
        self.completions.append(command)
        return Published(topic="t", partition=0, offset=0)

    @activity.defn(name=names.UPDATE_HISTORY)
    async def record(self, command: UpdateHistory) -> Published:
        self._fail("history")
        self.history.append(command)
        return Published(topic="h", partition=0, offset=0)


@contextlib.asynccontextmanager
async def working(client: Client, backend: ImageBackend, store: FakeStore, notifier: FakeNotifier) -> AsyncIterator[None]:
    """The workers on their own queues; the server is this test's alone, so are the queues."""
    domain = DOMAINS["image"]
    backends: dict[Backend, ImageBackend] = {"huggingface": backend, "openai": backend, "local": backend}
    acts = ImageActivities(backends, store, load_filter(), None)
    steps: list[Callable[..., object]] = [
        *(acts.validate_prompt, acts.check_content_filter, acts.generate_with_huggingface, acts.generate_with_openai),
        *(acts.generate_with_local, acts.save_image_to_storage),
    ]
    notifying = Worker(client, task_queue=names.QUEUE_NOTIFICATIONS, activities=[notifier.send, notifier.record])
    async with build_worker(client, domain, steps), notifying:
        yield


async def start(client: Client, **changed: object) -> WorkflowHandle[object, ImageGenerationResult]:
    fields = {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "prompt": "A mill", "backend": "local"}
    request = ImageGenerationRequested.model_validate({**fields, "size": "1024x1024", **changed})
    origin = Origin(topic="image.requests", partition=1, offset=2, key=b"\xff\x00key", traceparent=f"00-{UUID(int=1).hex}-{'1' * 16}-01")
    return await client.start_workflow(
        "ImageGenerationWorkflow",
        Accepted(request=request, origin=origin),
        id=f"image-{request.event_id}",
        task_queue=names.QUEUE_IMAGE,
        result_type=ImageGenerationResult,
    )
