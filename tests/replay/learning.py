"""Runs of the learning workflow whose histories are kept."""

from __future__ import annotations

import asyncio

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType
from schemas.learning import LearningPathResult, LearningResource
from tests.support.learning_runs import FakeResources, resource, start, working
from tests.support.runs import Cases, FakeNotifier, ended
from workers.learning.models import ResourceQuery

Handle = WorkflowHandle[object, LearningPathResult]


async def succeeded(client: Client) -> Handle:
    async with working(client, FakeNotifier()):
        return await ended(await start(client))


async def partly_without_resources(client: Client) -> Handle:
    away = ApplicationError("the search for resources answers 400", type=FailureType.RESOURCES_UNAVAILABLE, non_retryable=True)
    resources = FakeResources(lambda topic: away if "loops" in topic else [resource("r")])
    async with working(client, FakeNotifier(), resources=resources):
        return await ended(await start(client))


async def unknown_category(client: Client) -> Handle:
    async with working(client, FakeNotifier()):
        return await ended(await start(client, category="underwater basket weaving"))


async def cancelled(client: Client) -> Handle:
    class Slow:
        began = asyncio.Event()

        async def find(self, query: ResourceQuery) -> list[LearningResource]:  # noqa: ARG002 - the port's signature
            self.began.set()
            await asyncio.Event().wait()
            raise AssertionError

    slow = Slow()
    async with working(client, FakeNotifier(), resources=slow):
        handle = await start(client)
        await slow.began.wait()
        await handle.cancel()
        return await ended(handle)


CASES: dict[str, Cases] = {
    "LearningPathWorkflow": {
        "succeeded": succeeded,
        "partly_without_resources": partly_without_resources,
        "unknown_category": unknown_category,
        "cancelled": cancelled,
    }
}
