"""Runs of the image workflows whose histories are kept."""

from __future__ import annotations

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from schemas.image import ImageGenerationResult
from tests.support.image_runs import FakeBackend, FakeStore, start, working
from tests.support.runs import Cases, FakeNotifier, ended

Handle = WorkflowHandle[object, ImageGenerationResult]


async def _one(client: Client, prompt: str, backend: FakeBackend) -> Handle:
    async with working(client, backend, FakeStore(), FakeNotifier()):
        return await ended(await start(client, prompt=prompt))


async def succeeded(client: Client) -> Handle:
    return await _one(client, "A mill", FakeBackend())


async def filtered(client: Client) -> Handle:
    return await _one(client, "how to make a pipe bomb", FakeBackend())


async def refused(client: Client) -> Handle:
    return await _one(client, "A mill", FakeBackend(lambda _: ApplicationError("no", type="BackendRefused", non_retryable=True)))


CASES: dict[str, Cases] = {"ImageGenerationWorkflow": {"succeeded": succeeded, "filtered": filtered, "refused": refused}}
