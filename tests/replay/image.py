"""Runs of the image workflows whose histories are kept."""

from __future__ import annotations

from uuid import UUID

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from schemas.command import Command
from schemas.image import BatchImageGenerationResult, ImageGenerationResult
from tests.support.eventually import eventually
from tests.support.image_runs import FakeBackend, FakeStore, HeldBackend, start, start_batch, start_cancellable, working
from tests.support.runs import Cases, FakeNotifier, ended
from workers.image import batch

Handle = WorkflowHandle[object, ImageGenerationResult]
BatchHandle = WorkflowHandle[object, BatchImageGenerationResult]

_REFUSED = ApplicationError("no", type="BackendRefused", non_retryable=True)


async def _one(client: Client, prompt: str, backend: FakeBackend) -> Handle:
    async with working(client, backend, FakeStore(), FakeNotifier()):
        return await ended(await start(client, prompt=prompt))


async def succeeded(client: Client) -> Handle:
    return await _one(client, "A mill", FakeBackend())


async def filtered(client: Client) -> Handle:
    return await _one(client, "how to make a pipe bomb", FakeBackend())


async def refused(client: Client) -> Handle:
    return await _one(client, "A mill", FakeBackend(lambda _: _REFUSED))


async def cancelled(client: Client) -> Handle:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier()):
        handle = await start(client)
        await eventually(lambda: backend.begun)
        await handle.cancel()
        return await ended(handle)


async def _cancellable(client: Client, backend: FakeBackend) -> Handle:
    async with working(client, backend, FakeStore(), FakeNotifier()):
        return await ended(await start_cancellable(client))


async def cancellable_succeeded(client: Client) -> Handle:
    return await _cancellable(client, FakeBackend())


async def cancellable_refused(client: Client) -> Handle:
    return await _cancellable(client, FakeBackend(lambda _: _REFUSED))


async def cancellable_resumed(client: Client) -> Handle:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier()):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await handle.signal("pause", Command(event_id=UUID(int=1)))
        backend.release.set()
        await eventually(lambda: _waits(handle))
        await handle.signal("resume", Command(event_id=UUID(int=2)))
        return await ended(handle)


async def _waits(handle: Handle) -> bool:
    found: dict[str, object] = await handle.query("get_status")
    return found["step"] == "save_image_to_storage"


async def cancellable_cancelled(client: Client) -> Handle:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier()):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await handle.signal("cancel", Command(event_id=UUID(int=1)))
        return await ended(handle)


async def cancellable_cancelled_by_temporal(client: Client) -> Handle:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier()):
        handle = await start_cancellable(client)
        await eventually(lambda: backend.begun)
        await handle.cancel()
        return await ended(handle)


async def batch_succeeded(client: Client) -> BatchHandle:
    async with working(client, FakeBackend(), FakeStore(), FakeNotifier()):
        return await ended(await start_batch(client, ["A mill", "", "how to make a pipe bomb", "A lock"]))


async def batch_failed(client: Client) -> BatchHandle:
    async with working(client, FakeBackend(lambda _: _REFUSED), FakeStore(), FakeNotifier()):
        return await ended(await start_batch(client, ["A mill", "A lock"]))


async def batch_cancelled(client: Client) -> BatchHandle:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier()):
        handle = await start_batch(client, [f"Mill {number}" for number in range(22)])
        await eventually(lambda: len(backend.begun) == batch.IN_FLIGHT)
        await handle.signal("pause", Command(event_id=UUID(int=1)))
        await handle.signal("cancel", Command(event_id=UUID(int=2)))
        return await ended(handle)


async def _pages(client: Client) -> BatchHandle:
    async with working(client, FakeBackend(), FakeStore(), FakeNotifier()):
        return await ended(await start_batch(client, [f"Mill {number}" for number in range(batch.PAGE + 2)]))


async def batch_first_page(client: Client) -> BatchHandle:
    """The run that continues as new."""
    handle = await _pages(client)
    return client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)


async def batch_last_page(client: Client) -> BatchHandle:
    """The run that it continues as."""
    return client.get_workflow_handle((await _pages(client)).id)


CASES: dict[str, Cases] = {
    "ImageGenerationWorkflow": {"succeeded": succeeded, "filtered": filtered, "refused": refused, "cancelled": cancelled},
    "CancellableImageGenerationWorkflow": {
        "succeeded": cancellable_succeeded,
        "refused": cancellable_refused,
        "resumed": cancellable_resumed,
        "cancelled": cancellable_cancelled,
        "cancelled_by_temporal": cancellable_cancelled_by_temporal,
    },
    "BatchImageGenerationWorkflow": {
        "succeeded": batch_succeeded,
        "failed": batch_failed,
        "cancelled": batch_cancelled,
        "first_page": batch_first_page,
        "last_page": batch_last_page,
    },
}
