"""Runs of the maintenance workflow whose histories are kept."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from schemas.maintenance import MaintenanceResult
from tests.support.maintenance_runs import FakeArchive, activities, start, working
from tests.support.runs import Cases, FakeNotifier, ended

Handle = WorkflowHandle[Any, MaintenanceResult]


async def scheduled(client: Client) -> Handle:
    async with working(client, activities(), FakeNotifier()):
        return await ended(await start(client, requested=False))


async def requested(client: Client) -> Handle:
    async with working(client, activities(), FakeNotifier()):
        return await ended(await start(client))


async def failed(client: Client) -> Handle:
    def conflict() -> None:
        raise ApplicationError("the archive x is there with other content", type="ArchiveConflict", non_retryable=True)

    async with working(client, activities(archive=FakeArchive(conflict)), FakeNotifier()):
        return await ended(await start(client))


async def cancelled(client: Client) -> Handle:
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    async with working(client, activities(archive=FakeArchive(wait)), FakeNotifier()):
        handle = await start(client)
        await began.wait()
        await handle.cancel()
        return await ended(handle)


CASES: dict[str, Cases] = {
    "MaintenanceWorkflow": {"scheduled": scheduled, "requested": requested, "failed": failed, "cancelled": cancelled}
}
