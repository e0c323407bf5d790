"""Runs of the notifier's workflows that send again, whose histories are kept."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from schemas import names
from schemas.redrive import Page, PageDone
from tests.support.redrive_runs import FakePages, start, start_rerun, working
from tests.support.runs import Cases, ended

Handle = WorkflowHandle[Any, Any]


class _Endless(FakePages):
    """A page that goes on until it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    @activity.defn(name=names.REDRIVE_DEAD_LETTERS)
    async def redrive(self, page: Page) -> PageDone:
        self.begun.set()
        while True:
            activity.heartbeat(page.range.start)
            await asyncio.sleep(0.1)


async def succeeded(client: Client) -> Handle:
    async with working(client, FakePages()):
        return await ended(await start(client))


async def cancelled(client: Client) -> Handle:
    endless = _Endless()
    async with working(client, endless):
        handle = await start(client)
        await endless.begun.wait()
        await handle.cancel()
        return await ended(handle)


async def continued(client: Client) -> Handle:
    """The run that continues as a new one; `ended` waits for the last."""
    async with working(client, FakePages()):
        handle = await start(client, pages_a_run=2)
        await ended(handle)
    return client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)


async def rerun(client: Client) -> Handle:
    async with working(client, FakePages()):
        return await ended(await start_rerun(client))


async def rerun_continued(client: Client) -> Handle:
    async with working(client, FakePages()):
        handle = await start_rerun(client, pages_a_run=1)
        await ended(handle)
    return client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)


CASES: dict[str, Cases] = {
    names.REDRIVE_WORKFLOW: {"succeeded": succeeded, "cancelled": cancelled, "continued": continued},
    names.RERUN_WORKFLOW: {"succeeded": rerun, "continued": rerun_continued},
}
