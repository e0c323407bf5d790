"""Redrives whose activities only say what a test tells them to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle

from notifier.__main__ import build_worker
from notifier.redriving import WORKFLOWS
from schemas import names
from schemas.redrive import Page, PageDone, Progress, Range, Redrive, Rerun, RerunPageDone, RerunTally, RunSelection, Tally


@dataclass
class FakePages:
    """Sends `step` dead letters a page, or does what `act` does for the number of the call."""

    step: int = 10
    act: Callable[[int], Exception | None] = lambda _: None
    pages: list[Page] = field(default_factory=list)
    tokens: list[bytes | None] = field(default_factory=list)

    @activity.defn(name=names.REDRIVE_DEAD_LETTERS)
    async def redrive(self, page: Page) -> PageDone:
        self.pages.append(page)
        error = self.act(len(self.pages))
        if error is not None:
            raise error
        next_ = min(page.range.start + self.step, page.range.end)
        return PageDone(next=next_, tally=Tally(done=next_ - page.range.start, sent=next_ - page.range.start))

    @activity.defn(name=names.RERUN_FAILED_RUNS)
    async def rerun(self, rerun: Rerun) -> RerunPageDone:
        self.tokens.append(rerun.token)
        tally = RerunTally(found=2, started=1, superseded=1, codes={"Internal": 1})
        return RerunPageDone(token=b"next" if rerun.token is None else None, tally=tally)


@contextlib.asynccontextmanager
async def working(client: Client, fake: FakePages) -> AsyncIterator[None]:
    async with build_worker(client, names.QUEUE_NOTIFICATIONS, [fake.redrive, fake.rerun], WORKFLOWS):
        yield


async def start(client: Client, **changed: Any) -> WorkflowHandle[Any, Progress]:
    two = (Range(topic="t.dlq", partition=0, start=5, end=30), Range(topic="t.dlq", partition=1, start=0, end=5))
    redrive = Redrive.model_validate({"redrive_id": uuid4(), "ranges": two, **changed})
    return await client.start_workflow(
        names.REDRIVE_WORKFLOW, redrive, id=f"redrive-{redrive.redrive_id}", task_queue=names.QUEUE_NOTIFICATIONS, result_type=Progress
    )


async def start_rerun(client: Client, **changed: Any) -> WorkflowHandle[Any, RerunTally]:
    selection = RunSelection(records=("headrace.image.ImageGenerationRequested",), until=datetime.now(UTC))
    rerun = Rerun.model_validate({"rerun_id": uuid4(), "selection": selection, **changed})
    return await client.start_workflow(
        names.RERUN_WORKFLOW, rerun, id=f"rerun-{rerun.rerun_id}", task_queue=names.QUEUE_NOTIFICATIONS, result_type=RerunTally
    )
